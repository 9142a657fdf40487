/** The numbers of a run, from the files that the programs wrote. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { RunError, readJsonLines } from '@meap/recipe-cli';
import { isTime, type Measure } from './config.ts';
import type { Plan, RunId } from './plan.ts';

/** The value of a measure in one run. */
export interface MeasuredValue {
  /** The metric's value, or tokens until its threshold. */
  value: number;
  /** For times: true where the threshold was not reached within `value` tokens. */
  censored?: boolean;
}

/** A metric over the tokens of training. */
interface Series {
  tokens: number[];
  values: number[];
}

/** The result of one run: a function of plan, arm, seed and programs, without times and machines. */
export interface RunResult extends RunId {
  /** Hash of the plan. */
  plan: string;
  /** Versions of the programs, by name. */
  versions: Record<string, string>;
  measures: Record<string, MeasuredValue>;
  /** Curves of training steps by step and metric. */
  series: Record<string, Record<string, Series>>;
}

/** Points of a curve above which those of single training steps are averaged. */
const MAX_POINTS = 500;

/**
 * Measures a finished run.
 *
 * @param directory of a step's run
 * @throws RunError for a metric that the run does not have
 */
export function measureRun(
  { measures, steps }: Pick<Plan, 'measures' | 'steps'>,
  directory: (step: string) => string,
): Pick<RunResult, 'measures' | 'series'> {
  const found: Record<string, MeasuredValue> = {};
  const series: Record<string, Record<string, Series>> = {};
  for (const [name, measure] of Object.entries(measures)) {
    const { step, metric } = measure;
    if (steps[step].program === 'evaluate') {
      found[name] = { value: readEvaluated(directory(step), metric) };
      continue;
    }
    const curve = readSeries(directory(step), metric);
    found[name] = isTime(measure) ? timeOf(measure, curve) : { value: finalValue(measure, curve) };
    series[step] ??= {};
    series[step][metric] = curve.isSteps ? thinned(curve) : { tokens: curve.tokens, values: curve.values };
  }
  return { measures: found, series };
}

type Line = Record<string, unknown>;

/** Reads a metric over training; `isSteps` where every training step has it. */
function readSeries(out: string, metric: string): Series & { isSteps: boolean } {
  const path = join(out, 'metrics.jsonl');
  const lines = readJsonLines<Line>(path);
  const having = lines.filter((line) => valueAt(line, metric) !== undefined);
  const finite = having.filter((line) => Number.isFinite(valueAt(line, metric)));
  if (finite.length === 0) {
    const known = [...new Set(lines.flatMap(metricNames))].sort();
    throw new RunError(`${path}: got no ${metric}, expected one of ${known.join(', ')}`);
  }
  return {
    tokens: finite.map(({ tokens }) => tokens as number),
    values: finite.map((line) => valueAt(line, metric) as number),
    isSteps: finite.some((line) => 'lr' in line),
  };
}

/** A metric is a key, or a key of a group of values: `probes/induction/gain` is that of `probes`. */
function valueAt(line: Line, metric: string): unknown {
  if (Object.hasOwn(line, metric)) return line[metric];
  const at = metric.indexOf('/');
  const group = line[metric.slice(0, Math.max(at, 0))];
  return typeof group === 'object' && group !== null ? (group as Line)[metric.slice(at + 1)] : undefined;
}

const NO_METRICS: readonly string[] = [
  'step',
  'tokens',
  'seconds',
  'tokensPerSecond',
  'mfu',
  'residentBytes',
  'backendBytes',
];

function metricNames(line: Line): string[] {
  return Object.entries(line).flatMap(([key, value]) =>
    typeof value === 'object' && value !== null
      ? Object.keys(value).map((inner) => `${key}/${inner}`)
      : typeof value === 'number' && !NO_METRICS.includes(key)
        ? [key]
        : [],
  );
}

function finalValue({ take = 'last' }: Measure, { values }: Series): number {
  if (take === 'last') return values.at(-1)!;
  return values.reduce((found, value) => Math[take](found, value));
}

/**
 * Returns the tokens at the first of `for` measurements in a row that hold; without them, censored at the last measurement
 * that could have been the first.
 */
function timeOf({ at_least, at_most, for: needed = 1 }: Measure, { tokens, values }: Series): MeasuredValue {
  const holds = values.map((value) => (at_least === undefined ? value <= at_most! : value >= at_least));
  const last = values.length - needed;
  for (let i = 0; i <= last; i++) {
    if (holds.slice(i, i + needed).every(Boolean)) return { value: tokens[i], censored: false };
  }
  return { value: last < 0 ? 0 : tokens[last], censored: true };
}

/** Averages neighbouring points. */
function thinned({ tokens, values }: Series): Series {
  const size = Math.ceil(values.length / MAX_POINTS);
  const thin: Series = { tokens: [], values: [] };
  for (let start = 0; start < values.length; start += size) {
    const part = values.slice(start, start + size);
    thin.tokens.push(tokens[start + part.length - 1]);
    thin.values.push(part.reduce((sum, value) => sum + value, 0) / part.length);
  }
  return thin;
}

interface EvaluatedTask {
  results: Record<string, { value: number }>;
  groups: Record<string, { value: string | number; results: Record<string, { value: number }> }[]>;
}

/** Reads TASK/METRIC or TASK/GROUP=VALUE/METRIC of an evaluation. */
function readEvaluated(out: string, metric: string): number {
  const [task, ...rest] = metric.split('/');
  const path = join(out, 'tasks', `${task}.json`);
  if (!existsSync(path)) {
    throw new RunError(`${path}: no such file, expected results of the task ${task} of the metric ${metric}`);
  }
  const { results, groups } = JSON.parse(readFileSync(path, 'utf8')) as EvaluatedTask;
  const byGroup = Object.entries(groups).flatMap(([group, entries]) =>
    entries.flatMap(({ value, results }) =>
      Object.entries(results).map(([name, result]) => [`${group}=${value}/${name}`, result.value] as const),
    ),
  );
  const overall = Object.entries(results).map(([name, { value }]) => [name, value] as const);
  const all = new Map([...overall, ...byGroup]);
  const value = all.get(rest.join('/'));
  if (value !== undefined) return value;
  throw new RunError(
    `${path}: got no ${rest.join('/')}, expected one of ${[...all.keys()].map((key) => `${task}/${key}`).join(', ')}`,
  );
}
