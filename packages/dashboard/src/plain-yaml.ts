/** YAML as people write it: nothing that costs its reader more than a moment. */
import { Lexer, Parser, parse } from 'yaml';

/** Deepest nesting; recipes have four levels. Far beyond it, the parser ends the whole process. */
const MAX_DEPTH = 64;

/** Most words, signs and line ends: the parser takes the square of them for some. A recipe has a few thousand. */
const MAX_TOKENS = 20_000;

/**
 * Throws an error of one line for YAML that is nested too deeply or has too many parts, before any of it is composed.
 *
 * What passes is parsed within a second; whether it is YAML is the parser's to say.
 */
export function requirePlainYaml(text: string): void {
  const tokens: string[] = [];
  for (const token of new Lexer().lex(text)) {
    if (tokens.push(token) > MAX_TOKENS) {
      throw new Error(
        `more than ${MAX_TOKENS} parts (words, signs and line ends), expected fewer; shorten it`,
      );
    }
  }
  const parser = new Parser();
  for (const token of tokens) {
    // Its nodes are not needed, only how many are open at once.
    for (const _ of parser.next(token));
    if (parser.stack.length > MAX_DEPTH) {
      throw new Error(`nested deeper than ${MAX_DEPTH} levels, expected fewer`);
    }
  }
}

/** Parses YAML that {@link requirePlainYaml} lets pass, of which aliases must not make many times more. */
export function parsePlainYaml(text: string): unknown {
  requirePlainYaml(text);
  const value: unknown = parse(text, { logLevel: 'error' });
  requireFewValues(value);
  return value;
}

/** Throws an error of one line for a value whose parts, those that it holds several times counted each time, are many. */
export function requireFewValues(value: unknown): void {
  const found = [value];
  // An alias may stand for what it stands in.
  for (let at = 0; at < found.length; at++) {
    if (found.length > MAX_TOKENS) {
      throw new Error(`its aliases stand for more than ${MAX_TOKENS} values, expected fewer; write them out`);
    }
    const one = found[at];
    if (typeof one === 'object' && one !== null) for (const inner of Object.values(one)) found.push(inner);
  }
}
