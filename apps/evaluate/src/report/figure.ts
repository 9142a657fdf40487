/** Figures: a drawing with the numbers that it shows. */
import { type Html, html, trusted } from '@meap/recipe-cli';
import { stringify } from 'csv-stringify/sync';
import { withLightColors } from './colors.ts';

/** A drawing, its numbers, and what it says in words. */
export interface Figure {
  readonly kind: 'figure';
  /** What its files are called, without an ending: small letters, digits, `-` and `_`. */
  readonly name: string;
  readonly title: string;
  /** What a reader who cannot see it is told. */
  readonly description: string;
  /** The numbers, which lie behind the figure as a table and beside the page as a file. */
  readonly data: {
    readonly columns: readonly string[];
    readonly rows: readonly (readonly (string | number | undefined)[])[];
  };
  /** An SVG as wide as asked for, in pixels. */
  draw(width: number): string;
}

/** Widths of a figure's two drawings: letters keep their size on a telephone. */
const WIDTHS = { wide: 720, narrow: 350 };

/** A figure as markup: both drawings, of which the page shows the one that fits, and the table behind it. */
export function renderFigure({ title, description, data, draw }: Figure): Html {
  const drawings = Object.entries(WIDTHS).map(
    ([name, width]) =>
      html`<div class="${name}" role="img" aria-label="${title}. ${description}">${trusted(draw(width))}</div>
`,
  );
  return html`<figure>
<figcaption>${title}</figcaption>
${drawings}<details><summary>Numbers of this figure</summary>
<div class="table" tabindex="0" role="region" aria-label="Numbers of the figure: ${title}"><table>
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

/** What stands beside the page: the drawing for light paper, and its numbers. */
export function figureFiles({ name, data, draw }: Figure): Readonly<Record<string, string>> {
  return {
    [`${name}.svg`]: `${withLightColors(draw(WIDTHS.wide))}\n`,
    // Spreadsheets run what begins like a formula; names of models come from outside.
    [`${name}.csv`]: stringify([data.columns, ...data.rows] as unknown[][], { escape_formulas: true }),
  };
}
