/**
 * The grammar of JSON, narrowed so that texts end and mean the same to every reader: bounded white space and digits, no
 * halves of surrogate pairs.
 */
import { choice, type Expression, literal, optional, repeat, sequence } from './grammar.ts';
import { type CodePoints, complement, intersection, utf8 } from './unicode-ranges.ts';

const digit: Expression = { bytes: [[0x30, 0x39]] };
const nonzero: Expression = { bytes: [[0x31, 0x39]] };
const hex: Expression = {
  bytes: [
    [0x30, 0x39],
    [0x41, 0x46],
    [0x61, 0x66],
  ],
};

/** Digits up to which every integer and most decimal fractions are exact. */
export const MAX_DIGITS = 15;

/** White space between tokens of JSON: none, a space, or a new line and indentation. */
export const space: Expression = { rule: 'space' };

/** A comma between members or items. */
export const comma: Expression = { rule: 'comma' };

const anySpace = choice('', ' ', sequence('\n', repeat(' ', 0, 20)), sequence('\n', repeat('\t', 1, 10)));

/** Code points that a JSON string has without an escape. */
const PLAIN: CodePoints = complement([
  [0, 0x1f],
  [0x22, 0x22],
  [0x5c, 0x5c],
]);

/** A character of a JSON string as itself, without escapes. */
const plainCharacter = utf8(PLAIN);

/** Rules that the expressions of this file refer to. */
export const JSON_RULES: ReadonlyMap<string, Expression> = new Map([
  ['space', anySpace],
  ['comma', sequence(space, ',', space)],
  [
    'character',
    choice(
      plainCharacter,
      sequence(
        '\\',
        choice(
          { bytes: Array.from(Buffer.from('"\\/bfnrt'), (byte) => [byte, byte] as const) },
          sequence(
            'u',
            {
              bytes: [
                [0x30, 0x39],
                [0x41, 0x43],
                [0x45, 0x46],
                [0x61, 0x63],
                [0x65, 0x66],
              ],
            },
            hex,
            hex,
            hex,
          ),
          sequence(
            'u',
            {
              bytes: [
                [0x44, 0x44],
                [0x64, 0x64],
              ],
            },
            { bytes: [[0x30, 0x37]] },
            hex,
            hex,
          ),
        ),
      ),
    ),
  ],
  ['value', choice({ rule: 'object' }, { rule: 'array' }, stringOf(0), number(), 'true', 'false', 'null')],
  ['object', objectOf(repeatedList(sequence(stringOf(0), space, ':', space, { rule: 'value' })))],
  ['array', arrayOf(repeatedList({ rule: 'value' }))],
]);

/** A string of this many code points. */
export function stringOf(min: number, max = Number.POSITIVE_INFINITY): Expression {
  return sequence('"', repeat({ rule: 'character' }, min, max), '"');
}

/** One of these characters in a JSON string, escaped where JSON requires it. */
export function stringCharacter(codePoints: CodePoints): Expression {
  const escaped = intersection(codePoints, complement(PLAIN));
  const options: Expression[] = [];
  for (const [lo, hi] of escaped) {
    for (let code = lo; code <= hi; code++)
      options.push(literal(JSON.stringify(String.fromCodePoint(code)).slice(1, -1)));
  }
  const plain = intersection(codePoints, PLAIN);
  return choice(...(plain.length > 0 ? [utf8(plain)] : []), ...options);
}

/** Any number, or any integer. */
export function number({ isInteger = false } = {}): Expression {
  const integer = choice('0', sequence(nonzero, repeat(digit, 0, MAX_DIGITS - 1)));
  if (isInteger) return choice(integer, sequence('-', nonzero, repeat(digit, 0, MAX_DIGITS - 1)));
  const exponent = sequence(
    {
      bytes: [
        [0x45, 0x45],
        [0x65, 0x65],
      ],
    },
    optional({
      bytes: [
        [0x2b, 0x2b],
        [0x2d, 0x2d],
      ],
    }),
    digit,
    optional(digit),
  );
  return sequence(optional('-'), integer, optional(fraction(MAX_DIGITS)), optional(exponent));
}

/** A fraction of up to this many digits. */
export function fraction(maxDigits: number): Expression {
  return sequence('.', repeat(digit, 1, maxDigits));
}

/** Any number of items with commas between them. */
function repeatedList(item: Expression): Expression {
  return optional(sequence(item, repeat(sequence(comma, item)), space));
}

export function objectOf(members: Expression): Expression {
  return sequence('{', space, members, '}');
}

export function arrayOf(items: Expression): Expression {
  return sequence('[', space, items, ']');
}

/** A text of a JSON string, without escapes, that is none of these. */
export function textOtherThan(texts: readonly (readonly string[])[]): Expression {
  const rest = new Map<string, (readonly string[])[]>();
  for (const [first, ...others] of texts) {
    if (first !== undefined) rest.set(first, [...(rest.get(first) ?? []), others]);
  }
  const other = complement(
    Array.from(rest.keys(), (first) => [first.codePointAt(0)!, first.codePointAt(0)!] as const),
  );
  return choice(
    ...(texts.some(({ length }) => length === 0) ? [] : [sequence()]),
    ...Array.from(rest, ([first, others]) => sequence(first, textOtherThan(others))),
    sequence(utf8(intersection(other, PLAIN)), repeat(plainCharacter)),
  );
}

/** Whether a text needs no escape in JSON; others differ from every text without escapes. */
export function isPlain(characters: readonly string[]): boolean {
  const text = characters.join('');
  return JSON.stringify(text) === `"${text}"`;
}
