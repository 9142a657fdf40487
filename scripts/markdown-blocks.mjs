/**
 * Finds fenced blocks and their transcript markers in Markdown.
 *
 * A marker is an HTML comment directly above a block of output, as in OCaml's mdx:
 *
 *   <!-- transcript -->                       output of the block before: `js` runs in Node, `sh` in bash;
 *                                             lines of the block itself that begin with `$ ` are commands too
 *   <!-- transcript skip: REASON -->          never run
 *
 * or has one `key: value` a line; a repeated key adds a line:
 *
 *   needs   environment variables, commands or paths without which the block is skipped
 *   setup   shell commands whose output is not shown
 *   run     shell commands to run instead of those the page shows; processes in `*.pid` files end with the page
 *   keep    regular expression of the lines to show; others become `…`
 *   drop    regular expression of the lines that become `…`
 *   exit    expected exit status, 0 by default
 */

const KEYS = ['skip', 'needs', 'setup', 'run', 'keep', 'drop', 'exit'];
const MARKER = /^ *<!-- transcript\b([\s\S]*?)-->$/;

/** The fields of a marker's text; throws if a key is unknown. */
export function parseMarker(text, where) {
  const fields = {};
  for (const line of text.split('\n').map((line) => line.trim())) {
    if (line === '') continue;
    const [, key, value] = /^(\w+): +(.*)$/.exec(line) ?? [];
    if (!KEYS.includes(key)) {
      throw new Error(
        `${where}: got "${line}" in a transcript marker, expected ${KEYS.join(', ')}, each with ": value"`,
      );
    }
    fields[key] = key in fields ? `${fields[key]}\n${value}` : value;
  }
  return fields;
}

/** Fenced blocks of a page in order: where they stand, language, indentation, lines, and marker if there is one. */
export function findBlocks(text, page) {
  const lines = text.split('\n');
  const blocks = [];
  for (let at = 0; at < lines.length; at++) {
    const [, indent, language] = /^( *)```(\w*)/.exec(lines[at]) ?? [];
    if (indent === undefined) continue;
    const end = lines.indexOf(`${indent}\`\`\``, at + 1);
    if (end === -1) throw new Error(`${page}:${at + 1}: this block has no end`);
    blocks.push({
      page,
      at,
      end,
      indent,
      language,
      lines: lines.slice(at + 1, end).map((line) => line.slice(indent.length)),
      marker: markerAbove(lines, at, page),
      before: blocks.at(-1),
    });
    at = end;
  }
  return blocks;
}

function markerAbove(lines, at, page) {
  let end = at;
  while (end > 0 && lines[end - 1].trim() === '') end--;
  if (!lines[end - 1]?.endsWith('-->')) return undefined;
  let start = end - 1;
  while (start > 0 && !lines[start].includes('<!--')) start--;
  const [, fields] = MARKER.exec(lines.slice(start, end).join('\n')) ?? [];
  return fields === undefined ? undefined : parseMarker(fields, `${page}:${start + 1}`);
}

/** Whether a block shows what a command printed, and so needs a marker. */
export const isTranscript = ({ language }) => ['', 'text', 'console'].includes(language);

/** Shell commands shown in a block: `$ ` lines of a transcript, all of an `sh` block. */
export function shownCommands({ language, lines }) {
  if (language === 'sh') return lines.join('\n');
  return lines
    .filter((line) => line.startsWith('$ '))
    .map((line) => line.slice(2))
    .join('\n');
}

/** Replaces what differs from run to run and from machine to machine: times, rates, the processor, random ids. */
export const normalize = (text) =>
  text
    .replace(/\b[\d.]+ (?:ms|s|m|h)\b(?: [\d.]+ [sm]\b)*/g, 'TIME')
    .replace(/\b[\d.,]+[KM]? (tokens\/s|GFLOP\/s)/g, 'N $1')
    .replace(/[\d.]+ % of the peak/g, 'N % of the peak')
    .replace(/native \(.*/g, 'native')
    .replace(/reason: '.*|device: '.*/g, '')
    .replace(/MiB of [\d.]+ GiB/g, 'MiB of N GiB')
    .replace(/"(id|created)":[^,]+/g, '"$1":0');
