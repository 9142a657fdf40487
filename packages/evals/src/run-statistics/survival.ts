/** Times until something happens, where some runs end before it does. */
import { EvalsError } from '../error.ts';
import { requireSize } from '../statistics.ts';
import { normalQuantile, twoSidedNormal } from './normal.ts';
import { type SignFlipTest, signFlipTest } from './sign-flip-test.ts';

/** A run's time to an event, such as its tokens until a probe reached a threshold. */
export interface EventTime {
  /** When it happened, or until when it had not; 0 or more. */
  readonly time: number;
  /** False where the run ended first: the time is censored. */
  readonly observed: boolean;
}

/** Share of runs that still wait for the event, from `time` until the next point. */
export interface SurvivalPoint {
  readonly time: number;
  /** Runs that had neither had the event nor ended before `time`. */
  readonly numAtRisk: number;
  readonly numEvents: number;
  readonly survival: number;
  /** Holds `survival` with 95 % confidence: log(−log) of it with Greenwood's variance, as in lifelines and R. */
  readonly interval: readonly [low: number, high: number];
}

/** Where two groups of runs differ in how soon they have the event. */
export interface LogRankTest {
  /** χ² with one degree of freedom. 0 where nothing could be compared. */
  readonly statistic: number;
  readonly pValue: number;
  /** Events of the first group, and those expected of it if the groups did not differ. */
  readonly observed: number;
  readonly expected: number;
}

/**
 * Kaplan–Meier estimate of the survival function (Kaplan and Meier 1958), a point for each time at which runs had the
 * event.
 *
 * @throws EvalsError for no runs, or a time that is negative or not finite
 */
export function kaplanMeier(runs: readonly EventTime[]): SurvivalPoint[] {
  requireTimes('kaplanMeier', runs);
  let [survival, greenwood] = [1, 0];
  return eventTimes(runs).map((time) => {
    const [numAtRisk, numEvents] = [atRisk(runs, time), eventsAt(runs, time)];
    survival *= 1 - numEvents / numAtRisk;
    greenwood += numEvents / (numAtRisk * (numAtRisk - numEvents));
    return { time, numAtRisk, numEvents, survival, interval: logLogInterval(survival, greenwood) };
  });
}

/** The first time at which no more than half of the runs wait for the event; undefined where it does not come to that. */
export function medianTime(curve: readonly SurvivalPoint[]): number | undefined {
  // Products of shares such as 2/3 · 3/4 miss one half by rounding.
  return curve.find(({ survival }) => survival <= 0.5 + 1e-12)?.time;
}

/**
 * Log-rank test (Mantel 1966) of two independent groups of runs.
 *
 * Its p-value is that of large groups; for a few runs paired by seed prefer {@link pairedLogRankTest}.
 *
 * @throws EvalsError for a group without runs, or a time that is negative or not finite
 */
export function logRankTest(a: readonly EventTime[], b: readonly EventTime[]): LogRankTest {
  requireTimes('logRankTest', a);
  requireTimes('logRankTest', b);
  const all = [...a, ...b];
  let [observed, expected, variance] = [0, 0, 0];
  for (const time of eventTimes(all)) {
    const [n, events] = [atRisk(all, time), eventsAt(all, time)];
    const share = atRisk(a, time) / n;
    observed += eventsAt(a, time);
    expected += events * share;
    if (n > 1) variance += (events * share * (1 - share) * (n - events)) / (n - 1);
  }
  const statistic = variance === 0 ? 0 : (observed - expected) ** 2 / variance;
  return { statistic, pValue: twoSidedNormal(Math.sqrt(statistic)), observed, expected };
}

/**
 * Log-rank test of pairs, such as the same seed with and without masks: a sign-flip test of the pairs' differences in
 * log-rank scores (Jung 1999, "Rank tests for matched survival data").
 *
 * Exact for up to 20 pairs. Censoring must not depend on the condition, as with one budget for all runs.
 *
 * @param a one run a pair
 * @param b the other runs, in the same order
 * @returns `difference`: mean difference of the scores; above 0 where the runs of `a` have the event sooner
 * @throws EvalsError for groups of different sizes or without runs, or a time that is negative or not finite
 */
export function pairedLogRankTest(a: readonly EventTime[], b: readonly EventTime[]): SignFlipTest {
  if (a.length !== b.length) {
    throw new EvalsError(`pairedLogRankTest: got ${a.length} and ${b.length} runs, expected pairs`);
  }
  requireTimes('pairedLogRankTest', a);
  requireTimes('pairedLogRankTest', b);
  const all = [...a, ...b];
  const hazards = eventTimes(all).map((time) => ({ time, hazard: eventsAt(all, time) / atRisk(all, time) }));
  // Events less the events expected by then: Nelson and Aalen's cumulative hazard of all runs.
  const score = ({ time, observed }: EventTime) =>
    Number(observed) - hazards.reduce((sum, at) => (at.time <= time ? sum + at.hazard : sum), 0);
  return signFlipTest(a.map((run, i) => score(run) - score(b[i])));
}

function requireTimes(what: string, runs: readonly EventTime[]): void {
  requireSize(what, { length: runs.length }, 1);
  for (const { time } of runs) {
    if (!(time >= 0 && Number.isFinite(time))) {
      throw new EvalsError(
        `${what}: got the time ${time}, expected 0 or more; give a run without the event its length, and observed: false`,
      );
    }
  }
}

/** Times at which runs had the event, each once, in order. */
function eventTimes(runs: readonly EventTime[]): number[] {
  const times = new Set(runs.filter(({ observed }) => observed).map(({ time }) => time));
  return [...times].sort((x, y) => x - y);
}

function atRisk(runs: readonly EventTime[], time: number): number {
  return runs.filter((run) => run.time >= time).length;
}

function eventsAt(runs: readonly EventTime[], time: number): number {
  return runs.filter((run) => run.observed && run.time === time).length;
}

function logLogInterval(survival: number, greenwood: number): [low: number, high: number] {
  // Where all runs have had the event, Greenwood's variance is infinite.
  if (survival === 0) return [0, 0];
  const reach = (normalQuantile(0.975) * Math.sqrt(greenwood)) / Math.log(survival);
  return [survival ** Math.exp(-reach), survival ** Math.exp(reach)];
}
