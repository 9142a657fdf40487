/** Python's string methods, on which prompts and scores of Python programs depend. */

/** White space by Python's `str.isspace`, for a character class; JavaScript's `\s` differs in six characters. */
export const SPACES = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
/** One character of white space, as Python's `\s`. */
export const SPACE = `[${SPACES}]`;
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

/** `str.capitalize()`: the first letter in title case, all others in lower case. */
export function capitalize(text: string): string {
  const [first = ''] = text;
  // A final sigma depends on the whole text.
  return titleCase(first) + text.toLowerCase().slice(first.toLowerCase().length);
}

/** Title case of one letter (Unicode's SpecialCasing.txt), which JavaScript lacks: mostly its upper case. */
function titleCase(letter: string): string {
  // The digraphs Ǆ ǅ ǆ, Ǉ ǈ ǉ, Ǌ ǋ ǌ, Ǳ ǲ ǳ are one character in each case.
  const digraph = /[\u01c4-\u01cc]/.test(letter) ? 0x1c4 : /[\u01f1-\u01f3]/.test(letter) ? 0x1f1 : 0;
  if (digraph > 0) {
    const offset = letter.charCodeAt(0) - digraph;
    return String.fromCharCode(digraph + offset - (offset % 3) + 1);
  }
  // Georgian starts no sentence with its capitals.
  if (/[\u10d0-\u10ff]/.test(letter)) return letter;
  const upper = letter.toUpperCase();
  // ß and ligatures become several letters: Ss, Fl. ŉ starts with an apostrophe.
  if (letter === '\u0149' || upper.length === letter.length) return upper;
  // Greek keeps its iota below the letter.
  if (/[\u1f80-\u1fff]/.test(letter) && upper.endsWith('Ι')) {
    const whole = `${upper.slice(0, -1)}\u0345`;
    return upper.length === 2 ? whole.normalize('NFC') : whole;
  }
  const [start, ...rest] = upper;
  return start + rest.join('').toLowerCase();
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
