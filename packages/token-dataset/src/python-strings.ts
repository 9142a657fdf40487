/**
 * Python's `strip`, `lstrip` and `rstrip` for chat templates, also as the filter `trim`.
 *
 * The Jinja library ignores the argument and always trims JavaScript's white space: `content.lstrip('\n')`, as in
 * Qwen3's template, would remove spaces too.
 */
import type { Template } from '@huggingface/jinja';

/** The characters that Python's `str.strip` removes without an argument. */
const WHITE_SPACE =
  '\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000';

/** Removes leading and trailing characters of `characters`. */
export function strip(text: string, characters = WHITE_SPACE): string {
  return lstrip(rstrip(text, characters), characters);
}

function lstrip(text: string, characters = WHITE_SPACE): string {
  const points = new Set(characters);
  let start = 0;
  for (const point of text) {
    if (!points.has(point)) break;
    start += point.length;
  }
  return text.slice(start);
}

function rstrip(text: string, characters = WHITE_SPACE): string {
  const points = new Set(characters);
  let end = text.length;
  while (end > 0) {
    // The last code point, which may be a surrogate pair.
    const last = [...text.slice(Math.max(0, end - 2), end)].at(-1)!;
    if (!points.has(last)) break;
    end -= last.length;
  }
  return text.slice(0, end);
}

interface Node {
  type: string;
  [field: string]: unknown;
}

const METHODS = { strip, lstrip, rstrip };
const isMethod = (name: unknown): name is keyof typeof METHODS =>
  typeof name === 'string' && Object.hasOwn(METHODS, name);

/** A name that no template can spell. */
const nameOf = (method: keyof typeof METHODS) => ` ${method}`;

/** The functions that a template calls after {@link usePythonStrip}, by name. */
export const STRIP_FUNCTIONS: Readonly<Record<string, unknown>> = Object.fromEntries(
  (Object.keys(METHODS) as (keyof typeof METHODS)[]).map((method) => [
    nameOf(method),
    (text: unknown, characters: unknown) => {
      // Jinja renders undefined values as nothing.
      if (text === undefined) return '';
      if (typeof text !== 'string') throw new Error(`${method}: got ${text}, expected text`);
      return METHODS[method](text, typeof characters === 'string' ? characters : undefined);
    },
  ]),
);

/** Makes a parsed template call {@link STRIP_FUNCTIONS}. */
export function usePythonStrip({ parsed }: Template): void {
  visit(parsed);
}

function visit(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  if (value instanceof Map) {
    for (const entry of value) visit(entry);
    return;
  }
  for (const child of Object.values(value)) visit(child);
  const node = value as Node;
  const callee = node.callee as Node | undefined;
  const property = callee?.property as Node | undefined;
  if (node.type === 'CallExpression' && callee?.type === 'MemberExpression' && !callee.computed) {
    if (!isMethod(property?.value)) return;
    node.args = [callee.object, ...(node.args as unknown[])];
    node.callee = { type: 'Identifier', value: nameOf(property.value) };
  } else if (node.type === 'FilterExpression' && (node.filter as Node).value === 'trim') {
    Object.assign(node, {
      type: 'CallExpression',
      callee: { type: 'Identifier', value: nameOf('strip') },
      args: [node.operand],
    });
  }
}
