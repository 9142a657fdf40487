/** Tables for LaTeX, with the packages booktabs and amssymb. */
import { plainText } from '@meap/recipe-cli';
import type { TextTable } from './text-table.ts';

const ESCAPED: Readonly<Record<string, string>> = {
  '\\': '\\textbackslash{}',
  '{': '\\{',
  '}': '\\}',
  '%': '\\%',
  '&': '\\&',
  $: '\\$',
  '#': '\\#',
  _: '\\_',
  '~': '\\textasciitilde{}',
  '^': '\\textasciicircum{}',
  '−': '$-$',
  '±': '$\\pm$',
  '<': '$<$',
  '>': '$>$',
  '≥': '$\\geq$',
  '≤': '$\\leq$',
  '’': "'",
  '–': '--',
  '↑': '$\\uparrow$',
  '↓': '$\\downarrow$',
  '▲': '$\\blacktriangle$',
  '▼': '$\\blacktriangledown$',
  '△': '$\\triangle$',
  '▽': '$\\triangledown$',
  // After the end of a line, LaTeX would take it as an option of that.
  '[': '{[}',
};

/** Renders tables; each can be moved or cut on its own. */
export function latexTables(tables: readonly TextTable[]): string {
  return `% Needs \\usepackage{booktabs,amssymb}.\n\n${tables.map(latexTable).join('\n')}`;
}

function latexTable({ caption, columns, rows, notes }: TextTable): string {
  const line = (cells: readonly string[]) => `${cells.map(escapeLatex).join(' & ')} \\\\`;
  return [
    '\\begin{table}',
    '\\centering',
    `\\caption{${escapeLatex([`${caption}.`, ...notes].join(' '))}}`,
    `\\begin{tabular}{l${'r'.repeat(columns.length - 1)}}`,
    '\\toprule',
    line(columns),
    '\\midrule',
    ...rows.map(line),
    '\\bottomrule',
    '\\end{tabular}',
    '\\end{table}',
    '',
  ].join('\n');
}

/** Escapes text for LaTeX. */
export function escapeLatex(text: string): string {
  return plainText(text).replace(/[\\{}%&$#_~^−±<>≥≤’–↑↓▲▼△▽[]/g, (character) => ESCAPED[character]);
}
