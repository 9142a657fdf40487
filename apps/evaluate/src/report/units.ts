/** Units of metrics. */
import type { TaskResult } from '@meap/evals';
import type { Unit } from '@meap/reports';

/** Metrics defined from 0 to 100. */
const PERCENT_METRICS: readonly string[] = ['score', 'string_match_all'];

/** Returns the unit of a metric for all models: percent if all rows are between 0 and 1. */
export function unitOf(metric: string, results: readonly TaskResult[]): Unit {
  if (PERCENT_METRICS.includes(metric)) return { isPercent: true, factor: 1 };
  const isMean = results.every(({ metrics }) =>
    metrics.every(({ name, aggregation }) => name !== metric || aggregation === 'mean'),
  );
  const isShare = results.every(({ samples }) =>
    samples.every(
      ({ measured: { [metric]: item } }) => item === undefined || (item.value >= 0 && item.value <= 1),
    ),
  );
  return isMean && isShare ? { isPercent: true, factor: 100 } : { isPercent: false, factor: 1 };
}

export function withUnit(label: string, { isPercent }: Unit): string {
  return isPercent ? `${label}, %` : label;
}
