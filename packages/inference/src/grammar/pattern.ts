/** Regular expressions of JSON Schema as grammars of JSON strings. */
import { choice, type Expression, GrammarError, repeat, sequence } from './grammar.ts';
import { stringCharacter } from './json-grammar.ts';
import { type CodePoints, complement, intersection } from './unicode-ranges.ts';

/** Characters that negated classes and `.` stand for: all but controls, line separators and surrogates. */
const VISIBLE = complement([
  [0, 0x1f],
  [0x7f, 0x9f],
  [0x2028, 0x2029],
  [0xd800, 0xdfff],
]);

const DIGIT: CodePoints = [[0x30, 0x39]];
const WORD: CodePoints = [
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a],
];
const BLANK: CodePoints = [[0x20, 0x20]];
const CLASSES: Readonly<Record<string, CodePoints>> = {
  d: DIGIT,
  w: WORD,
  s: BLANK,
  D: intersection(VISIBLE, complement(DIGIT)),
  W: intersection(VISIBLE, complement(WORD)),
  S: intersection(
    VISIBLE,
    complement([
      ...BLANK,
      [0xa0, 0xa0],
      [0x1680, 0x1680],
      [0x2000, 0x200a],
      [0x202f, 0x202f],
      [0x205f, 0x205f],
      [0x3000, 0x3000],
      [0xfeff, 0xfeff],
    ]),
  ),
};
const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13 };

const SUPPORTED = 'expected literals, classes, groups, |, quantifiers up to 1000, and ^ and $ at the ends';
const MAX_REPEAT = 1000;
const MAX_DEPTH = 50;

/**
 * Strings that match a pattern, in quotes. Negated classes and `.` stand for visible characters, `\s` for a space: fewer
 * strings than the pattern allows.
 *
 * @throws GrammarError for what is not supported, such as look-ahead
 */
export function stringMatching(pattern: string): Expression {
  return sequence('"', new PatternParser(pattern).parse(), '"');
}

class PatternParser {
  readonly #pattern: string;
  readonly #characters: readonly string[];
  #at = 0;

  constructor(pattern: string) {
    this.#pattern = pattern;
    this.#characters = Array.from(pattern);
    try {
      new RegExp(pattern, 'u');
    } catch (error) {
      throw new GrammarError(
        `pattern: got ${brief(pattern)}, expected a regular expression: ${(error as Error).message}`,
      );
    }
  }

