/** Numbers as text in reports. */

/** The displayed unit of a metric. */
export interface Unit {
  readonly isPercent: boolean;
  /** The factor from the metric to the displayed number. */
  readonly factor: number;
}

/** Formats a number: percentages with one decimal, others with four digits. */
export function format(value: number, { isPercent, factor }: Unit): string {
  return minus(isPercent ? (factor * value).toFixed(1) : digits(value));
}

/** Formats a difference with its sign. */
export function formatDifference(value: number, unit: Unit): string {
  const text = format(value, unit);
  return value > 0 && /[1-9]/.test(text) ? `+${text}` : text;
}

/** Formats a probability with three decimals, or as `< 0.001`. */
export function formatProbability(value: number): string {
  return value < 0.001 ? '< 0.001' : value.toFixed(3);
}

/** Formats a length in tokens: 4K for 4096, 9k for 9000. */
export function formatLength(value: number): string {
  if (value >= 1024 && value % 1024 === 0) return `${value / 1024}K`;
  return value >= 1000 && value % 100 === 0 ? `${value / 1000}k` : String(value);
}

function digits(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e6 || (size < 1e-3 && size > 0)) return value.toExponential(2);
  return value.toFixed(size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : size >= 0.1 ? 3 : 4);
}

/** Replaces the hyphen by a minus sign; zero has no sign. */
function minus(text: string): string {
  return /[1-9]/.test(text) ? text.replace('-', '−') : text.replace('-', '');
}
