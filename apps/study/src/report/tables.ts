/** The tables of a report as data, for HTML, Markdown and LaTeX. */
import { counted, duration, short } from '@meap/recipe-cli';
import { format, formatDifference, formatProbability, type TextTable } from '@meap/reports';
import type { Analysis, Comparison, MeasureByArm, Spread, Verdict } from '../analysis.ts';
import { runName } from '../plan.ts';
import type { Study } from '../study-files.ts';

const PLAIN = { isPercent: false, factor: 1 };
const number = (value: number | undefined) => (value === undefined ? '' : format(value, PLAIN));
const signed = (value: number | undefined) => (value === undefined ? '' : formatDifference(value, PLAIN));
const probability = (value: number | undefined) => (value === undefined ? '' : formatProbability(value));
const between = (interval: readonly [number, number] | undefined) =>
  interval ? `${signed(interval[0])} to ${signed(interval[1])}` : '';
const spread = (value: Spread | undefined) =>
  value === undefined
    ? ''
    : value.deviation === undefined
      ? number(value.mean)
      : `${number(value.mean)} ± ${number(value.deviation)}`;

/** Comparisons of values; undefined if the plan has none. */
export function valueTable({ comparisons }: Analysis): TextTable | undefined {
  const rows = comparisons.filter(({ isTime }) => !isTime);
  if (rows.length === 0) return undefined;
  return {
    caption: 'Values at the end of runs, paired by seed',
    columns: [
      'comparison',
      'pairs',
      'result',
      'first arm',
      'second arm',
      'difference',
      '95 % interval',
      'bootstrap',
      'p, sign flips',
      'p, t-test',
      'p, Holm',
      'effect size',
    ],
    rows: rows.map((row) => [
      comparisonName(row),
      String(row.seeds.length),
      VERDICTS[row.verdict](row),
      spread(row.first),
      spread(row.second),
      signed(row.difference),
      between(row.interval),
      between(row.bootstrap),
      probability(row.pValue),
      probability(row.tTest),
      probability(row.adjusted),
      signed(row.effect),
    ]),
    notes: [
      'Arms: mean ± standard deviation over the seeds of the pairs. Difference: the second arm less the first, with the ' +
        '95 % interval of its mean by Student’s t, which assumes normal differences, and by bootstrap (BCa), which is too ' +
        'narrow for few seeds. p, sign flips: paired permutation test, exact for up to 20 pairs; n pairs cannot give less ' +
        'than 2^(1 − n). Effect size: Hedges’ g of the paired differences.',
      ...correctionNote(comparisons),
    ],
  };
}

/** Comparisons of times; undefined if the plan has none. */
export function timeTable({ comparisons }: Analysis): TextTable | undefined {
  const rows = comparisons.filter(({ isTime }) => isTime);
  if (rows.length === 0) return undefined;
  return {
    caption: 'Tokens until a threshold, paired by seed',
    columns: [
      'comparison',
      'pairs',
      'result',
      'first arm, reached',
      'median tokens',
      'second arm, reached',
      'median tokens',
      'p, paired log-rank',
      'p, log-rank',
      'p, Holm',
    ],
    rows: rows.map((row) => [
      comparisonName(row),
      String(row.seeds.length),
      VERDICTS[row.verdict](row),
      ...[0, 1].flatMap((i) => [
        row.numReached ? `${row.numReached[i]} of ${row.seeds.length}` : '',
        row.medians ? tokens(row.medians[i]) : '',
      ]),
      probability(row.pValue),
      probability(row.logRank),
      probability(row.adjusted),
    ]),
    notes: [
      'A run that never reaches the threshold is censored at its end. Median: Kaplan–Meier. p, paired log-rank: sign flips ' +
        'of the pairs’ log-rank scores, exact for up to 20 pairs. p, log-rank: unpaired, for large groups, not used for the ' +
        'result.',
      ...correctionNote(comparisons),
    ],
  };
}

function correctionNote(comparisons: readonly Comparison[]): string[] {
  const primary = comparisons.filter(({ isPrimary }) => isPrimary).length;
  const others = comparisons.length - primary;
  const result =
    'Result: at 5 % of the corrected p; too few seeds to test, where no outcome of these pairs could have passed.';
  if (primary === 0) return [`p, Holm: corrected for all comparisons of the plan (${others}). ${result}`];
  return [
    `p, Holm: primary comparisons (${primary}) corrected among themselves; the others (${others}) among themselves, and ` +
      `never below the largest of the primary ones, so that 5 % holds for all together. ${result}`,
  ];
}

