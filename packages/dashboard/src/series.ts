/** The curves of a run, parsed from the lines of `metrics.jsonl`. */
import type { Anomaly, Probes, Validations } from './shared/protocol.ts';
import { emptyTable, METRICS, type Metric, type Table } from './shared/table.ts';

const COLUMNS = ['step', 'tokens', 'seconds', ...METRICS] as const;

/** Anomalies whose details are kept; earlier ones are only counted. */
const MAX_ANOMALIES = 100;

/** Values of probes that are kept, in order of appearance. */
const MAX_PROBE_VALUES = 64;

/** A value of all rows; those of groups have longer names, such as `recall/acc/pairs=4`. */
const PROBE_VALUE = /^[^/]{1,100}\/[^/]{1,100}$/;

/** Steps, validations and probes of a run as columns. */
export class Series {
  /** Incremented when the log is truncated or rewritten. */
  generation = 0;
  length = 0;
  validations = emptyValidations();
  probes = emptyProbes();
  anomalies: { count: number; last: Anomaly[] } = { count: 0, last: [] };
  badLines = 0;
  #columns = allocate(1024);

  /** Clears everything, because the log was replaced. */
  reset(): void {
    this.generation++;
    this.length = 0;
    this.validations = emptyValidations();
    this.probes = emptyProbes();
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
    else if ('probes' in line) this.#probes(step, line);
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

  /** Returns the measurements of probes from index `from` on. */
  probesFrom(from: number): Probes {
    const { step, tokens, seconds, values } = this.probes;
    const sliced = Object.entries(values).map(([name, column]) => [name, column.slice(from)]);
    return {
      ...{ step: step.slice(from), tokens: tokens.slice(from), seconds: seconds.slice(from) },
      values: Object.fromEntries(sliced),
    };
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
    const parts = recordOf(line.parts);
    this.#position(validations, step, line);
    validations.valLoss.push(number(line.valLoss));
    validations.bitsPerByte.push(number(line.bitsPerByte));
    validations.maskedLoss.push(number(parts.masked));
  }

  #probes(step: number, line: Line): void {
    const { length, probes } = this;
    const isBeforeSteps = length > 0 && step < this.#columns.step[length - 1];
    // As in #step; but a probe measures the model after its step, which stays valid.
    if (isBeforeSteps || step <= (probes.step.at(-1) ?? Number.NEGATIVE_INFINITY)) {
      this.#cutBack(step + 1);
      this.#cutProbes(step);
    }
    this.#position(probes, step, line);
    const measured = recordOf(line.probes);
    const isNew = (name: string) => PROBE_VALUE.test(name) && !(name in probes.values);
    const names = Object.keys(probes.values);
    const added = Object.keys(measured)
      .filter(isNew)
      .slice(0, MAX_PROBE_VALUES - names.length);
    for (const name of added) probes.values[name] = Array(probes.step.length - 1).fill(null);
    for (const name of [...names, ...added]) probes.values[name].push(number(measured[name]));
  }

  /** Adds the position of a line between steps. */
  #position(to: Pick<Validations, 'step' | 'tokens' | 'seconds'>, step: number, line: Line): void {
    const { tokens, seconds } = this.#columns;
    to.step.push(step);
    to.tokens.push(number(line.tokens) ?? (this.length > 0 ? tokens[this.length - 1] : 0));
    to.seconds.push(this.length > 0 ? seconds[this.length - 1] : 0);
  }

  #cutBack(step: number): void {
    this.generation++;
    while (this.length > 0 && this.#columns.step[this.length - 1] >= step) this.length--;
    const kept = this.validations.step.filter((at) => at < step).length;
    for (const values of Object.values(this.validations)) values.length = kept;
    this.#cutProbes(step);
    this.anomalies.last = this.anomalies.last.filter((anomaly) => anomaly.step < step);
    this.anomalies.count = this.anomalies.last.length;
  }

  #cutProbes(step: number): void {
    const { values, ...positions } = this.probes;
    const kept = positions.step.filter((at) => at < step).length;
    for (const column of [...Object.values(positions), ...Object.values(values)]) column.length = kept;
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

/** Whether a line with a step is about training, not validation or probes. */
export function isTrainingLine(line: Line): boolean {
  return !('valLoss' in line) && !('probes' in line);
}

function recordOf(value: unknown): Line {
  return typeof value === 'object' && value !== null ? (value as Line) : {};
}

function allocate(capacity: number): Record<(typeof COLUMNS)[number], Float64Array> {
  const entries = COLUMNS.map((name) => [name, new Float64Array(capacity)]);
  return Object.fromEntries(entries) as Record<(typeof COLUMNS)[number], Float64Array>;
}

function emptyValidations(): Validations {
  return { step: [], tokens: [], seconds: [], valLoss: [], bitsPerByte: [], maskedLoss: [] };
}

function emptyProbes(): Probes {
  return { step: [], tokens: [], seconds: [], values: {} };
}
