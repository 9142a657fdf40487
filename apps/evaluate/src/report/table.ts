import { type Html, type HtmlValue, html } from '@meap/recipe-cli';

/** A cell: what it says, and in smaller type what belongs to it, such as an error below its value. */
export interface Cell {
  readonly value: HtmlValue;
  readonly note?: HtmlValue;
}

/** A table for people; the first column names the rows, the others hold numbers. */
export interface Table {
  readonly kind: 'table';
  /** Shown above it. */
  readonly caption: string;
  readonly columns: readonly string[];
  /** As many cells a row as there are columns; undefined leaves one empty. */
  readonly rows: readonly (readonly (Cell | string | undefined)[])[];
  /** Shown below it, such as what its signs mean. */
  readonly notes?: readonly string[];
  /** Whether the last row sums up the others. */
  readonly hasTotal?: boolean;
}

/** A table as markup. */
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