function comparisonName({ measure, arms, isPrimary }: Comparison): string {
  return `${measure}: ${arms[1]} − ${arms[0]}${isPrimary ? ' (primary)' : ''}`;
}

const VERDICTS: Readonly<Record<Verdict, (comparison: Comparison) => string>> = {
  none: () => 'no pairs',
  few: () => 'too few seeds to test',
  higher: ({ arms }) => `${arms[1]} higher`,
  lower: ({ arms }) => `${arms[1]} lower`,
  sooner: ({ arms }) => `${arms[1]} sooner`,
  later: ({ arms }) => `${arms[1]} later`,
  'not shown': () => 'no difference shown',
};

/** Returns a comparison and its result in words. */
export function describeResult(comparison: Comparison): string {
  const { measure, arms, verdict, seeds, smallest, adjusted } = comparison;
  const n = counted(seeds.length, 'pair');
  const numbers =
    verdict === 'none'
      ? ''
      : verdict === 'few'
        ? ` (${n} can give no p below ${formatProbability(smallest)}, before the correction)`
        : ` (${n}, p = ${formatProbability(adjusted)} after the correction)`;
  return `${measure}, ${arms[1]} against ${arms[0]}: ${VERDICTS[verdict](comparison)}${numbers}`;
}

/** Every measure in every arm: the seeds’ own noise. */
export function armTable({ byArm }: Analysis): TextTable {
  return {
    caption: 'Every measure by arm, over all finished runs',
    columns: [
      'measure',
      'arm',
      'runs',
      'mean',
      'standard deviation',
      'lowest',
      'highest',
      'reached',
      'median tokens',
    ],
    rows: byArm.map((row) => [
      row.measure,
      row.arm,
      String(row.n),
      number(row.spread?.mean),
      number(row.spread?.deviation),
      number(row.spread?.min),
      number(row.spread?.max),
      row.numReached === undefined ? '' : `${row.numReached} of ${row.n}`,
      medianText(row),
    ]),
    notes: ['The standard deviation within an arm is the seeds’ own noise.'],
  };
}

function medianText({ isTime, n, median }: MeasureByArm): string {
  return isTime && n > 0 ? tokens(median) : '';
}

function tokens(value: number | undefined): string {
  return value === undefined ? 'not reached' : short(value);
}

/** The paper's numbers beside ours; undefined if the plan has none. */
export function paperTable({ paper }: Analysis): TextTable | undefined {
  if (paper.length === 0) return undefined;
  return {
    caption: 'Published numbers beside those of this study',
    columns: ['number', 'source', 'measure here', 'published', 'here', '95 % interval', 'runs', 'p'],
    rows: paper.map(({ label, source, measure, arms, value, ours, interval, n, pValue }) => [
      label,
      source,
      `${measure}: ${arms.toReversed().join(' − ')}`,
      number(value),
      number(ours),
      between(interval),
      String(n),
      probability(pValue),
    ]),
    notes: [
      'With two arms: the mean difference, the second less the first, over pairs of seeds. p: sign flips, not corrected.',
    ],
  };
}

/** Every run with its measures. */
export function runTable({ plan, runs, results, timings, failures }: Study): TextTable {
  const measures = Object.keys(plan.measures);
  return {
    caption: 'Every run',
    columns: ['run', ...measures, 'time'],
    rows: runs.map((run) => {
      const name = runName(run);
      const result = results.get(name);
      const timing = timings.get(name);
      const cells = measures.map((measure, i) => {
        const found = result?.measures[measure];
        if (found === undefined) return i > 0 ? '' : failures.has(name) ? 'failed' : 'not run';
        if (found.censored === undefined) return number(found.value);
        return `${found.censored ? '> ' : ''}${short(found.value)} tokens`;
      });
      const seconds = timing && Object.values(timing.seconds).reduce((sum, value) => sum + value, 0);
      return [`${run.arm}, seed ${run.seed}`, ...cells, seconds === undefined ? '' : duration(seconds)];
    }),
    notes: [],
  };
}
