/** Regular expressions of Python's `re` in JavaScript. */
import { EvalsError } from './error.ts';
import { SPACES } from './python-text.ts';

const WORD = '\\p{L}\\p{N}_';
/** What an escape means within brackets. */
const CLASSES: Readonly<Record<string, string>> = { d: '\\p{Nd}', w: WORD, s: SPACES };
const ASSERTIONS: Readonly<Record<string, string>> = {
  A: '(?<![\\s\\S])',
  Z: '(?![\\s\\S])',
  b: `(?:(?<=[${WORD}])(?![${WORD}])|(?<![${WORD}])(?=[${WORD}]))`,
  B: `(?:(?<=[${WORD}])(?=[${WORD}])|(?<![${WORD}])(?![${WORD}]))`,
};
/** Characters that an expression with the flag `u` may escape. */
const SYNTAX = /[\^$\\.*+?()[\]{}|/]/;

/**
 * Converts an expression: classes by Unicode, `.` and `$` as in Python, named groups, and flags at its start.
 *
 * @param where file and key, for errors
 * @returns a global expression
 * @throws EvalsError for one that JavaScript does not have
 */
export function pythonRegExp(source: string, where: string): RegExp {
  const [start = '', letters = ''] = /^\(\?([aimsu]+)\)/.exec(source) ?? [];
  const [isMultiline, isDotAll] = [letters.includes('m'), letters.includes('s')];
  let isInClass = false;
  const converted = source
    .slice(start.length)
    .replace(/\\([\s\S])|\(\?P<|\(\?P=(\w+)\)|[\s\S]/g, (part, escaped?: string, group?: string) => {
      if (part === '(?P<') return '(?<';
      if (group !== undefined) return `\\k<${group}>`;
      if (escaped !== undefined) return convertEscape(escaped, isInClass);
      if (isInClass) {
        if (part === ']') isInClass = false;
        return part === '[' ? '\\[' : part;
      }
      if (part === '[') isInClass = true;
      if (part === '.') return isDotAll ? '[\\s\\S]' : '[^\\n]';
      if (part === '^') return isMultiline ? '(?<![^\\n])' : '(?<![\\s\\S])';
      if (part === '$') return isMultiline ? '(?![^\\n])' : '(?=\\n?(?![\\s\\S]))';
      return part;
    });
  try {
    return new RegExp(converted, letters.includes('i') ? 'giu' : 'gu');
  } catch {
    throw new EvalsError(
      `${where}: got ${JSON.stringify(source)}, expected a regular expression that Python and JavaScript share; simplify it`,
    );
  }
}

function convertEscape(letter: string, isInClass: boolean): string {
  const members = CLASSES[letter];
  if (members !== undefined) return isInClass ? members : `[${members}]`;
  const others = CLASSES[letter.toLowerCase()];
  if (others !== undefined && !isInClass) return `[^${others}]`;
  if (!isInClass && ASSERTIONS[letter] !== undefined) return ASSERTIONS[letter];
  if (/[\w]/.test(letter) || SYNTAX.test(letter) || (isInClass && letter === '-')) return `\\${letter}`;
  return letter;
}
