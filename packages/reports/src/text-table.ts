import { Html, type HtmlValue } from '@meap/recipe-cli';
import type { Cell, Table } from './table.ts';

/** A table of texts, for Markdown and LaTeX; the first column names the rows. */
export interface TextTable {
  readonly caption: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  readonly notes: readonly string[];
}

/** The texts of a table; the note of a cell follows its value, that of a row's name in parentheses. */
export function textTable({ caption, columns, rows, notes = [] }: Table): TextTable {
  return {
    caption: oneLine(caption),
    columns: columns.map(oneLine),
    rows: rows.map((cells) => cells.map((cell, i) => oneLine(textOf(cell, i === 0)))),
    notes: notes.map(oneLine),
  };
}

function textOf(cell: Cell | string | undefined, isName: boolean): string {
  if (cell === undefined) return '';
  if (typeof cell === 'string') return cell;
  const [value, note] = [cell.value, cell.note].map(withoutMarkup);
  if (note === '') return value;
  return isName ? `${value} (${note})` : `${value} ${note}`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&amp;': '&',
  '&lt;': '<',
  '&gt;': '>',
  '&quot;': '"',
};

function withoutMarkup(value: HtmlValue): string {
  if (value === undefined) return '';
  if (value instanceof Html) {
    return value.markup
      .replace(/<[^>]*>/g, ' ')
      .replace(/&(?:amp|lt|gt|quot);/g, (entity) => ENTITIES[entity]);
  }
  return typeof value === 'object' ? value.map(withoutMarkup).join('') : String(value);
}

const oneLine = (text: string) => text.replaceAll(/\s+/g, ' ').trim();
