export { heatColor, MAX_MODELS, modelColor } from './colors.ts';
export { drawing, shortened, textWidth } from './drawing.ts';
export { type Figure, figureFiles } from './figure.ts';
export { latexTables } from './latex.ts';
export type { LineChart, Series } from './line-chart.ts';
export { type LineFigure, lineFigure } from './line-figure.ts';
export { escapeMarkdown, renderMarkdown, renderTextTable } from './markdown.ts';
export {
  format,
  formatDifference,
  formatLength,
  formatProbability,
  type Unit,
} from './numbers.ts';
export { type Block, fileName, type Page, renderPage, type Section, textTables } from './page.ts';
export { type Cell, type Table, withoutEmptyColumns } from './table.ts';
export type { TextTable } from './text-table.ts';
