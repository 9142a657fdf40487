/** The curves of a run, parsed from the lines of `metrics.jsonl`. */
import type { Anomaly, Validations } from './shared/protocol.ts';
import { emptyTable, METRICS, type Metric, type Table } from './shared/table.ts';

const COLUMNS = ['step', 'tokens', 'seconds', ...METRICS] as const;

/** Anomalies whose details are kept; earlier ones are only counted. */
const MAX_ANOMALIES = 100;

/** Steps and validations of a run as columns. */
export class Series {
  /** Incremented when the log is truncated or rewritten. */
  generation = 0;
  length = 0;
  validations = emptyValidations();
  anomalies: { count: number; last: Anomaly[] } = { count: 0, last: [] };
  badLines = 0;
  #columns = allocate(1024);

  /** Clears everything, because the log was replaced. */
  reset(): void {
    this.generation++;
    this.length = 0;
    this.validations = emptyValidations();
    this.anomalies = { count: 0, last: [] };
    this.badLines = 0;
  }

  /** Adds a line; counts and skips lines that are not metrics. */
  add(text: string): void {
    if (text.trim() === '') return;
    const line = parse(text);
    const step = line && number(line.step);
    if (!line || step === null || step === undefined) this.badLines++;
    else if ('valLoss' in line) this.#validation(step, line);
    else this.#step(step, line);
  }

  /** Returns rows of at most `width` steps; `from` and `to` are indices of steps. */
  table(from: number, to: number, width: number): Table {
    const table = emptyTable();
    const { step, tokens, seconds } = this.#columns;
    for (let start = from; start < to; ) {
      const end = Math.min(to, (Math.floor(start / width) + 1) * width);
      table.first.push(start);
      table.count.push(end - start);
      table.step.push(step[end - 1]);
      table.tokens.push(tokens[end - 1]);
      table.seconds.push(seconds[end - 1]);
      for (const metric of METRICS) this.#addColumn(table, metric, start, end);
      start = end;
    }
    return table;
  }

  /** Returns the validations from index `from` on. */
  validationsFrom(from: number): Validations {
    const sliced = Object.entries(this.validations).map(([key, values]) => [key, values.slice(from)]);
    return Object.fromEntries(sliced) as Validations;
  }

  #addColumn(table: Table, metric: Metric, start: number, end: number): void {
    const values = this.#columns[metric];
    let [sum, count, low, high] = [0, 0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (let i = start; i < end; i++) {
      const value = values[i];
      if (Number.isNaN(value)) continue;
      sum += value;
      count++;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    const column = table.metrics[metric];
    column.mean.push(count === 0 ? null : sum / count);
    column.low.push(count === 0 ? null : low);
    column.high.push(count === 0 ? null : high);
  }

  #step(step: number, line: Line): void {
    // A program may restart at an earlier step without truncating its log; the later steps are then invalid.
    if (this.length > 0 && step <= this.#columns.step[this.length - 1]) this.#cutBack(step);
    if (this.length === this.#columns.step.length) this.#grow();
    const i = this.length++;
    const columns = this.#columns;
    const [tokensBefore, secondsBefore] = i > 0 ? [columns.tokens[i - 1], columns.seconds[i - 1]] : [0, 0];
    const tokens = number(line.tokens) ?? tokensBefore;
    const pace = number(line.tokensPerSecond);
    columns.step[i] = step;
    columns.tokens[i] = tokens;
    columns.seconds[i] =
      secondsBefore + (pace !== null && pace > 0 ? Math.max(0, tokens - tokensBefore) / pace : 0);
    for (const metric of METRICS) columns[metric][i] = number(line[metric]) ?? Number.NaN;
    const what = typeof line.anomaly === 'string' ? line.anomaly : line.loss === null ? 'non-finite' : '';
    if (what === '' && line.skipped !== true) return;
    this.anomalies.count++;
    this.anomalies.last.push({ step, what: line.skipped === true ? `${what || 'overflow'}, skipped` : what });
    if (this.anomalies.last.length > MAX_ANOMALIES) this.anomalies.last.shift();
  }

  #validation(step: number, line: Line): void {
    const { validations } = this;
    const { tokens, seconds } = this.#columns;
    const parts = typeof line.parts === 'object' && line.parts !== null ? (line.parts as Line) : {};
    validations.step.push(step);
    validations.tokens.push(number(line.tokens) ?? (this.length > 0 ? tokens[this.length - 1] : 0));
    validations.seconds.push(this.length > 0 ? seconds[this.length - 1] : 0);
    validations.valLoss.push(number(line.valLoss));
    validations.bitsPerByte.push(number(line.bitsPerByte));
    validations.maskedLoss.push(number(parts.masked));
  }

  #cutBack(step: number): void {
    this.generation++;
    while (this.length > 0 && this.#columns.step[this.length - 1] >= step) this.length--;
    const kept = this.validations.step.filter((at) => at < step).length;
    for (const values of Object.values(this.validations)) values.length = kept;
    this.anomalies.last = this.anomalies.last.filter((anomaly) => anomaly.step < step);
    this.anomalies.count = this.anomalies.last.length;
  }

  #grow(): void {
    const larger = allocate(this.length * 2);
    for (const name of COLUMNS) larger[name].set(this.#columns[name]);
    this.#columns = larger;
  }
}

type Line = Record<string, unknown>;

/** Parses a JSON object; undefined if the text is not one. */
export function parse(text: string): Line | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Line) : undefined;
  } catch {
    return undefined;
  }
}

/** Returns a finite number; null for any other value. */
export function number(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

function allocate(capacity: number): Record<(typeof COLUMNS)[number], Float64Array> {
  const entries = COLUMNS.map((name) => [name, new Float64Array(capacity)]);
  return Object.fromEntries(entries) as Record<(typeof COLUMNS)[number], Float64Array>;
}

function emptyValidations(): Validations {
  return { step: [], tokens: [], seconds: [], valLoss: [], bitsPerByte: [], maskedLoss: [] };
}
