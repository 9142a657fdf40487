/** Writes what can be computed from a study's plan and results: results.csv, the report, the tables. */
import { join } from 'node:path';
import { makeDirectory, writeFileAtomic } from '@meap/files';
import { configToYaml, html } from '@meap/recipe-cli';
import {
  type Block,
  escapeMarkdown,
  type Figure,
  figureFiles,
  latexTables,
  renderPage,
  renderTextTable,
  type Section,
  type Table,
  type TextTable,
  withoutEmptyColumns,
} from '@meap/reports';
import { stringify } from 'csv-stringify/sync';
import { type Analysis, analyse } from '../analysis.ts';
import { runName } from '../plan.ts';
import { readStudy, type Study } from '../study-files.ts';
import { curveFigures, survivalFigures } from './figures.ts';
import { sparklines } from './sparklines.ts';
import { armTable, describeResult, paperTable, runTable, timeTable, valueTable } from './tables.ts';
import { commandLines, machineLines, planLines, statusLines } from './text.ts';

/**
 * Writes `results.csv`, `report.html`, `report.md`, `tables.tex` and `figures/` into a study's directory; returns what to
 * print.
 *
 * @throws RunError for a folder without plan or with results of another plan
 */
export function writeReport(out: string): string {
  const study = readStudy(out);
  const analysis = analyse(study);
  const tables = tablesOf(study, analysis);
  const figures = [...curveFigures(study), ...survivalFigures(study, analysis)];
  if (figures.length > 0) makeDirectory(join(out, 'figures'));
  for (const [name, content] of figures.flatMap((figure) => Object.entries(figureFiles(figure)))) {
    writeFileAtomic(join(out, 'figures', name), content);
  }
  writeFileAtomic(join(out, 'results.csv'), resultsCsv(study));
  writeFileAtomic(join(out, 'tables.tex'), latexTables([...tables.main, tables.arms]));
  writeFileAtomic(join(out, 'report.md'), renderMarkdown(study, tables, figures));
  writeFileAtomic(join(out, 'report.html'), renderHtml(study, tables, figures));
  const parts = [
    statusLines(study),
    analysis.comparisons.map(describeResult),
    sparklines(study),
    [`report       ${join(out, 'report.html')}`],
  ];
  return parts.flatMap((lines) => (lines.length > 0 ? [lines.join('\n')] : [])).join('\n\n');
}

interface ReportTables {
  /** Comparisons, and the numbers of the paper. */
  main: TextTable[];
  arms: TextTable;
  runs: TextTable;
}

function tablesOf(study: Study, analysis: Analysis): ReportTables {
  const main = [valueTable(analysis), timeTable(analysis), paperTable(analysis)].filter(
    (table) => table !== undefined,
  );
  return {
    main: main.map(withoutEmptyColumns),
    arms: withoutEmptyColumns(armTable(analysis)),
    runs: withoutEmptyColumns(runTable(study)),
  };
}

/** One line a run and measure; runs without a result are left out. */
function resultsCsv({ runs, results }: Study): string {
  const rows = runs.flatMap((run) =>
    Object.entries(results.get(runName(run))?.measures ?? {}).map(([measure, { value, censored }]) => [
      run.arm,
      run.seed,
      measure,
      value,
      censored === undefined ? '' : String(censored),
    ]),
  );
  return stringify([['arm', 'seed', 'measure', 'value', 'censored'], ...rows], { escape_formulas: true });
}

const HEADINGS = {
  comparisons: 'Comparisons',
  arms: 'Arms and the seeds’ own noise',
  curves: 'Curves',
  runs: 'Runs',
  plan: 'What was fixed beforehand, and what was not',
  machine: 'Hardware, hours, commands',
};

function renderMarkdown(
  study: Study,
  { main, arms, runs }: ReportTables,
  figures: readonly Figure[],
): string {
  const { title, question } = study.plan;
  const list = (lines: readonly string[]) => lines.map((line) => `- ${line}`).join('\n');
  return `${[
    `# ${escapeMarkdown(title)}`,
    ...(question === undefined ? [] : [question.trim()]),
    ...statusLines(study).map((line, i) =>
      i === 0 && study.plan.kind === 'exploratory' ? `**${line}**` : line,
    ),
    ...(main.length > 0 ? [`## ${HEADINGS.comparisons}`, ...main.map(renderTextTable)] : []),
    `## ${HEADINGS.arms}`,
    renderTextTable(arms),
    ...(figures.length > 0 ? [`## ${HEADINGS.curves}`] : []),
    ...figures.map(({ name, title }) => `![${escapeMarkdown(title)}](figures/${name}.svg)`),
    `## ${HEADINGS.runs}`,
    renderTextTable(runs),
    `## ${HEADINGS.plan}`,
    list(planLines(study)),
    `## ${HEADINGS.machine}`,
    list(machineLines(study)),
    `\`\`\`sh\n${commandLines(study).join('\n')}\n\`\`\``,
  ].join('\n\n')}\n`;
}

function renderHtml(study: Study, { main, arms, runs }: ReportTables, figures: readonly Block[]): string {
  const { plan, results } = study;
  const code = (text: string) => html`<pre>${text}</pre>`;
  const sections: Section[] = [
    { heading: HEADINGS.comparisons, blocks: main.map(pageTable) },
    { heading: HEADINGS.arms, blocks: [pageTable(arms)] },
    { heading: HEADINGS.curves, blocks: figures },
    { heading: HEADINGS.runs, blocks: [pageTable(runs)] },
    {
      heading: HEADINGS.plan,
      blocks: [
        ...planLines(study).map(paragraph),
        html`<details><summary>plan.yaml</summary>${code(configToYaml(plan))}</details>`,
      ],
    },
    {
      heading: HEADINGS.machine,
      blocks: [...machineLines(study).map(paragraph), code(commandLines(study).join('\n'))],
    },
  ];
  const status = statusLines(study);
  const isExploratory = plan.kind === 'exploratory';
  const head: Section = {
    heading: isExploratory ? 'Exploratory' : 'The study',
    blocks: [
      ...(plan.question === undefined ? [] : [paragraph(plan.question)]),
      ...status.map((line, i) =>
        i === 0 && isExploratory ? html`<p><strong>${line}</strong></p>` : paragraph(line),
      ),
    ],
  };
  const numRuns = (arm: string) => [...results.values()].filter((result) => result.arm === arm).length;
  return renderPage({
    title: plan.title,
    models: Object.keys(plan.arms).map((arm) => ({ name: arm, about: `n = ${numRuns(arm)}` })),
    sections: [head, ...sections],
  });
}

const paragraph = (line: string) => html`<p>${line}</p>`;

function pageTable({ caption, columns, rows, notes }: TextTable): Table {
  return { kind: 'table', caption, columns, rows, notes };
}
