/** The figures of a report: every seed's curve, and times as Kaplan–Meier curves. */
import { short } from '@meap/recipe-cli';
import { drawing, type Figure, fileName, modelColor } from '@meap/reports';
import { gridY, lineY, type Markish, type PlotOptions, ruleY, text } from '@observablehq/plot';
import type { Analysis, MeasureByArm } from '../analysis.ts';
import { runName } from '../plan.ts';
import type { Study } from '../study-files.ts';

interface Line {
  arm: string;
  label: string;
  points: { x: number; y: number }[];
}

/** The curves of every metric of a training step that a measure reads. */
export function curveFigures({ plan, runs, results }: Study): Figure[] {
  const metrics = new Map(
    Object.values(plan.measures)
      .filter(({ step }) => plan.steps[step].program !== 'evaluate')
      .map(({ step, metric }) => [JSON.stringify([step, metric]), { step, metric }]),
  );
  return [...metrics.values()].flatMap(({ step, metric }) => {
    const lines = runs.flatMap((run): Line[] => {
      const series = results.get(runName(run))?.series[step]?.[metric];
      if (!series) return [];
      const points = series.tokens.map((x, i) => ({ x, y: series.values[i] }));
      return [{ arm: run.arm, label: `${run.arm}, seed ${run.seed}`, points }];
    });
    if (lines.length === 0) return [];
    const title = `${metric} of ${step}, a line a seed`;
    return [
      {
        kind: 'figure' as const,
        name: fileName('curves', step, metric),
        title,
        description: lines
          .map(({ label, points }) => `${label}: ${points.at(-1)!.y.toPrecision(4)} at the end.`)
          .join(' '),
        data: {
          columns: ['run', 'tokens', metric],
          rows: lines.flatMap(({ label, points }) => points.map(({ x, y }) => [label, x, y])),
        },
        draw: (width: number) => drawLines(lines, Object.keys(plan.arms), { y: metric, width }),
      },
    ];
  });
}

/** The share of runs that have not reached the threshold, by tokens. */
export function survivalFigures({ plan }: Study, { byArm }: Analysis): Figure[] {
  const measures = [
    ...new Set(byArm.filter(({ isTime, n }) => isTime && n > 0).map(({ measure }) => measure)),
  ];
  return measures.map((measure) => {
    const arms = byArm.filter((row) => row.measure === measure && row.n > 0);
    const lines = arms.map((row) => ({ arm: row.arm, label: row.arm, points: survivalSteps(row) }));
    return {
      kind: 'figure' as const,
      name: fileName('kaplan-meier', measure),
      title: `${measure}: share of runs that have not reached it (Kaplan–Meier)`,
      description: arms
        .map(({ arm, numReached, n }) => `${arm}: ${numReached} of ${n} runs reached it.`)
        .join(' '),
      data: {
        columns: ['arm', 'tokens', 'share not reached'],
        rows: lines.flatMap(({ label, points }) => points.map(({ x, y }) => [label, x, y])),
      },
      draw: (width: number) =>
        drawLines(lines, Object.keys(plan.arms), { y: 'share of runs', width, isSteps: true }),
    };
  });
}

function survivalSteps({ curve = [], times = [] }: MeasureByArm): Line['points'] {
  const end = Math.max(...times.map(({ time }) => time));
  const points = [{ x: 0, y: 1 }, ...curve.map(({ time, survival }) => ({ x: time, y: survival }))];
  return points.at(-1)!.x < end ? [...points, { x: end, y: points.at(-1)!.y }] : points;
}

const HEIGHT = 300;
const NUM_COLORS = 6;

function drawLines(
  lines: readonly Line[],
  arms: readonly string[],
  { y, width, isSteps = false }: { y: string; width: number; isSteps?: boolean },
): string {
  const values = lines.flatMap(({ points }) => points.map((point) => point.y));
  const [low, high] = isSteps ? [0, 1] : [Math.min(...values), Math.max(...values)];
  const margin = isSteps ? 0 : (high - low || Math.abs(high) || 1) / 20;
  const shown = arms.filter((arm) => lines.some((line) => line.arm === arm));
  const colorOf = (arm: string) => modelColor(arms.indexOf(arm) % NUM_COLORS);
  const marks = lines.map(
    ({ arm, points }): Markish =>
      lineY(points, {
        x: 'x',
        y: 'y',
        stroke: colorOf(arm),
        strokeWidth: isSteps ? 2 : 1.25,
        strokeOpacity: isSteps ? 1 : 0.75,
        // Beyond six arms, colours repeat.
        strokeDasharray: arms.indexOf(arm) >= NUM_COLORS ? '4 2' : undefined,
        curve: isSteps ? 'step-after' : 'linear',
      }),
  );
  const legend = shown.map((arm, i) =>
    text([arm], {
      frameAnchor: 'top-right',
      text: () => arm,
      fill: colorOf(arm),
      fontWeight: 600,
      textAnchor: 'end',
      dy: 15 * i,
      dx: -4,
    }),
  );
  return drawing({
    width,
    height: HEIGHT,
    marginTop: 30,
    marginBottom: 40,
    marginLeft: 52,
    x: {
      label: 'tokens',
      labelAnchor: 'center',
      labelArrow: 'none',
      ticks: Math.floor(width / 110),
      tickFormat: short,
    },
    y: { label: y, labelArrow: 'none', domain: [low - margin, high + margin], ticks: 5, tickSize: 0 },
    marks: [
      gridY({ ticks: 5, stroke: 'var(--faint)', strokeOpacity: 1 }),
      ruleY([low - margin], { stroke: 'var(--muted)' }),
      ...marks,
      ...legend,
    ],
  } satisfies PlotOptions);
}
