/** Statistics over the runs of a study, as plain data for reports. */
import {
  adjustHolm,
  bootstrapInterval,
  type EventTime,
  kaplanMeier,
  logRankTest,
  medianTime,
  pairedLogRankTest,
  pairedTTest,
  type SurvivalPoint,
  signFlipTest,
  standardizedDifference,
} from '@meap/evals';
import { isTime, type PaperNumber } from './config.ts';
import type { MeasuredValue } from './measures.ts';
import { runName } from './plan.ts';
import type { Study } from './study-files.ts';

/** Mean and spread over runs. */
export interface Spread {
  n: number;
  mean: number;
  /** Standard deviation; undefined for one run. */
  deviation?: number;
  min: number;
  max: number;
}

/** A measure in one arm. */
export interface MeasureByArm {
  measure: string;
  arm: string;
  isTime: boolean;
  n: number;
  /** Of values. */
  spread?: Spread;
  /** Of times: runs that reached the threshold, and the Kaplan–Meier curve. */
  numReached?: number;
  curve?: SurvivalPoint[];
  /** Kaplan–Meier median, tokens; undefined where half of the runs never reach it. */
  median?: number;
  times?: EventTime[];
}

/** Two arms, paired by seed: the second less the first. */
export interface Comparison {
  measure: string;
  arms: readonly [string, string];
  isPrimary: boolean;
  isTime: boolean;
  seeds: number[];
  /** Of values. */
  first?: Spread;
  second?: Spread;
  difference?: number;
  /** 95 % intervals of the mean difference: Student's t, and bootstrap (BCa); none for two pairs or without variance. */
  interval?: readonly [number, number];
  bootstrap?: readonly [number, number];
  /** Paired t-test. */
  tTest?: number;
  /** Hedges' g of the paired differences. */
  effect?: number;
  /** Of times: runs of each arm that reached the threshold, Kaplan–Meier medians, and the unpaired log-rank test. */
  numReached?: readonly [number, number];
  medians?: readonly [number | undefined, number | undefined];
  logRank?: number;
  /** Sign-flip test of values, paired log-rank test of times; undefined without pairs. */
  pValue?: number;
  isExact?: boolean;
  /** Corrected by Holm's method. */
  adjusted: number;
  /** The smallest p-value that this number of pairs can give. */
  smallest: number;
  verdict: Verdict;
}

/** `few`: no result could be significant at 5 %, before or after the correction. */
export type Verdict = 'none' | 'few' | 'higher' | 'lower' | 'sooner' | 'later' | 'not shown';

interface PaperRow extends PaperNumber {
  n: number;
  ours?: number;
  interval?: readonly [number, number];
  pValue?: number;
}

/** All numbers of a report. */
export interface Analysis {
  byArm: MeasureByArm[];
  comparisons: Comparison[];
  paper: PaperRow[];
}

const LEVEL = 0.05;

/** Computes the statistics of a study from the runs that have finished. */
export function analyse(study: Study): Analysis {
  const { plan } = study;
  const byArm = Object.keys(plan.measures).flatMap((measure) =>
    Object.keys(plan.arms).map((arm) => measureOf(study, measure, arm)),
  );
  const comparisons = corrected(
    plan.comparisons.map(({ measure, arms, primary }) => {
      const pairs = pairsOf(study, measure, arms);
      return compare(measure, arms, primary, isTime(plan.measures[measure]), pairs);
    }),
  );
  return { byArm, comparisons, paper: plan.paper.map((entry) => besidePaper(study, entry)) };
}

type Uncorrected = Omit<Comparison, 'adjusted' | 'verdict'>;
type Pair = { seed: number; a: MeasuredValue; b: MeasuredValue };

/** The values of a measure in two arms, for the seeds that have finished in both. */
function pairsOf({ runs, results }: Study, measure: string, arms: readonly [string, string]): Pair[] {
  return [...new Set(runs.map(({ seed }) => seed))].flatMap((seed) => {
    const [a, b] = arms.map((arm) => results.get(runName({ arm, seed }))?.measures[measure]);
    return a && b ? [{ seed, a, b }] : [];
  });
}

