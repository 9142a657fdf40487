/** Reports of evaluations: an HTML page, the same as Markdown, tables for LaTeX, and figures as SVG and CSV. */

import { dirname, join, parse } from 'node:path';
import { makeDirectory, writeFileAtomic } from '@meap/files';
import { counted, RunError } from '@meap/recipe-cli';
import {
  type Block,
  type Figure,
  figureFiles,
  latexTables,
  MAX_MODELS,
  type Page,
  renderMarkdown,
  renderPage,
  type Section,
  textTables,
} from '@meap/reports';
import { attentionSection } from './attention-section.ts';
import { type ComparedTask, compareModels, DIFFERENCE_NOTE } from './comparisons.ts';
import { disagreementSection } from './disagreement-section.ts';
import type { EvaluatedModel, ReportInput } from './report-input.ts';
import { isRuler, rulerSection } from './ruler-section.ts';
import { runsSection } from './runs-section.ts';
import { setupSection } from './setup-section.ts';
import { taskSection } from './task-section.ts';
import { trainingSection } from './training-section.ts';
import { isZeroShot, zeroShotSections } from './zero-shot-section.ts';

/** The page and the figure files by name. */
export interface RenderedReport {
  readonly html: string;
  readonly markdown: string;
  /** The tables. */
  readonly latex: string;
  readonly figures: Readonly<Record<string, string>>;
}

/**
 * Writes a report to `path`, beside it the same with the endings `.md` and `.tex`, and its figures to `figures/`.
 *
 * The output depends only on the results. Each file is written atomically, the page last.
 *
 * @throws RunError for no results or too many models
 */
export function writeReport(input: ReportInput, path: string): void {
  const { html, markdown, latex, figures } = renderReport(input);
  const folder = join(dirname(path), 'figures');
  if (Object.keys(figures).length > 0) makeDirectory(folder);
  for (const [name, content] of Object.entries(figures)) writeFileAtomic(join(folder, name), content);
  const { dir, name, ext } = parse(path);
  const base = join(dir, ext === '.html' ? name : `${name}${ext}`);
  writeFileAtomic(`${base}.md`, markdown);
  writeFileAtomic(`${base}.tex`, latex);
  writeFileAtomic(path, html);
}

/** Renders the files of a report; throws like {@link writeReport}. */
export function renderReport(input: ReportInput): RenderedReport {
  const { models, contrasts = [], shares = [], overRuns = [] } = input;
  if (models.length > MAX_MODELS) {
    throw new RunError(
      `report: got ${models.length} models, expected at most ${MAX_MODELS}; write several reports`,
    );
  }
  const tasks = compareModels(models);
  const sections = withUniqueFigures(sectionsOf(input, tasks));
  if (sections.length === 0) throw new RunError('report: got no results, expected at least one task');
  const isAttention = contrasts.length + shares.length > 0;
  const names =
    models.length > 0 ? models.map(({ name }) => name) : [...new Set(shares.map(({ model }) => model))];
  const kinds = tasks.length > 0 ? 'Evaluation' : isAttention ? 'Attention' : 'Training';
  const page: Page = {
    title:
      models.length === 0 && !isAttention
        ? `Comparison of ${counted(overRuns[0].pairs.length, 'pair')} of runs`
        : `${kinds} of ${listed(names.length > 0 ? names : [contrasts[0].ntp, contrasts[0].meap])}`,
    models: models.map((model) => ({ name: model.name, about: aboutModel(model) })),
    intro: models.length > 1 && tasks.length > 0 ? DIFFERENCE_NOTE : undefined,
    sections,
  };
  const blocks = sections.flatMap(({ blocks }) => blocks);
  const figures = blocks.filter((block): block is Figure => isKind(block, 'figure'));
  return {
    html: renderPage(page),
    markdown: renderMarkdown(page),
    latex: latexTables(textTables(sections)),
    figures: Object.assign({}, ...figures.map(figureFiles)),
  };
}

/** Makes the names of figure files unique; different task names can yield the same file name. */
function withUniqueFigures(sections: readonly Section[]): Section[] {
  const numUsed = new Map<string, number>();
  const rename = (block: Block): Block => {
    if (!isKind(block, 'figure')) return block;
    const count = (numUsed.get(block.name) ?? 0) + 1;
    numUsed.set(block.name, count);
    return count === 1 ? block : { ...block, name: `${block.name}-again-${count}` };
  };
  return sections.map(({ heading, blocks }) => ({ heading, blocks: blocks.map(rename) }));
}

function sectionsOf(
  { models, contrasts = [], shares = [], overRuns = [], logged }: ReportInput,
  tasks: readonly ComparedTask[],
): Section[] {
  const zeroShot = tasks.filter(isZeroShot);
  const ruler = tasks.filter(isRuler);
  const others = tasks.filter((task) => !isZeroShot(task) && !isRuler(task));
  return [
    ...zeroShotSections(models, zeroShot),
    ...others.map((task) => taskSection(models, task)),
    ...(ruler.length > 0 ? [rulerSection(models, ruler)] : []),
    disagreementSection(models, tasks, logged),
    ...(overRuns.length > 0 ? [runsSection(overRuns)] : []),
    ...(contrasts.length + shares.length > 0 ? [attentionSection(contrasts, shares, models)] : []),
    trainingSection(models),
    ...(tasks.length > 0 ? [setupSection(models, tasks)] : []),
  ].filter(({ blocks }) => blocks.length > 0);
}

function aboutModel({ results }: EvaluatedModel): string {
  const numRows = results.reduce((sum, { samples }) => sum + samples.length, 0);
  return `${counted(results.length, 'task')}, ${counted(numRows, 'row')}`;
}

function listed(names: readonly string[]): string {
  return new Intl.ListFormat('en').format(names);
}

function isKind<Kind extends 'figure' | 'table'>(
  block: Block,
  kind: Kind,
): block is Extract<Block, { kind: Kind }> {
  return typeof block === 'object' && 'kind' in block && block.kind === kind;
}
