import { axisX, axisY, barX, dot, gridX, ruleX, ruleY, text, tickX } from '@observablehq/plot';
import { modelColor } from './colors.ts';
import { drawing, textWidth } from './drawing.ts';

/** Bars in groups: a bar a model in each. */
export interface BarChart {
  readonly label: string;
  readonly bars: readonly {
    readonly group: string;
    readonly name: string;
    readonly model: number;
    readonly value: number;
    /** As the bar's end says it. */
    readonly shown: string;
  }[];
}

/** Lying bars with their values at their ends. */
export function barChart({ label, bars }: BarChart, width: number): string {
  const groups = [...new Set(bars.map(({ group }) => group))];
  const models = [...new Set(bars.map(({ model }) => model))];
  const named = bars.map((bar) => ({
    ...bar,
    text: models.length > 1 ? `${bar.shown}  ${bar.name}` : bar.shown,
  }));
  const longest = Math.max(...named.map(({ text }) => textWidth(text)));
  const groupHeight = 20 * models.length + 14;
  return drawing({
    width,
    height: groupHeight * groups.length + 40,
    marginLeft: roomFor(groups, width),
    marginRight: Math.min(longest, 0.4 * width) + 8,
    marginTop: 4,
    marginBottom: 36,
    x: {
      label,
      labelAnchor: 'center',
      labelArrow: 'none',
      zero: true,
      ticks: Math.floor(width / 120),
      tickSize: 0,
    },
    y: { axis: null, domain: models, padding: 0.15 },
    fy: { domain: groups, padding: 0.2, axis: 'left', label: null },
    marks: [
      gridX({ ticks: Math.floor(width / 120), stroke: 'var(--faint)', strokeOpacity: 1 }),
      barX(named, { x: 'value', y: 'model', fy: 'group', fill: ({ model }) => modelColor(model) }),
      text(named, {
        x: 'value',
        y: 'model',
        fy: 'group',
        text: 'text',
        fill: ({ model }) => modelColor(model),
        fontWeight: 600,
        textAnchor: 'start',
        dx: 5,
        lineWidth: (0.4 * width) / 12,
        textOverflow: 'ellipsis-end',
      }),
    ],
  });
}

/** Differences with their confidence intervals. */
export interface DifferenceChart {
  readonly label: string;
  /** Place of the model that is held against the other, which gives the colour. */
  readonly model: number;
  readonly differences: readonly {
    readonly name: string;
    readonly value: number;
    readonly interval?: readonly [low: number, high: number];
  }[];
}

/** A line for each interval and a dot for each difference, full where the interval leaves out 0. */
export function differenceChart({ label, model, differences }: DifferenceChart, width: number): string {
  const names = differences.map(({ name }) => name);
  const color = modelColor(model);
  const intervals = differences.flatMap(({ name, interval }) => (interval ? [{ name, interval }] : []));
  const reach = Math.max(
    ...differences.flatMap(({ value, interval = [] }) => [value, ...interval].map(Math.abs)),
    1e-9,
  );
  const ticks = Math.floor(width / 90);
  return drawing({
    width,
    height: 26 * names.length + 44,
    marginLeft: roomFor(names, width),
    marginRight: 12,
    marginTop: 4,
    marginBottom: 40,
    x: { domain: [-1.05 * reach, 1.05 * reach] },
    y: { type: 'band', domain: names },
    marks: [
      gridX({ ticks, stroke: 'var(--faint)', strokeOpacity: 1 }),
      axisX({ label, labelAnchor: 'center', labelArrow: 'none', ticks, tickSize: 0, tickFormat: signed }),
      axisY({ label: null, tickSize: 0 }),
      ruleX([0], { stroke: 'var(--muted)' }),
      ruleY(intervals, {
        y: 'name',
        x1: ({ interval }) => interval[0],
        x2: ({ interval }) => interval[1],
        stroke: color,
        strokeWidth: 2,
      }),
      ...[0, 1].map((end) =>
        tickX(intervals, {
          y: 'name',
          x: ({ interval }) => interval[end],
          stroke: color,
          strokeWidth: 2,
          inset: 8,
        }),
      ),
      dot(differences, {
        y: 'name',
        x: 'value',
        r: 5,
        stroke: color,
        strokeWidth: 2,
        fill: ({ interval }) => (interval && interval[0] * interval[1] > 0 ? color : 'var(--paper)'),
      }),
    ],
  });
}

function signed(value: number): string {
  return value > 0 ? `+${value}` : String(value).replace('-', '−');
}

function roomFor(names: readonly string[], width: number): number {
  return Math.min(Math.max(...names.map(textWidth)), 0.36 * width) + 8;
}
