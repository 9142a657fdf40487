/** Python's string methods, on which prompts and scores of Python programs depend. */

/** White space by Python's `str.isspace`, for a character class; JavaScript's `\s` differs in six characters. */
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

/** `re.split(r"\s+", text)`: leading or trailing white space gives an empty text. */
export function splitAtSpace(text: string): string[] {
  return text.split(between);
}

/** `len(re.split(r"\s+", text))`, at least 1. */
export function countWords(text: string): number {
  return splitAtSpace(text).length;
}

/** `str.capitalize()`: the first letter upper case, all others lower case. */
export function capitalize(text: string): string {
  const [first = '', ...rest] = text;
  const large = first.toUpperCase(); // Two letters for ß and ligatures; in Python the second one is lower case.
  return large.charAt(0) + (large.slice(1) + rest.join('')).toLowerCase();
}

/** `str.split()`. */
export function words(text: string): string[] {
  const inner = strip(text);
  return inner === '' ? [] : splitAtSpace(inner);
}

/** `len(text)`: code points. */
export function numCharacters(text: string): number {
  return [...text].length;
}
