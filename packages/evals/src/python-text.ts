/** Python's notions of white space and capitals, where prompts and scores of Python programs depend on them. */

/** What Python's `str.isspace` holds for, as the inside of a character class: JavaScript's `\s` differs in six. */
const SPACES = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const atStart = new RegExp(`^[${SPACES}]+`);
const atEnd = new RegExp(`[${SPACES}]+$`);
const between = new RegExp(`[${SPACES}]+`);

/** `str.rstrip()`. */
export function stripEnd(text: string): string {
  return text.replace(atEnd, '');
}

/** `str.strip()`. */
export function strip(text: string): string {
  return stripEnd(text).replace(atStart, '');
}

/** `re.split(r"\s+", text)`: white space at an end leaves an empty text there. */
export function splitAtSpace(text: string): string[] {
  return text.split(between);
}

/** `len(re.split(r"\s+", text))`: one more than the runs of white space, so at least 1. */
export function countWords(text: string): number {
  return splitAtSpace(text).length;
}

/** `str.capitalize()`: the first letter large, all others small. */
export function capitalize(text: string): string {
  const [first = '', ...rest] = text;
  const large = first.toUpperCase(); // Two letters for ß and ligatures, of which Python makes the second one small.
  return large.charAt(0) + (large.slice(1) + rest.join('')).toLowerCase();
}

/** `str.split()`: what runs of white space separate. */
export function words(text: string): string[] {
  const inner = strip(text);
  return inner === '' ? [] : splitAtSpace(inner);
}

/** `len(text)`: code points. */
export function numCharacters(text: string): number {
  return [...text].length;
}
