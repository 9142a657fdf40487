import { Html, plainText } from '@meap/recipe-cli';
import { markdownTable } from 'markdown-table';
import { type Block, type Page, shownSections } from './page.ts';
import { type TextTable, textTable } from './text-table.ts';

/** Renders a page as Markdown: paragraphs, tables, and figures as images in `figures/`. Other markup is left out. */
export function renderMarkdown({ title, models, intro, sections }: Page): string {
  const parts = [
    `# ${escapeMarkdown(title)}`,
    models.map(({ name, about }) => `- ${escapeMarkdown(`${name}: ${about}`)}`).join('\n'),
    intro === undefined ? '' : markdownParagraph(intro),
    ...shownSections(sections).flatMap(({ heading, blocks }) => [
      `## ${escapeMarkdown(heading)}`,
      ...blocks.map(renderBlock),
    ]),
  ];
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}

function renderBlock(block: Block): string {
  if (block instanceof Html) return '';
  if (typeof block === 'string') return markdownParagraph(block);
  if (block.kind === 'table') return renderTextTable(textTable(block));
  return `![${escapeMarkdown(block.title)}](figures/${block.name}.svg)`;
}

/** Renders a table with its caption and notes. */
export function renderTextTable({ caption, columns, rows, notes }: TextTable): string {
  const table = markdownTable(
    [columns, ...rows].map((row) => row.map(escapeMarkdown)),
    {
      align: columns.map((_, i) => (i === 0 ? 'l' : 'r')),
    },
  );
  return [`**${escapeMarkdown(caption)}**`, table, ...notes.map(markdownParagraph)].join('\n\n');
}

/** A text that begins like a heading or a list stays a paragraph. */
const markdownParagraph = (text: string) =>
  escapeMarkdown(text).replace(/^(?=[#+-])|(?<=^\d+)(?=[.)])/, '\\');

/** Escapes text so that Markdown shows it as it is, on one line. */
export function escapeMarkdown(text: string): string {
  return plainText(text.replaceAll(/\s+/g, ' ')).replace(/[\\`|<>*_~]|(?<=\])(?=[([:])|&(?=[\w#])/g, '\\$&');
}
