/** Perplexity of WikiText, whose tokens are joined to text first, as in lm-evaluation-harness 0.4.13. */
import { type PerplexityOptions, perplexityTask } from './perplexity.ts';
import { SPACE } from './python-text.ts';
import { readRow } from './row-reader.ts';
import type { Task } from './task.ts';

/**
 * `wikitext` of the harness: perplexity per word and byte of the published pages, of which the model reads the text without
 * tokenization.
 *
 * @param rows records `{page}`
 * @throws EvalsError for a row of another shape
 */
export function wikitextTask(rows: readonly unknown[], { bos }: Pick<PerplexityOptions, 'bos'> = {}): Task {
  const name = 'wikitext';
  const pages = rows.map((row, index) => readRow(`${name}, row ${index}`, row).text('page'));
  return { ...perplexityTask(pages.map(detokenize), { name, bos, counted: pages, rows }), version: 2 };
}

const between = (start: string, inner: string, end: string) =>
  new RegExp(`${start}${SPACE}*(${inner}*?)${SPACE}*${end}`, 'g');

/** The replacements of the harness in its order; the second one is its slip. */
const REPLACEMENTS: readonly (readonly [string | RegExp, string])[] = [
  ["s '", "s'"],
  [/\/' [0-9]\//g, "/'[0-9]/"],
  [' @-@ ', '-'],
  [' @,@ ', ','],
  [' @.@ ', '.'],
  [' : ', ': '],
  [' ; ', '; '],
  [' . ', '. '],
  [' ! ', '! '],
  [' ? ', '? '],
  [' , ', ', '],
  [between('\\(', '[^)]', '\\)'), '($1)'],
  [between('\\[', '[^\\]]', '\\]'), '[$1]'],
  [between('\\{', '[^}]', '\\}'), '{$1}'],
  [between('"', '[^"]', '"'), '"$1"'],
  [between("'", "[^']", "'"), "'$1'"],
  ['= = = =', '===='],
  ['= = =', '==='],
  ['= =', '=='],
  [' ° ', '°'],
  [' \n', '\n'],
  ['\n ', '\n'],
  [' N ', ' 1 '],
  [" 's", "'s"],
];

function detokenize(page: string): string {
  return REPLACEMENTS.reduce((text, [from, to]) => text.replaceAll(from, to), page);
}
