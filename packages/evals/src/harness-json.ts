import type { MetricResult, TaskResult } from './result.ts';
import { summarizeTaskGroups } from './task-group.ts';

/**
 * Converts results to the format of lm-evaluation-harness 0.4.13's `results_*.json`.
 *
 * `results.{task}["acc,none"]` and `["acc_stderr,none"]` (`"N/A"` if unknown), `groups` (whose totals are also in `results`),
 * `group_subtasks`, `versions`, `n-shot`, `higher_is_better`, `n-samples`, `configs`, `config`. `effective` does not count
 * skipped rows.
 *
 * @param environment further top-level members, such as `date`, versions or hardware; they do not replace results
 */
export function toHarnessJson(
  results: readonly TaskResult[],
  environment: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  const byTask = (make: (result: TaskResult) => unknown) =>
    Object.fromEntries(results.map((result) => [result.task, make(result)]));
  const numAsked = ({ samples }: TaskResult) => samples.length;
  const groups = Object.fromEntries(
    summarizeTaskGroups(results).map((group) => [group.name, group] as const),
  );
  const byGroup = (make: (group: (typeof groups)[string]) => unknown) =>
    Object.fromEntries(Object.entries(groups).map(([name, group]) => [name, make(group)]));
  const groupTotals = byGroup(({ name, tasks, results: totals }) => ({
    name,
    alias: name,
    ...(Object.keys(totals).length > 0 && {
      sample_len: results
        .filter(({ task }) => tasks.includes(task))
        .reduce((sum, result) => sum + numAsked(result), 0),
    }),
    ...harnessMetrics(totals),
  }));
  return {
    ...environment,
    results: {
      ...byTask((result) => ({
        name: result.task,
        alias: result.task,
        sample_len: numAsked(result),
        ...harnessMetrics(result.results),
      })),
      ...groupTotals,
    },
    ...(Object.keys(groups).length > 0 && { groups: groupTotals }),
    group_subtasks: byGroup(({ name }) => childrenOf(name, results)),
    configs: byTask(({ task, version, config, metrics }) => ({
      task,
      ...config,
      metric_list: metrics.map(({ name, aggregation, higherIsBetter }) => ({
        metric: name,
        aggregation,
        higher_is_better: higherIsBetter,
      })),
      metadata: { version },
    })),
    versions: { ...byTask(({ version }) => version), ...byGroup(({ version }) => version) },
    'n-shot': byTask(({ config }) => config.num_fewshot ?? 0),
    higher_is_better: byTask(({ metrics }) =>
      Object.fromEntries(metrics.map(({ name, higherIsBetter }) => [name, higherIsBetter])),
    ),
    'n-samples': byTask((result) => ({
      original: result.numRows ?? numAsked(result) + result.skipped.length,
      effective: numAsked(result),
    })),
    config: {
      model: results[0]?.model.name,
      model_args: results[0] && {
        fingerprint: results[0].model.fingerprint,
        max_length: results[0].model.contextLength,
      },
    },
  };
}

/** `acc,none` and `acc_stderr,none`; a metric of a filter has the filter in its name. */
function harnessMetrics(results: Readonly<Record<string, MetricResult>>): Record<string, number | 'N/A'> {
  return Object.fromEntries(
    Object.entries(results).flatMap(([metric, { value, standardError = 'N/A' as const }]) => {
      const [name, filter = 'none'] = metric.split(',');
      return [
        [`${name},${filter}`, value],
        [`${name}_stderr,${filter}`, standardError],
      ];
    }),
  );
}

/** The groups directly in a group, or its tasks. */
function childrenOf(group: string, results: readonly TaskResult[]): string[] {
  const paths = results.map(({ task, memberOf = [] }) => [...memberOf.map(({ name }) => name), task]);
  return [...new Set(paths.flatMap((path) => (path.includes(group) ? path[path.indexOf(group) + 1] : [])))];
}
