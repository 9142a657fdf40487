import { type Html, type HtmlValue, html } from '@meap/recipe-cli';

/** A cell with an optional note in smaller type, such as a standard error. */
export interface Cell {
  readonly value: HtmlValue;
  readonly note?: HtmlValue;
}

/** A table; the first column names the rows, the others contain numbers. */
export interface Table {
  readonly kind: 'table';
  readonly caption: string;
  readonly columns: readonly string[];
  /** A cell for each column; undefined for an empty one. */
  readonly rows: readonly (readonly (Cell | string | undefined)[])[];
  readonly notes?: readonly string[];
  /** Whether the last row is a total. */
  readonly hasTotal?: boolean;
  /** Whether the page shows only the caption until a reader opens it. */
  readonly isFolded?: boolean;
}

export function renderTable(table: Table): Html {
  const { caption, columns, rows, notes = [], hasTotal = false, isFolded = false } = table;
  const [first, ...others] = columns;
  const content = html`<div class="table" tabindex="0" role="region" aria-label="${caption}"><table class="${hasTotal ? 'named total' : 'named'}" style="--columns: ${others.length}" aria-label="${caption}">
<thead><tr><th scope="col">${first}</th>${others.map((label) => html`<th scope="col">${label}</th>`)}</tr></thead>
<tbody>
${rows.map(
  ([name, ...cells]) => html`<tr><th scope="row">${renderCell(name)}</th>${cells.map(
    (cell) => html`<td>${renderCell(cell)}</td>`,
  )}</tr>
`,
)}</tbody>
</table></div>
${notes.map((note) => html`<p class="note">${note}</p>`)}`;
  return isFolded
    ? html`<details><summary>${caption}</summary>\n${content}</details>`
    : html`<p class="caption">${caption}</p>\n${content}`;
}

function renderCell(cell: Cell | string | undefined): Html {
  if (cell === undefined) return html``;
  if (typeof cell === 'string') return html`${cell}`;
  return cell.note === undefined ? html`${cell.value}` : html`${cell.value}<small>${cell.note}</small>`;
}

/** What a cell without a number shows. */
const EMPTY: readonly unknown[] = [undefined, '', '–'];

/** The table without the columns that are empty in every row; the first column stays. */
export function withoutEmptyColumns<T extends Pick<Table, 'columns' | 'rows'>>(table: T): T {
  const isEmpty = (cell: Table['rows'][number][number]) =>
    EMPTY.includes(typeof cell === 'object' ? (cell.note ?? cell.value) : cell);
  const kept = table.columns.map((_, i) => i === 0 || table.rows.some((row) => !isEmpty(row[i])));
  const keep = <Item>(items: readonly Item[]) => items.filter((_, i) => kept[i]);
  return { ...table, columns: keep(table.columns), rows: table.rows.map(keep) };
}
