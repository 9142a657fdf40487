/** How the numbers of a metric are written. */
import type { TaskResult } from '@meap/evals';

/** How a metric is shown: shares in percent, all else as it is. */
export interface Unit {
  readonly isPercent: boolean;
  /** What a number is multiplied by to be shown. */
  readonly factor: number;
}

/** Metrics that count to 100 by themselves, as their authors defined them. */
const OF_HUNDRED: readonly string[] = ['score', 'string_match_all'];

/** The unit of a metric, the same for all models: percent where no row measured anything outside of 0 to 1. */
export function unitOf(metric: string, results: readonly TaskResult[]): Unit {
  if (OF_HUNDRED.includes(metric)) return { isPercent: true, factor: 1 };
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

/** A metric's name with its unit. */
export function withUnit(label: string, { isPercent }: Unit): string {
  return isPercent ? `${label}, %` : label;
}

/** A number in its unit: one decimal of a percentage, four digits of anything else. */
export function format(value: number, { isPercent, factor }: Unit): string {
  return minus(isPercent ? (factor * value).toFixed(1) : digits(value));
}

/** A difference in its unit, with its sign. */
export function formatDifference(value: number, unit: Unit): string {
  const text = format(value, unit);
  return value > 0 && /[1-9]/.test(text) ? `+${text}` : text;
}

/** A probability: three decimals, and not less than can be seen. */
export function formatProbability(value: number): string {
  return value < 0.001 ? '< 0.001' : value.toFixed(3);
}

/** A length in tokens as it is spoken of: 4K for 4096, 9k for 9000. */
export function formatLength(value: number): string {
  if (value >= 1024 && value % 1024 === 0) return `${value / 1024}K`;
  return value >= 1000 && value % 100 === 0 ? `${value / 1000}k` : String(value);
}

function digits(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e6 || (size < 1e-3 && size > 0)) return value.toExponential(2);
  return value.toFixed(size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : size >= 0.1 ? 3 : 4);
}

/** With the sign that is as wide as a plus. */
function minus(text: string): string {
  return /[1-9]/.test(text) ? text.replace('-', '−') : text.replace('-', '');
}
