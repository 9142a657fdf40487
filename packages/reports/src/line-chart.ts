import { dot, gridY, lineY, type Markish, type PlotOptions, ruleX, ruleY, text } from '@observablehq/plot';
import { modelColor } from './colors.ts';
import { drawing, shortened, textWidth } from './drawing.ts';

/** A line of a chart. */
export interface Series {
  readonly name: string;
  /** Index of the model, for its colour; absent for a reference, which is a dashed line without points. */
  readonly model?: number;
  readonly points: readonly {
    readonly x: number;
    readonly y: number;
    /** Half-width of the 95 % interval, if known. */
    readonly halfWidth?: number;
  }[];
  /** Whether to draw points, lines or both. */
  readonly style?: 'both' | 'line' | 'dots';
}

/** Lines over one axis. */
export interface LineChart {
  readonly series: readonly Series[];
  readonly x: {
    readonly label: string;
    /** Positions of ticks; automatic by default. */
    readonly ticks?: readonly number[];
    /** Text of a tick. */
    readonly format?: (value: number) => string;
    readonly isLogarithmic?: boolean;
  };
  readonly y: { readonly label: string; readonly domain: readonly [low: number, high: number] };
}

const SYMBOLS = ['circle', 'square', 'triangle', 'diamond', 'star', 'wye'] as const;
const [TOP, BOTTOM, LEFT] = [30, 40, 44];
const LINE_HEIGHT = 15;
const REFERENCE = { strokeWidth: 1, strokeDasharray: '4 3' };

/** Draws lines with their names at the right. */
export function lineChart({ series, x, y }: LineChart, width: number): string {
  const height = width < 500 ? 250 : 320;
  const longest = Math.max(...series.map(({ name }) => textWidth(name)));
  const labelWidth = Math.min(longest, 0.28 * width);
  const right = labelWidth + 18;
  const [low, high] = y.domain;
  const pixelsPerUnit = (height - TOP - BOTTOM) / (high - low);
  const ends = spread(
    series.map(({ points }) => (high - (points.at(-1)?.y ?? low)) * pixelsPerUnit),
    height - TOP - BOTTOM,
  );
  const marks = series.flatMap(({ name, model, points, style = 'both' }, index): Markish[] => {
    const isReference = model === undefined;
    const color = isReference ? 'var(--muted)' : modelColor(model);
    const last = points.at(-1);
    const end = { x: last?.x, y: high - ends[index] / pixelsPerUnit };
    const limits = points.flatMap(({ x, y, halfWidth }) =>
      halfWidth ? [{ x, low: Math.max(low, y - halfWidth), high: Math.min(high, y + halfWidth) }] : [],
    );
    return [
      ruleX(limits, { x: 'x', y1: 'low', y2: 'high', stroke: color, strokeOpacity: 0.45, strokeWidth: 3 }),
      ...(style === 'dots'
        ? []
        : [
            lineY(points, {
              x: 'x',
              y: 'y',
              stroke: color,
              ...(isReference ? REFERENCE : { strokeWidth: 2 }),
            }),
          ]),
      ...(style === 'line' || isReference
        ? []
        : [dot(points, { x: 'x', y: 'y', fill: color, symbol: SYMBOLS[model % SYMBOLS.length], r: 4 })]),
      text(last ? [end] : [], {
        x: 'x',
        y: 'y',
        text: () => shortened(name, labelWidth),
        fill: color,
        fontWeight: 600,
        textAnchor: 'start',
        dx: 10,
      }),
    ];
  });
  return drawing({
    width,
    height,
    marginTop: TOP,
    marginBottom: BOTTOM,
    marginLeft: LEFT,
    marginRight: right,
    x: {
      type: x.isLogarithmic ? 'log' : 'linear',
      label: x.label,
      labelAnchor: 'center',
      labelArrow: 'none',
      ticks: x.ticks ? fitting(x.ticks, x, width - LEFT - right) : Math.floor(width / 110),
      tickFormat: x.format,
      tickSize: 4,
      insetLeft: 6,
    },
    y: { label: y.label, labelArrow: 'none', domain: y.domain, ticks: 5, tickSize: 0 },
    marks: [
      gridY({ ticks: 5, stroke: 'var(--faint)', strokeOpacity: 1 }),
      ruleY([low], { stroke: 'var(--muted)' }),
      ...marks,
    ],
  } satisfies PlotOptions);
}

/** Returns the ticks whose labels do not overlap, always including the last. */
function fitting(
  ticks: readonly number[],
  { format = String, isLogarithmic }: LineChart['x'],
  width: number,
): number[] {
  const transform = isLogarithmic ? Math.log : (value: number) => value;
  const [first, last] = [ticks[0], ticks.at(-1)!].map(transform);
  const needed = Math.max(...ticks.map((tick) => textWidth(format(tick)))) + 6;
  const pixels = (tick: number) => ((transform(tick) - first) / (last - first || 1)) * width;
  const kept: number[] = [];
  for (const tick of ticks.toReversed()) {
    if (kept.length === 0 || pixels(kept.at(-1)!) - pixels(tick) >= needed) kept.push(tick);
  }
  return kept.reverse();
}

/** Moves labels apart by at least a line, none beyond the end. */
function spread(positions: readonly number[], end: number): number[] {
  const order = positions.map((_, i) => i).sort((a, b) => positions[a] - positions[b]);
  const spread = [...positions];
  let free = Number.NEGATIVE_INFINITY;
  for (const i of order) {
    spread[i] = Math.max(positions[i], free);
    free = spread[i] + LINE_HEIGHT;
  }
  let limit = end;
  for (const i of order.reverse()) {
    spread[i] = Math.min(spread[i], limit);
    limit = spread[i] - LINE_HEIGHT;
  }
  return spread;
}
