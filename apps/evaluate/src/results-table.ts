import { effectiveLength, type MetricResult, summarizeTaskGroups, type TaskResult } from '@meap/evals';
import { counted } from '@meap/recipe-cli';
import { markdownTable } from 'markdown-table';

const HEADER = ['Version', 'n', 'Metric', '', 'Value', '', 'Stderr'];
const ALIGN = ['l', 'r', 'r', 'l', 'l', 'r', 'l', 'r'];

/**
 * Renders results as Markdown like lm-evaluation-harness, with the rows of each group below its task; a second table has the
 * totals of groups of tasks.
 */
export function renderResults(results: readonly TaskResult[]): string {
  const rows = results.flatMap((result) => [
    ...metricRows(shownName(result), String(result.version), result.metrics, result.results),
    ...Object.entries(result.groups).flatMap(([group, values]) =>
      values.flatMap(({ value, results }) => metricRows(` - ${group} ${value}`, '', result.metrics, results)),
    ),
  ]);
  const groups = summarizeTaskGroups(results).flatMap(({ name, version, tasks, results: totals }) => {
    const members = results.filter(({ task }) => tasks.includes(task));
    const metrics = new Map(
      members.flatMap(({ metrics }) => metrics.map((metric) => [metric.name, metric] as const)),
    );
    if (Object.keys(totals).length === 0) return [];
    return metricRows(name, String(version), [...metrics.values()], totals);
  });
  return [
    markdownTable([['Tasks', ...HEADER], ...rows], { align: ALIGN }),
    ...(groups.length > 0 ? ['', markdownTable([['Groups', ...HEADER], ...groups], { align: ALIGN })] : []),
    ...describeEffectiveLength(results),
    ...results.flatMap(describeSkipped),
    ...results.flatMap(describeUnparsed),
  ].join('\n');
}

/** The name of a task, with its number of examples. */
function shownName({ task, config }: TaskResult): string {
  const { num_fewshot: shots = 0 } = config;
  return shots === 0 ? task : `${task} (${shots}-shot)`;
}

function metricRows(
  name: string,
  version: string,
  metrics: TaskResult['metrics'],
  results: Readonly<Record<string, MetricResult>>,
): string[][] {
  if (Object.keys(results).length === 0) return [[name, version, '0']];
  return metrics
    .filter((metric) => results[metric.name] !== undefined)
    .map((metric, i) => {
      const { value, standardError, numItems } = results[metric.name];
      return [
        i === 0 ? name : '',
        i === 0 ? version : '',
        i === 0 ? String(numItems) : '',
        metric.name,
        metric.higherIsBetter ? '↑' : '↓',
        value.toFixed(4),
        '±',
        standardError?.toFixed(4) ?? 'N/A',
      ];
    });
}

function describeSkipped({ task, skipped }: TaskResult): string[] {
  if (skipped.length === 0) return [];
  return [
    `${task}: ${counted(skipped.length, 'row')} skipped, the first: ${skipped[0].id}: ${skipped[0].reason}`,
  ];
}

/** Reports replies of a judge without a score. */
function describeUnparsed({ task, samples }: TaskResult): string[] {
  const numUnparsed = samples.filter(({ measured }) => measured.unparsed?.value === 1).length;
  if (numUnparsed === 0) return [];
  return [
    `${task}: the judge gave no score for ${numUnparsed} of ${samples.length} summaries, which count only as unparsed; ` +
      '--log-samples writes its replies',
  ];
}

/** Summarizes RULER if every task has a score at every length. */
function describeEffectiveLength(results: readonly TaskResult[]): string[] {
  const ruler = results.filter(({ task }) => task.startsWith('ruler_'));
  const scored = ruler.every(({ groups }) =>
    groups.length?.every(({ results }) => results.string_match_all !== undefined),
  );
  if (ruler.length === 0 || !scored) return [];
  const { effective = 'below all lengths', lengths } = effectiveLength(ruler);
  const scores = lengths.map(({ length, score }) => `${length}: ${score.toFixed(1)}`).join(', ');
  return [`RULER over ${ruler.length} tasks: ${scores}; effective length ${effective}`];
}
