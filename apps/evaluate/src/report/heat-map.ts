import { drawing, heatColor, textWidth } from '@meap/reports';
import { cell, type PlotOptions, text } from '@observablehq/plot';

export interface HeatMap {
  readonly x: HeatMapAxis;
  readonly y: HeatMapAxis;
  /** Values between 0 and 1; undefined if not measured. */
  readonly cells: readonly { readonly x: number; readonly y: number; readonly share?: number }[];
}

interface HeatMapAxis {
  readonly label: string;
  /** From left to right or from top to bottom. */
  readonly values: readonly number[];
  readonly format: (value: number) => string;
}

const [TOP, BOTTOM, LEFT, RIGHT] = [24, 40, 46, 2];

/** Draws a heat map with values in percent if the cells are large enough. */
export function heatMap({ x, y, cells }: HeatMap, width: number): string {
  const cellWidth = (width - LEFT - RIGHT) / x.values.length;
  const cellHeight = Math.max(22, Math.min(34, cellWidth));
  const colored = cells.map((cell) => ({
    ...cell,
    ...(cell.share === undefined ? { fill: 'var(--faint)', ink: 'var(--muted)' } : heatColor(cell.share)),
    value: cell.share === undefined ? '–' : String(Math.round(100 * cell.share)),
  }));
  return drawing({
    width,
    height: TOP + BOTTOM + cellHeight * y.values.length,
    marginTop: TOP,
    marginBottom: BOTTOM,
    marginLeft: LEFT,
    marginRight: RIGHT,
    padding: 0,
    x: { ...axis(x, cellWidth), labelAnchor: 'center' },
    y: { ...axis(y, Number.POSITIVE_INFINITY), labelAnchor: 'top' },
    marks: [
      cell(colored, { x: 'x', y: 'y', fill: 'fill', inset: 0.5 }),
      ...(cellWidth < 24 ? [] : [text(colored, { x: 'x', y: 'y', text: 'value', fill: 'ink' })]),
    ],
  } satisfies PlotOptions);
}

function axis({ label, values, format }: HeatMapAxis, cellSize: number) {
  const needed = Math.max(...values.map((value) => textWidth(format(value)))) + 6;
  const every = Math.ceil(needed / cellSize);
  return {
    type: 'band',
    label,
    labelArrow: 'none',
    domain: values,
    ticks: values.filter((_, i) => i % Math.max(1, every) === 0),
    tickFormat: format,
    tickSize: 0,
  } as const;
}
