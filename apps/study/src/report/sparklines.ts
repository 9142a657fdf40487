/** Curves of the arms for a terminal, one above the other on one scale. */
import { short } from '@meap/recipe-cli';
import { runName } from '../plan.ts';
import type { Study } from '../study-files.ts';

const LEVELS = '▁▂▃▄▅▆▇█';
const COLUMNS = 48;

/** Draws the metric of the first training measure, averaged over the finished seeds of each arm; empty without results. */
export function sparklines({ plan, runs, results }: Study): string[] {
  const measure = Object.values(plan.measures).find(({ step }) => plan.steps[step].program !== 'evaluate');
  if (!measure) return [];
  const { step, metric } = measure;
  const curves = Object.keys(plan.arms).flatMap((arm) => {
    const series = runs
      .filter((run) => run.arm === arm)
      .flatMap((run) => results.get(runName(run))?.series[step]?.[metric] ?? []);
    if (series.length === 0) return [];
    // Runs that a rule ended have fewer points.
    const length = Math.min(...series.map(({ values }) => values.length));
    const points = Array.from({ length }, (_, i) => ({
      tokens: series[0].tokens[i],
      value: series.reduce((sum, { values }) => sum + values[i], 0) / series.length,
    }));
    return [{ arm, points, numSeeds: series.length }];
  });
  const values = curves.flatMap(({ points }) => points.map(({ value }) => value)).filter(Number.isFinite);
  if (values.length === 0) return [];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const width = Math.max(...curves.map(({ arm }) => arm.length));
  const end = Math.max(...curves.map(({ points }) => points.at(-1)?.tokens ?? 0));
  const level = (value: number) => {
    const share = high > low ? (value - low) / (high - low) : 0;
    return Number.isFinite(value)
      ? LEVELS[Math.min(LEVELS.length - 1, Math.floor(share * LEVELS.length))]
      : ' ';
  };
  return [
    `${metric} of ${step} up to ${short(end)} tokens, ▁ ${low.toPrecision(4)} to █ ${high.toPrecision(4)}`,
    ...curves.map(({ arm, points, numSeeds }) => {
      const every = Math.ceil(points.length / COLUMNS);
      // The last point is always drawn.
      const drawn = points.filter((_, i) => (points.length - 1 - i) % every === 0);
      const lowest = points.reduce((best, point) => (point.value < best.value ? point : best));
      const numbers = `lowest ${lowest.value.toPrecision(4)} at ${short(lowest.tokens)}, last ${points.at(-1)!.value.toPrecision(4)}`;
      const mean = numSeeds > 1 ? `, mean of ${numSeeds} seeds` : '';
      return `${arm.padEnd(width)}  ${drawn.map(({ value }) => level(value)).join('')}  ${numbers}${mean}`;
    }),
  ];
}
