/** Results of evaluations: plain JSON data for reports and comparisons. */
import type { Answer } from './answers.ts';
import type { Measured, Metric, SampleLog, TaskGroup } from './task.ts';

/** One evaluated row: contents, answers and numbers. */
export interface Sample {
  /** The row's id, the same in every run, so that two models can be compared row by row. */
  readonly id: string;
  /** As {@link TaskItem.groups}. */
  readonly groups?: Readonly<Record<string, string | number>>;
  /** Hash of the row's tokens, for tasks with `hasRowsOfTokens`. */
  readonly tokens?: string;
  /** As {@link TaskItem.chance}. */
  readonly chance?: number;
  /** Contents of the row for readers: prompt, choices, the correct answer. */
  readonly shown: Readonly<Record<string, unknown>>;
  readonly answers: readonly Answer[];
  /** As {@link TaskItem.log}, if `evaluate` was called for logs. */
  readonly log?: readonly SampleLog[];
  /** Numbers by metric; metrics that do not apply to the row are absent. */
  readonly measured: Readonly<Record<string, Measured>>;
}

/** A row that was skipped. */
export interface SkippedRow {
  readonly id: string;
  readonly groups?: Readonly<Record<string, string | number>>;
  readonly reason: string;
}

/** One metric over some rows. */
export interface MetricResult {
  readonly value: number;
  /** Standard error of `value` over samples of rows; absent if unknown, such as for a single row. */
  readonly standardError?: number;
  /** Rows with this metric. */
  readonly numItems: number;
}

/** Rows with one value of one group, such as all of length 4096. */
export interface GroupResult {
  readonly value: string | number;
  readonly numSkipped: number;
  /** Results by metric; empty if every row was skipped. */
  readonly results: Readonly<Record<string, MetricResult>>;
}

/** The result of one task and one model; deterministic, so without dates and durations. */
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
  /** As {@link Task.memberOf}. */
  readonly memberOf?: readonly TaskGroup[];
  /** Rows of the task before a limit, if known. */
  readonly numRows?: number;
  /** Results over all rows, by metric. */
  readonly results: Readonly<Record<string, MetricResult>>;
  /** Results by group and value, in the order of the first occurrence of each value. */
  readonly groups: Readonly<Record<string, readonly GroupResult[]>>;
  readonly skipped: readonly SkippedRow[];
  /** Rows in order. */
  readonly samples: readonly Sample[];
}

/** Summarizes every metric over some rows, such as one cell of a grid. Metrics without any row are absent. */
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

/** Summarizes every metric by group and value. */
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