  /** Without anchors, other text may precede and follow. */
  parse(): Expression {
    const options: Expression[] = [];
    do {
      const isStart = this.#take('^');
      const body = this.#branch(0);
      const isEnd = this.#take('$');
      options.push(sequence(...(isStart ? [] : [anyText]), body, ...(isEnd ? [] : [anyText])));
    } while (this.#take('|'));
    if (this.#at < this.#characters.length) throw this.#unsupported();
    return choice(...options);
  }

  #group(depth: number): Expression {
    if (depth > MAX_DEPTH)
      throw new GrammarError(`pattern: got groups nested deeper than ${MAX_DEPTH}, expected fewer`);
    const options = [this.#branch(depth)];
    while (this.#take('|')) options.push(this.#branch(depth));
    return choice(...options);
  }

  #branch(depth: number): Expression {
    const parts: Expression[] = [];
    for (let next = this.#peek(); next !== undefined && !'|)$'.includes(next); next = this.#peek()) {
      parts.push(this.#quantified(this.#atom(depth)));
    }
    return sequence(...parts);
  }

  #atom(depth: number): Expression {
    if (this.#take('(')) {
      if (this.#take('?') && !this.#take(':')) {
        // (?<name>…) is a group, (?<=…) and (?<!…) look back.
        const name = /^<[\p{L}_$][\p{L}\p{N}_$]*>/u.exec(this.#characters.slice(this.#at).join(''))?.[0];
        if (!name) throw this.#unsupported();
        this.#at += Array.from(name).length;
      }
      const group = this.#group(depth + 1);
      if (!this.#take(')')) throw this.#unsupported();
      return group;
    }
    if (this.#take('[')) return stringCharacter(this.#class());
    if (this.#take('.')) return stringCharacter(VISIBLE);
    if (this.#take('\\')) return stringCharacter(this.#escape());
    const character = this.#peek()!;
    if ('^*+?{}]'.includes(character)) throw this.#unsupported();
    this.#at++;
    return stringCharacter(only(character));
  }

  #quantified(atom: Expression): Expression {
    let [min, max] = [1, 1];
    if (this.#take('*')) [min, max] = [0, Number.POSITIVE_INFINITY];
    else if (this.#take('+')) max = Number.POSITIVE_INFINITY;
    else if (this.#take('?')) min = 0;
    else if (this.#peek() === '{') {
      const [whole, low, comma, high] =
        /^\{(\d+)(,?)(\d*)\}/.exec(this.#characters.slice(this.#at).join('')) ?? [];
      if (whole === undefined) throw this.#unsupported();
      this.#at += whole.length;
      min = Number(low);
      max = comma === '' ? min : high === '' ? Number.POSITIVE_INFINITY : Number(high);
      if (min > MAX_REPEAT || (max > MAX_REPEAT && max !== Number.POSITIVE_INFINITY)) {
        throw new GrammarError(`pattern: got ${whole}, expected at most ${MAX_REPEAT} repetitions`);
      }
    } else return atom;
    // Lazy quantifiers match the same strings.
    this.#take('?');
    return repeat(atom, min, max);
  }

  #class(): CodePoints {
    const isNegated = this.#take('^');
    const ranges: (readonly [number, number])[] = [];
    while (!this.#take(']')) {
      const low = this.#classAtom();
      const isRange = this.#peek() === '-' && this.#characters[this.#at + 1] !== ']';
      if (isRange) this.#at++;
      const high = isRange ? this.#classAtom() : low;
      if (isRange) ranges.push([low[0][0], high[0][1]]);
      else ranges.push(...low);
    }
    const allowed = isNegated
      ? intersection(VISIBLE, complement(ranges))
      : intersection(ranges, complement([[0xd800, 0xdfff]]));
    if (allowed.length === 0) throw this.#unsupported();
    return allowed;
  }

  #classAtom(): CodePoints {
    if (this.#take('\\')) return this.#take('b') ? [[8, 8]] : this.#escape();
    return only(this.#characters[this.#at++]);
  }

  #escape(): CodePoints {
    const character = this.#characters[this.#at++];
    if (Object.hasOwn(CLASSES, character)) return CLASSES[character];
    if (Object.hasOwn(CONTROLS, character)) return [[CONTROLS[character], CONTROLS[character]]];
    const rest = this.#characters.slice(this.#at, this.#at + 12).join('');
    const [whole, digits] =
      (character === 'x' ? /^([0-9a-f]{2})/i : /^(?:\{([0-9a-f]{1,6})\}|([0-9a-f]{4}))/i).exec(rest) ?? [];
    if ((character === 'x' || character === 'u') && whole !== undefined) {
      this.#at += whole.length;
      const code = Number.parseInt(digits ?? whole, 16);
      if (code >= 0xd800 && code <= 0xdfff) throw this.#unsupported();
      return [[code, code]];
    }
    if (/[A-Za-z0-9]/.test(character)) throw this.#unsupported();
    return only(character);
  }

  #peek(): string | undefined {
    return this.#characters[this.#at];
  }

  #take(character: string): boolean {
    if (this.#peek() !== character) return false;
    this.#at++;
    return true;
  }

  #unsupported(): GrammarError {
    return new GrammarError(
      `pattern: got ${brief(this.#pattern)}, not supported from character ${this.#at + 1}, ${SUPPORTED}`,
    );
  }
}

const anyText = repeat({ rule: 'character' });

function only(character: string): CodePoints {
  const code = character.codePointAt(0)!;
  return [[code, code]];
}

function brief(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 97)}...` : text);
}
