/** Figures with the data that they show. */
import { type Html, html, trusted } from '@meap/recipe-cli';
import { stringify } from 'csv-stringify/sync';
import { withLightColors } from './colors.ts';

/** A drawing with its data and a description. */
export interface Figure {
  readonly kind: 'figure';
  /** Base name of its files: lower-case letters, digits, `-` and `_`. */
  readonly name: string;
  readonly title: string;
  /** Text alternative. */
  readonly description: string;
  /** The data, as a table below the figure and as a CSV file. */
  readonly data: {
    readonly columns: readonly string[];
    readonly rows: readonly (readonly (string | number | undefined)[])[];
  };
  /** Draws an SVG of a width in pixels. */
  draw(width: number): string;
}

/** Widths of the drawings for wide and narrow screens, so that the font size stays the same. */
const WIDTHS = { wide: 720, narrow: 350 };

/** Renders both drawings, of which CSS shows one, and the table. */
export function renderFigure({ title, description, data, draw }: Figure): Html {
  const drawings = Object.entries(WIDTHS).map(
    ([name, width]) =>
      html`<div class="${name}" role="img" aria-label="${title}. ${description}">${trusted(draw(width))}</div>
`,
  );
  return html`<figure>
<figcaption>${title}</figcaption>
${drawings}<details><summary>Data of this figure</summary>
<div class="table" tabindex="0" role="region" aria-label="Data of the figure: ${title}"><table>
<thead><tr>${data.columns.map((label) => html`<th scope="col">${label}</th>`)}</tr></thead>
<tbody>
${data.rows.map(
  (
    row,
  ) => html`<tr>${row.map((value) => (typeof value === 'number' ? html`<td>${Number(value.toPrecision(6))}</td>` : html`<th>${value}</th>`))}</tr>
`,
)}</tbody>
</table></div>
</details>
</figure>`;
}

/** Returns the files of a figure by name: its drawing as SVG, and its numbers as CSV. */
export function figureFiles({ name, data, draw }: Figure): Readonly<Record<string, string>> {
  return {
    [`${name}.svg`]: `${withLightColors(draw(WIDTHS.wide))}\n`,
    // Prevents spreadsheets from running formulas in names of models.
    [`${name}.csv`]: stringify([data.columns, ...data.rows] as unknown[][], { escape_formulas: true }),
  };
}
