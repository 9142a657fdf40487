/** What an evaluation found: plain data that survives JSON, read by reports and comparisons. */
import type { Answer } from './answers.ts';
import type { Measured, Metric } from './task.ts';

/** One row that was asked: what was shown, what was answered, what that measures. */
export interface Sample {
  /** The row's id: the same in every run, so that two models are compared row by row. */
  readonly id: string;
  /** As {@link TaskItem.groups}. */
  readonly groups?: Readonly<Record<string, string | number>>;
  /** What a reader wants to see of the row: prompt, choices, the right answer. */
  readonly shown: Readonly<Record<string, unknown>>;
  readonly answers: readonly Answer[];
  /** Numbers by metric; a metric that does not apply to the row is absent. */
  readonly measured: Readonly<Record<string, Measured>>;
}

/** A row that could not be asked. */
export interface SkippedRow {
  readonly id: string;
  readonly groups?: Readonly<Record<string, string | number>>;
  readonly reason: string;
}

/** One metric over some rows. */
export interface MetricResult {
  readonly value: number;
  /** Of `value` over samples of rows; absent where it is not known, such as for a single row. */
  readonly standardError?: number;
  /** Rows that measured it. */
  readonly numItems: number;
}

/** Rows with one value of one group, such as all of length 4096. */
export interface GroupResult {
  readonly value: string | number;
  readonly numSkipped: number;
  /** By metric; none where every row was skipped. */
  readonly results: Readonly<Record<string, MetricResult>>;
}

/** Everything about one task and one model; the same for the same task and answers, so without dates and durations. */
export interface TaskResult {
  readonly task: string;
  readonly version: number;
  readonly model: { readonly name: string; readonly fingerprint: string; readonly contextLength: number };
  /** As {@link Task.config}. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly metrics: readonly {
    readonly name: string;
    readonly higherIsBetter: boolean;
    readonly aggregation: string;
  }[];
  /** Rows of the task before a limit, where the task knows it. */
  readonly numRows?: number;
  /** Over all rows, by metric. */
  readonly results: Readonly<Record<string, MetricResult>>;
  /** By group and value, in the order in which the values came up. */
  readonly groups: Readonly<Record<string, readonly GroupResult[]>>;
  readonly skipped: readonly SkippedRow[];
  /** Rows in their order. */
  readonly samples: readonly Sample[];
}

/** Every metric over some rows, such as those of one cell of a grid. A metric that no row measured is absent. */
export function summarize(
  metrics: readonly Metric[],
  samples: readonly Pick<Sample, 'measured'>[],
): Record<string, MetricResult> {
  const results: Record<string, MetricResult> = {};
  for (const { name, aggregation } of metrics) {
    const items = samples.flatMap(({ measured }) => measured[name] ?? []);
    if (items.length === 0) continue;
    const standardError = aggregation.standardError(items);
    results[name] = {
      value: aggregation.total(items),
      ...(standardError === undefined ? {} : { standardError }),
      numItems: items.length,
    };
  }
  return results;
}

/** Every metric by group and value. */
export function summarizeGroups(
  metrics: readonly Metric[],
  samples: readonly Sample[],
  skipped: readonly SkippedRow[],
): Record<string, GroupResult[]> {
  const groups: Record<string, GroupResult[]> = {};
  const rows = [...samples, ...skipped];
  for (const name of new Set(rows.flatMap(({ groups }) => Object.keys(groups ?? {})))) {
    const values = new Set(rows.flatMap(({ groups }) => groups?.[name] ?? []));
    groups[name] = Array.from(values, (value) => {
      const inside = (row: { groups?: Readonly<Record<string, string | number>> }) =>
        row.groups?.[name] === value;
      return {
        value,
        numSkipped: skipped.filter(inside).length,
        results: summarize(metrics, samples.filter(inside)),
      };
    });
  }
  return groups;
}
