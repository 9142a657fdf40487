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
}

export function renderTable({ caption, columns, rows, notes = [], hasTotal = false }: Table): Html {
  const [first, ...others] = columns;
  return html`<p class="caption">${caption}</p>
<div class="table" tabindex="0" role="region" aria-label="${caption}"><table aria-label="${caption}"${hasTotal ? html` class="total"` : undefined}>
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
}

function renderCell(cell: Cell | string | undefined): Html {
  if (cell === undefined) return html``;
  if (typeof cell === 'string') return html`${cell}`;
  return cell.note === undefined ? html`${cell.value}` : html`${cell.value}<small>${cell.note}</small>`;
}
