/** YAML with bounded nesting and size, so that parsing untrusted text takes bounded time. */
import { Lexer, Parser, parse } from 'yaml';

/** Maximum nesting; recipes have four levels. Extreme nesting overflows the parser's stack and ends the process. */
const MAX_DEPTH = 64;

/** Maximum number of lexer tokens; the parser needs quadratic time for some inputs. A recipe has a few thousand. */
const MAX_TOKENS = 20_000;

/**
 * Throws a one-line error for YAML that is nested too deeply or has too many tokens, before parsing it.
 *
 * Text that passes is parsed within a second; it may still be invalid YAML.
 */
export function requirePlainYaml(text: string): void {
  const tokens: string[] = [];
  for (const token of new Lexer().lex(text)) {
    if (tokens.push(token) > MAX_TOKENS) {
      throw new Error(
        `more than ${MAX_TOKENS} tokens (words, punctuation, line ends), expected fewer; shorten it`,
      );
    }
  }
  const parser = new Parser();
  for (const token of tokens) {
    // Only the depth is needed, not the nodes.
    for (const _ of parser.next(token));
    if (parser.stack.length > MAX_DEPTH) {
      throw new Error(`nested deeper than ${MAX_DEPTH} levels, expected fewer`);
    }
  }
}

/** Parses YAML; throws a one-line error if it exceeds the limits of {@link requirePlainYaml} or {@link requireFewValues}. */
export function parsePlainYaml(text: string): unknown {
  requirePlainYaml(text);
  const value: unknown = parse(text, { logLevel: 'error' });
  requireFewValues(value);
  return value;
}

/** Throws a one-line error for a value that has too many values after its aliases are expanded. */
export function requireFewValues(value: unknown): void {
  const found = [value];
  // An alias may refer to a value that contains it.
  for (let at = 0; at < found.length; at++) {
    if (found.length > MAX_TOKENS) {
      throw new Error(
        `aliases expand to more than ${MAX_TOKENS} values, expected fewer; write the values out`,
      );
    }
    const one = found[at];
    if (typeof one === 'object' && one !== null) for (const inner of Object.values(one)) found.push(inner);
  }
}
