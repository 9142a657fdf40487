/** Groups of tasks and their totals, as in lm-evaluation-harness 0.4.13 (`lm_eval/api/group.py`). */
import type { MetricResult, TaskResult } from './result.ts';
import type { TaskGroup } from './task.ts';

/** The totals of a group. */
export interface TaskGroupResult extends TaskGroup {
  /** Names of its tasks. */
  readonly tasks: readonly string[];
  readonly results: Readonly<Record<string, MetricResult>>;
}

/**
 * Totals of all groups of some results, in the order of the first task of each.
 *
 * Standard errors: of the pooled variance where tasks count by their rows, else of the mean of independent values; absent
 * if a task has none.
 */
export function summarizeTaskGroups(
  results: readonly Pick<TaskResult, 'task' | 'memberOf' | 'results'>[],
): TaskGroupResult[] {
  const groups = new Map(
    results.flatMap(({ memberOf = [] }) => memberOf.map((group) => [group.name, group])),
  );
  return Array.from(groups.values(), (group) => {
    const members = results.filter(({ memberOf = [] }) => memberOf.some(({ name }) => name === group.name));
    const found = [...new Set(members.flatMap(({ results }) => Object.keys(results)))].sort();
    const wanted = group.metrics.flatMap((wanted) => found.filter((metric) => isMetric(metric, wanted)));
    const totals = wanted.map((metric) => {
      const parts = members.flatMap(({ results }) => results[metric] ?? []);
      return [metric, totalOf(parts, group.weightBySize)] as const;
    });
    return { ...group, tasks: members.map(({ task }) => task), results: Object.fromEntries(totals) };
  });
}

/** Whether a metric of a task is one of a group. */
function isMetric(metric: string, wanted: string): boolean {
  const [name, filter = 'none'] = metric.split(',');
  return wanted === name || wanted === `${name},${filter}`;
}

function totalOf(parts: readonly MetricResult[], weightBySize: boolean): MetricResult {
  const sum = (value: (part: MetricResult) => number) =>
    parts.reduce((total, part) => total + value(part), 0);
  const numItems = sum(({ numItems }) => numItems);
  const value = weightBySize
    ? sum(({ value, numItems }) => value * numItems) / numItems
    : sum(({ value }) => value) / parts.length;
  if (parts.some(({ standardError }) => standardError === undefined)) return { value, numItems };
  const standardError = weightBySize
    ? Math.sqrt(
        sum(({ numItems, standardError = 0 }) => (numItems - 1) * standardError ** 2 * numItems) /
          (numItems - parts.length) /
          numItems,
      )
    : Math.sqrt(sum(({ standardError = 0 }) => standardError ** 2)) / parts.length;
  return { value, standardError, numItems };
}
