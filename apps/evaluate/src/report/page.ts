/** Renders a report as a self-contained HTML page without scripts. */
import { Html, html, trusted } from '@meap/recipe-cli';
import { MAX_MODELS, modelColor } from './colors.ts';
import { renderFigure } from './figure.ts';
import type { Block, Section } from './report-input.ts';
import { STYLE } from './style.ts';
import { renderTable } from './table.ts';
import { fileName } from './task-names.ts';

/** The contents of a page. */
export interface Page {
  readonly title: string;
  /** Models in the order of their colours. */
  readonly models: readonly { readonly name: string; readonly about: string }[];
  readonly intro?: string;
  readonly sections: readonly Section[];
}

export function renderPage({ title, models, intro, sections }: Page): string {
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

function renderBlock(block: Block): Html {
  if (typeof block === 'string') return html`<p class="explanation">${block}</p>`;
  if (block instanceof Html) return block;
  return block.kind === 'table' ? renderTable(block) : renderFigure(block);
}
