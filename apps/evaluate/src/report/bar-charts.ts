import { drawing, modelColor, shortened, textWidth } from '@meap/reports';
import {
  axisFy,
  axisX,
  axisY,
  barX,
  dot,
  gridX,
  type PlotOptions,
  ruleX,
  ruleY,
  text,
  tickX,
} from '@observablehq/plot';

/** A bar chart with a bar per model in each group. */
export interface BarChart {
  readonly bars: readonly {
    readonly group: string;
    readonly name: string;
    /** Index of the model, for its colour. */
    readonly model: number;
    readonly value: number;
    /** The label at the end of the bar. */
    readonly shown: string;
  }[];
}

/** Draws horizontal bars with values and model names at their ends. */
export function barChart({ bars }: BarChart, width: number): string {
  const groups = [...new Set(bars.map(({ group }) => group))];
  const models = [...new Set(bars.map(({ model }) => model))];
  const maxLabel = 0.36 * width;
  const labelled = bars.map((bar) => {
    const value = `${bar.shown} `;
    return {
      ...bar,
      text: models.length > 1 ? `${value} ${shortened(bar.name, maxLabel - textWidth(value))}` : value,
    };
  });
  const left = labelWidth(groups, width);
  return drawing({
    width,
    height: (20 * models.length + 16) * groups.length,
    marginLeft: left,
    marginRight: Math.min(Math.max(...labelled.map(({ text }) => textWidth(text))), maxLabel) + 12,
    marginTop: 0,
    marginBottom: 0,
    x: { axis: null, zero: true },
    y: { axis: null, domain: models, padding: 0.1 },
    fy: { domain: groups, padding: 0.22, axis: null },
    marks: [
      axisFy({ label: null, anchor: 'left', tickFormat: (group: string) => shortened(group, left - 8) }),
      barX(labelled, { x: 'value', y: 'model', fy: 'group', fill: ({ model }) => modelColor(model) }),
      text(labelled, {
        x: 'value',
        y: 'model',
        fy: 'group',
        text: 'text',
        fill: ({ model }) => modelColor(model),
        fontWeight: 600,
        textAnchor: 'start',
        dx: 6,
      }),
    ],
  } satisfies PlotOptions);
}

/** Differences with their confidence intervals. */
export interface DifferenceChart {
  readonly label: string;
  /** Index of the compared model, for its colour. */
  readonly model: number;
  readonly differences: readonly {
    readonly name: string;
    readonly value: number;
    readonly interval?: readonly [low: number, high: number];
    /** Whether it is significant; then its dot is filled. */
    readonly isSignificant: boolean;
  }[];
}

/** Draws a line for each interval and a dot for each difference. */
export function differenceChart({ label, model, differences }: DifferenceChart, width: number): string {
  const names = differences.map(({ name }) => name);
  const color = modelColor(model);
  const intervals = differences.flatMap(({ name, interval }) => (interval ? [{ name, interval }] : []));
  const ends = differences.flatMap(({ value, interval = [] }) => [value, ...interval]);
  // The axis must not be empty if all differences are 0.
  const [low, high] = ends.every((end) => end === 0) ? [-1, 1] : [Math.min(0, ...ends), Math.max(0, ...ends)];
  const margin = (high - low) / 20;
  const left = labelWidth(names, width);
  const ticks = Math.floor(width / 90);
  return drawing({
    width,
    height: 26 * names.length + 44,
    marginLeft: left,
    marginRight: 12,
    marginTop: 4,
    marginBottom: 40,
    x: { domain: [low - margin, high + margin] },
    y: { type: 'band', domain: names },
    marks: [
      gridX({ ticks, stroke: 'var(--faint)', strokeOpacity: 1 }),
      axisX({ label, labelAnchor: 'center', labelArrow: 'none', ticks, tickSize: 0, tickFormat: signed }),
      axisY({ label: null, tickSize: 0, tickFormat: (name: string) => shortened(name, left - 8) }),
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
        fill: ({ isSignificant }) => (isSignificant ? color : 'var(--paper)'),
      }),
    ],
  } satisfies PlotOptions);
}

function signed(value: number): string {
  return value > 0 ? `+${value}` : String(value).replace('-', '−');
}

function labelWidth(names: readonly string[], width: number): number {
  return Math.min(Math.max(...names.map(textWidth)), 0.36 * width) + 10;
}