function compare(
  measure: string,
  arms: readonly [string, string],
  isPrimary: boolean,
  isTime: boolean,
  pairs: readonly Pair[],
): Uncorrected {
  const seeds = pairs.map(({ seed }) => seed);
  const smallest = pairs.length === 0 ? 1 : 2 ** (1 - pairs.length);
  const base = { measure, arms, isPrimary, isTime, seeds, smallest };
  if (pairs.length === 0) return base;
  if (isTime) {
    const [a, b] = [pairs.map(({ a }) => eventTime(a)), pairs.map(({ b }) => eventTime(b))];
    const { difference, pValue, isExact } = pairedLogRankTest(a, b);
    return {
      ...base,
      // Scores are those of the first arm less the second: above 0 where the first is sooner.
      difference: -difference,
      numReached: [numReached(a), numReached(b)],
      medians: [medianTime(kaplanMeier(a)), medianTime(kaplanMeier(b))],
      logRank: logRankTest(a, b).pValue,
      pValue,
      isExact,
    };
  }
  const [a, b] = [pairs.map(({ a }) => a.value), pairs.map(({ b }) => b.value)];
  const differences = b.map((value, i) => value - a[i]);
  const { difference, pValue, isExact } = signFlipTest(differences);
  const test = pairedTTest(b, a);
  return {
    ...base,
    first: spreadOf(a),
    second: spreadOf(b),
    difference,
    interval: test?.interval,
    bootstrap: test && bootstrapInterval(differences),
    tTest: test?.pValue,
    effect: test && standardizedDifference(differences),
    pValue,
    isExact,
  };
}

/**
 * Corrects for several comparisons. Primary ones: Holm among them. The others: Holm among them, and no smaller than the
 * largest of the primary ones, so that 5 % holds for all together (serial gatekeeping). A comparison without pairs counts
 * with p = 1.
 */
function corrected(comparisons: readonly Uncorrected[]): Comparison[] {
  const families = [true, false].map((isPrimary) =>
    comparisons.filter((comparison) => comparison.isPrimary === isPrimary),
  );
  const adjusted = new Map<Uncorrected, { adjusted: number; canBeShown: boolean }>();
  let gate = 0;
  let isOpen = true;
  for (const family of families) {
    // Where even the most seeds could not pass the first step of Holm's method, none can.
    isOpen &&=
      family.length === 0 || Math.min(...family.map(({ smallest }) => smallest)) * family.length < LEVEL;
    const values = adjustHolm(family.map(({ pValue = 1 }) => pValue));
    family.forEach((comparison, i) => {
      const canBeShown = isOpen && comparison.smallest < LEVEL;
      adjusted.set(comparison, { adjusted: Math.max(gate, values[i]), canBeShown });
    });
    gate = Math.max(gate, ...values);
  }
  return comparisons.map((comparison) => {
    const { adjusted: value, canBeShown } = adjusted.get(comparison)!;
    return { ...comparison, adjusted: value, verdict: verdictOn(comparison, value, canBeShown) };
  });
}

function verdictOn(
  { seeds, isTime, difference }: Uncorrected,
  adjusted: number,
  canBeShown: boolean,
): Verdict {
  if (seeds.length === 0) return 'none';
  if (!canBeShown) return 'few';
  if (adjusted >= LEVEL) return 'not shown';
  if (isTime) return difference! < 0 ? 'later' : 'sooner';
  return difference! > 0 ? 'higher' : 'lower';
}

function measureOf({ plan, runs, results }: Study, measure: string, arm: string): MeasureByArm {
  const values = runs.flatMap((run) => {
    const value = run.arm === arm ? results.get(runName(run))?.measures[measure] : undefined;
    return value ? [value] : [];
  });
  const base = { measure, arm, isTime: isTime(plan.measures[measure]), n: values.length };
  if (values.length === 0) return base;
  if (!base.isTime) return { ...base, spread: spreadOf(values.map(({ value }) => value)) };
  const times = values.map(eventTime);
  const curve = kaplanMeier(times);
  return { ...base, numReached: numReached(times), curve, median: medianTime(curve), times };
}

function besidePaper(study: Study, entry: PaperNumber): PaperRow {
  const { measure, arms } = entry;
  if (arms.length === 1) {
    const { n, spread } = measureOf(study, measure, arms[0]);
    return { ...entry, n, ours: spread?.mean };
  }
  const both = [arms[0], arms[1]] as const;
  const pairs = pairsOf(study, measure, both);
  const compared = compare(measure, both, false, isTime(study.plan.measures[measure]), pairs);
  return {
    ...entry,
    n: pairs.length,
    ours: compared.isTime ? undefined : compared.difference,
    interval: compared.interval,
    pValue: compared.pValue,
  };
}

function spreadOf(values: readonly number[]): Spread {
  const center = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - center) ** 2, 0);
  return {
    n: values.length,
    mean: center,
    deviation: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : undefined,
    min: Math.min(...values),
    max: Math.max(...values),
  };
}

function eventTime({ value, censored = false }: MeasuredValue): EventTime {
  return { time: value, observed: !censored };
}

function numReached(times: readonly EventTime[]): number {
  return times.filter(({ observed }) => observed).length;
}
