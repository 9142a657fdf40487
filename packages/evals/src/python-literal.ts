/** Reads Python's literals, as data sets have them that were saved as text. */

const TOKEN =
  /\s*(?:([[\]{}(),:])|(-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)|(True|False|None)|('(?:[^'\\]|\\[\s\S])*'|"(?:[^"\\]|\\[\s\S])*"))\s*/y;

const CONSTANTS: Readonly<Record<string, unknown>> = { True: true, False: false, None: null };

/**
 * `ast.literal_eval` for lists, tuples, dicts, strings, numbers and constants; undefined for any other text.
 */
export function pythonLiteral(text: string): unknown {
  const tokens: RegExpExecArray[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const token = TOKEN.exec(text);
    if (token === null) return undefined;
    tokens.push(token);
  }
  let at = 0;
  const isNext = (mark: string) => tokens[at]?.[1] === mark && ++at > 0;
  const expect = (mark: string) => {
    if (!isNext(mark)) throw new SyntaxError(mark);
  };
  const list = <T>(end: string, item: () => T): T[] => {
    const items: T[] = [];
    while (!isNext(end)) {
      items.push(item());
      if (isNext(end)) break;
      expect(',');
    }
    return items;
  };
  const value = (): unknown => {
    if (isNext('[')) return list(']', value);
    if (isNext('(')) return list(')', value);
    if (isNext('{')) {
      const entry = () => {
        const key = String(value());
        expect(':');
        return [key, value()] as const;
      };
      return Object.fromEntries(list('}', entry));
    }
    const [, , number, constant, string] = tokens[at++] ?? [];
    if (number !== undefined) return Number(number);
    if (constant !== undefined) return CONSTANTS[constant];
    if (string !== undefined) return unescaped(string.slice(1, -1));
    throw new SyntaxError('no value');
  };
  try {
    const found = value();
    return at === tokens.length ? found : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  a: '\x07',
  b: '\b',
  f: '\f',
  v: '\v',
  '\n': '',
};

function unescaped(text: string): string {
  return text.replace(
    /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-7]{1,3})|([\s\S]))/g,
    (_, ...[two, four, eight, octal, letter]: (string | undefined)[]) => {
      const hex = two ?? four ?? eight;
      if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16));
      if (octal !== undefined) return String.fromCodePoint(Number.parseInt(octal, 8));
      return ESCAPES[letter!] ?? (/['"\\]/.test(letter!) ? letter! : `\\${letter}`);
    },
  );
}
