/** Renders a report as a self-contained HTML page without scripts. */
import { Html, html, trusted } from '@meap/recipe-cli';
import { MAX_MODELS, modelColor } from './colors.ts';
import { type Figure, renderFigure } from './figure.ts';
import { STYLE } from './style.ts';
import { renderTable, type Table, withoutEmptyColumns } from './table.ts';
import { type TextTable, textTable } from './text-table.ts';

/** A heading with what follows it. */
export interface Section {
  readonly heading: string;
  readonly blocks: readonly Block[];
}

/** A paragraph, a table, a figure or other markup. */
export type Block = string | Table | Figure | Html;

/** The contents of a page. */
export interface Page {
  readonly title: string;
  /** Models in the order of their colours. */
  readonly models: readonly { readonly name: string; readonly about: string }[];
  readonly intro?: string;
  readonly sections: readonly Section[];
}

/** Returns a page as one HTML file, without empty tables, columns and sections. */
export function renderPage({ title, models, intro, sections: all }: Page): string {
  const sections = shownSections(all);
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<style>${trusted(STYLE)}</style>
</head>
<body>
<header>
<h1>${title}</h1>
<ul class="models">
${models.map(
  ({ name, about }, index) =>
    html`<li><span style="color: ${modelColor(index % MAX_MODELS)}">${name}</span> <small>${about}</small></li>
`,
)}</ul>
<nav aria-label="Sections">${sections.map(({ heading }) => html`<a href="#${fileName(heading)}">${heading}</a> `)}</nav>
${intro === undefined ? undefined : html`<p class="note">${intro}</p>`}
</header>
<main>
${sections.map(
  ({ heading, blocks }) => html`<section id="${fileName(heading)}">
<h2>${heading}</h2>
${blocks.map((block) => html`${renderBlock(block)}\n`)}</section>
`,
)}</main>
</body>
</html>
`;
  return page.markup;
}

/** The sections without empty tables and columns; those of which nothing is left are left out. @internal */
export function shownSections(sections: readonly Section[]): Section[] {
  const shown = sections.map(({ heading, blocks }) => ({
    heading,
    blocks: blocks.flatMap((block): Block[] => {
      if (!isTable(block)) return [block];
      const table = withoutEmptyColumns(block);
      return table.rows.length > 0 && table.columns.length > 1 ? [table] : [];
    }),
  }));
  return shown.filter(({ blocks }) => blocks.length > 0);
}

/** The texts of the tables that a page shows unfolded. */
export function textTables(sections: readonly Section[]): TextTable[] {
  const blocks = shownSections(sections).flatMap(({ blocks }) => blocks);
  return blocks.flatMap((block) => (isTable(block) && !block.isFolded ? [textTable(block)] : []));
}

const isTable = (block: Block): block is Table =>
  typeof block === 'object' && 'kind' in block && block.kind === 'table';

function renderBlock(block: Block): Html {
  if (typeof block === 'string') return html`<p class="explanation">${block}</p>`;
  if (block instanceof Html) return block;
  return block.kind === 'table' ? renderTable(block) : renderFigure(block);
}

/** Returns a name for a file or an anchor: lower-case letters, digits, `-` and `_`. */
export function fileName(...parts: readonly (string | number)[]): string {
  return parts
    .join('-')
    .toLowerCase()
    .replaceAll(/[^a-z0-9_-]+/g, '-')
    .slice(0, 100);
}
