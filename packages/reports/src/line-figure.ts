import type { Figure } from './figure.ts';
import { type LineChart, lineChart, type Series } from './line-chart.ts';
import { format } from './numbers.ts';

/** Options of {@link lineFigure}. */
export interface LineFigure {
  readonly name: string;
  readonly title: string;
  readonly series: readonly Series[];
  /** The lines of the drawing; default `series`. */
  readonly drawn?: readonly Series[];
  readonly x: LineChart['x'];
  /** The default domain contains all lines. */
  readonly y: Omit<LineChart['y'], 'domain'> & Partial<LineChart['y']>;
  /** Names of the columns of `series`, or other data. */
  readonly data: readonly [model: string, x: string, y: string] | Figure['data'];
}

/** Returns a line chart as a figure with its description and data. */
export function lineFigure({ name, title, series, drawn = series, x, y, data }: LineFigure): Figure {
  const rows = () => series.flatMap((line) => line.points.map(({ x, y }) => [line.name, x, y]));
  const chart = { series: drawn, x, y: { ...y, domain: y.domain ?? rangeOf(drawn) } };
  return {
    kind: 'figure',
    name,
    title,
    description: describeSeries(series, x.format),
    data: 'columns' in data ? data : { columns: data, rows: rows() },
    draw: (width) => lineChart(chart, width),
  };
}

/** Describes the first and last value of each line. */
function describeSeries(series: readonly Series[], write: (value: number) => string = String): string {
  return series
    .map(({ name, points }) => {
      const ends = points.length > 1 ? [points[0], points.at(-1)!] : points;
      return `${name}: ${ends.map(({ x, y }) => `${format(y, { isPercent: false, factor: 1 })} at ${write(x)}`).join(', ')}.`;
    })
    .join(' ');
}

/** Returns the range of the lines with their intervals and a margin. */
function rangeOf(series: readonly Series[]): [low: number, high: number] {
  const ends = series.flatMap(({ points }) =>
    points.flatMap(({ y, halfWidth = 0 }) => [y - halfWidth, y + halfWidth]),
  );
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const margin = (high - low || Math.abs(high) || 1) / 20;
  return [low - margin, high + margin];
}
