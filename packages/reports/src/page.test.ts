import { expect, it } from 'vitest';
import { escapeLatex, latexTables } from './latex.ts';
import { escapeMarkdown, renderMarkdown } from './markdown.ts';
import { fileName, type Page, renderPage, type Section, textTables } from './page.ts';

it('names of files contain no paths', () => {
  expect(fileName('../../etc/passwd', 'by', 'length')).toBe('-etc-passwd-by-length');
  expect(fileName('C:\\x', '\0')).toMatch(/^[a-z0-9_-]+$/);
});

const table = { kind: 'table' as const, caption: 'Accuracy of a_b', columns: ['Task', 'NTP', 'p', 'MEAP'] };
const sections: Section[] = [
  {
    heading: 'Results',
    blocks: [
      {
        ...table,
        rows: [
          [{ value: '[boolq]', note: 'n = 9' }, '1.0', '–', undefined],
          ['pi|qa', { value: '▲ −2.0', note: ['< ', '0.001'] }, { value: '–' }, ''],
        ],
        notes: ['# of rows: 9'],
      },
      { ...table, rows: [] },
      { ...table, caption: 'Folded', isFolded: true, rows: [['x', '1', '2', '3']] },
    ],
  },
  { heading: 'Nothing', blocks: [{ ...table, rows: [['only a name', undefined, '–', '']] }] },
];
const page: Page = { title: 'A [b](c)', models: [{ name: 'NTP', about: '1 task' }], sections };

it('tables without rows, columns without numbers and sections without content are left out', () => {
  const html = renderPage(page);
  expect(html.match(/<th scope="col">[^<]*/g)!.map((cell) => cell.slice(16))).toEqual([
    ...['Task', 'NTP'],
    ...['Task', 'NTP', 'p', 'MEAP'],
  ]);
  expect(html).toMatch(/<details><summary>Folded<.*style="--columns: 3"/s);
  expect(html).not.toContain('Nothing');
});

it('is the same in Markdown', () => {
  expect(renderMarkdown(page)).toBe(`# A [b]\\(c)

- NTP: 1 task

## Results

**Accuracy of a\\_b**

| Task            |             NTP |
| :-------------- | --------------: |
| [boolq] (n = 9) |             1.0 |
| pi\\|qa          | ▲ −2.0 \\< 0.001 |

\\# of rows: 9

**Folded**

| Task | NTP |  p | MEAP |
| :--- | --: | -: | ---: |
| x    |   1 |  2 |    3 |
`);
  expect(escapeMarkdown('a\n<b> &amp; `c` \\ \u001b[2J')).toBe('a \\<b\\> \\&amp; \\`c\\` \\\\ \ufffd[2J');
});

it('has its unfolded tables in LaTeX, where a row may begin with a bracket', () => {
  const latex = latexTables(textTables(sections));
  expect(latex).toContain('\\begin{tabular}{lr}\n\\toprule\nTask & NTP \\\\\n');
  expect(latex).toContain('{[}boolq] (n = 9) & 1.0 \\\\\npi|qa & $\\blacktriangle$ $-$2.0 $<$ 0.001 \\\\');
  expect(latex.split('\\begin{tabular}')).toHaveLength(2);
  expect(escapeLatex('50 % of a_b & {c} − \\')).toBe('50 \\% of a\\_b \\& \\{c\\} $-$ \\textbackslash{}');
});
