/** A chart: lines of several runs over one axis, with the values at a cursor that all charts share. */
import uPlot from 'uplot';
import { duration, grouped, short } from '../shared/format.ts';
import type { Metric, Table } from '../shared/table.ts';
import { rowsInView, smooth, visibleRange } from './curves.ts';
import { el } from './dom.ts';
import { ink, lineStyle } from './palette.ts';
import { type Axis, type Curves, slotOf, state, type Zoom } from './state.ts';

export interface ChartSpec {
  title: string;
  /** Tooltip of the title. */
  hint: string;
  lines: readonly { metric: Metric; isSmoothed: boolean; isFaint?: boolean; label?: string }[];
  /** Measurements between steps, drawn as dots with thin lines between them. */
  dots?: (curves: Curves) => Dots;
  isLogarithmic?: boolean;
  fromZero?: boolean;
  /** Tick distances of the vertical axis; default powers of ten. */
  increments?: number[];
  /** Whether it spans the page. */
  isWide?: boolean;
  format: (value: number) => string;
}

/** Values and their positions. */
interface Dots {
  at: Record<Axis, number[]>;
  /** Null interrupts the line, undefined does not. */
  values: (number | null | undefined)[];
}

/** Maximum number of points of all lines of a chart together. */
const MAX_POINTS = 6000;

interface Drawn {
  run: string;
  role: 'line' | 'aside' | 'raw' | 'low' | 'high' | 'dots';
  label?: string;
}

export class Chart {
  readonly figure: HTMLElement;
  readonly #spec: ChartSpec;
  readonly #setZoom: (zoom: Zoom) => void;
  readonly #readout = el('div', { className: 'readout' });
  readonly #container = el('div', { className: 'plot', tabIndex: 0, role: 'img' });
  #plot: uPlot | undefined;
  #drawn: Drawn[] = [];
  #shape = '';

  constructor(spec: ChartSpec, setZoom: (zoom: Zoom) => void) {
    this.#spec = spec;
    this.#setZoom = setZoom;
    const heading = el('h2', { title: spec.hint }, spec.title);
    this.figure = el(
      'figure',
      { className: spec.isWide ? 'chart wide' : 'chart' },
      el('figcaption', {}, heading, this.#readout),
      this.#container,
    );
    new ResizeObserver(() => this.#resize()).observe(this.#container);
    this.#container.addEventListener('keydown', (event) => this.#onKey(event));
    this.#container.addEventListener('dblclick', () => setZoom({ share: 1 }));
  }

  /** Whether any displayed run has data for this chart. */
  get hasData(): boolean {
    const { lines, dots } = this.#spec;
    return (state.selected ?? []).some((id) => {
      const curves = state.curves.get(id);
      if (!curves) return false;
      const isDrawn = lines.some(({ metric }) =>
        curves.table.metrics[metric].mean.some((value) => value !== null),
      );
      return isDrawn || (dots?.(curves).values.some(isValue) ?? false);
    });
  }

  update(): void {
    const range = visibleRange();
    const { series, tables, drawn } = this.#data(range ?? [0, 1]);
    const data =
      tables.length > 0 ? uPlot.join(tables) : ([[], ...series.map(() => [])] as uPlot.AlignedData);
    const shape = JSON.stringify([drawn, state.axis, matchMedia('(prefers-color-scheme: dark)').matches]);
    this.#drawn = drawn;
    if (!this.#plot || shape !== this.#shape) {
      this.#shape = shape;
      this.#plot?.destroy();
      this.#plot = new uPlot(this.#options(series), data, this.#container);
    } else this.#plot.setData(data, false);
    const [min, max] = range ?? [0, 1];
    this.#plot.batch(() => this.#plot!.setScale('x', { min, max }));
    this.#updateReadout();
  }

  #data([low, high]: [number, number]): {
    series: uPlot.Series[];
    tables: uPlot.AlignedData[];
    drawn: Drawn[];
  } {
    const { lines, dots } = this.#spec;
    const runs = (state.selected ?? []).filter((id) => state.curves.has(id));
    const maxRows = Math.max(200, Math.floor(MAX_POINTS / Math.max(1, runs.length * lines.length)));
    const series: uPlot.Series[] = [];
    const tables: uPlot.AlignedData[] = [];
    const drawn: Drawn[] = [];
    const add = (one: Drawn, options: uPlot.Series) => {
      drawn.push(one);
      series.push({ spanGaps: false, points: { show: false }, ...options });
    };
    const addTable = (rows: Table, columns: (number | null)[][]) =>
      tables.push([rows[state.axis], ...columns.map((column) => this.#fit(column))] as uPlot.AlignedData);
    const styles = runs.map((run) => lineStyle(slotOf(run)));
    const parts =
      lines.length === 0 ? [] : runs.map((run) => rowsInView(state.curves.get(run)!, [low, high], maxRows));
    const isAveraged = (line: (typeof lines)[number]) => line.isSmoothed && state.smoothing > 1;
    // All raw values are drawn before any smoothed curve.
    parts.forEach((rows, i) => {
      const [run, { color, dash }] = [runs[i], styles[i]];
      const columns = lines.flatMap((line) => {
        const { mean, low, high } = rows.metrics[line.metric];
        add({ run, role: 'low' }, { stroke: 'transparent', width: 0 });
        add({ run, role: 'high' }, { stroke: 'transparent', width: 0 });
        if (!isAveraged(line)) return [low, high];
        add({ run, role: 'raw' }, { stroke: alpha(color, 0.28), width: 1, dash });
        return [low, high, mean];
      });
      addTable(rows, columns);
    });
    parts.forEach((rows, i) => {
      const [run, { color, dash }] = [runs[i], styles[i]];
      const columns = lines.map((line) => {
        const { metric, isFaint, label } = line;
        // With several runs, the readout omits the faint lines.
        add(
          { run, role: isFaint && runs.length > 1 ? 'aside' : 'line', label },
          {
            stroke: color,
            width: isFaint ? 1.25 : 1.75,
            dash: isFaint ? [3, 3] : dash,
            // A single value is drawn as a point.
            points: { show: (plot) => plot.data[0].length < 2, size: 6, fill: color },
          },
        );
        if (!isAveraged(line)) return rows.metrics[metric].mean;
        return smoothedInView(state.curves.get(run)!.table, rows, metric, this.#spec.isLogarithmic);
      });
      addTable(rows, columns);
    });
    const isOnly = lines.length === 0;
    runs.forEach((run, i) => {
      if (!dots) return;
      const { at, values } = dots(state.curves.get(run)!);
      const { color, dash } = styles[i];
      add(
        { run, role: 'dots' },
        {
          stroke: isOnly ? color : alpha(color, 0.6),
          width: isOnly ? 1.5 : 1,
          dash: isOnly ? dash : [2, 4],
          points: { show: true, size: 7, width: 1.5, stroke: color, fill: ink('--soft') },
        },
      );
      tables.push([at[state.axis], values] as uPlot.AlignedData);
    });
    return { series, tables, drawn };
  }

  /** Removes values that a logarithmic axis cannot show. */
  #fit(values: (number | null)[]): (number | null)[] {
    return this.#spec.isLogarithmic
      ? values.map((value) => (value !== null && value > 0 ? value : null))
      : values;
  }

  #options(series: uPlot.Series[]): uPlot.Options {
    const axis: uPlot.Axis = {
      stroke: ink('--ink'),
      grid: { stroke: ink('--faint'), width: 1 },
      ticks: { stroke: ink('--faint'), width: 1, size: 4 },
      font: '11px system-ui, sans-serif',
    };
    const bands = this.#drawn.flatMap(({ role, run }, i) =>
      role === 'high'
        ? [{ series: [i + 1, i] as [number, number], fill: alpha(lineStyle(slotOf(run)).color, 0.16) }]
        : [],
    );
    return {
      ...this.#size(),
      legend: { show: false },
      padding: [8, 18, 0, 0],
      series: [{}, ...series],
      bands,
      scales: {
        x: { time: false, auto: false },
        y: this.#spec.isLogarithmic
          ? { distr: 3 }
          : { range: (_, low, high) => padded(this.#spec.fromZero ? 0 : low, high) },
      },
      axes: [
        {
          ...axis,
          size: 28,
          space: 64,
          values: (_, ticks) => ticks.map((tick) => positionText(tick, true)),
        },
        {
          ...axis,
          size: 58,
          space: 32,
          values: (_, values) => values.map((value) => (value === null ? '' : this.#spec.format(value))),
          ...(this.#spec.increments && { incrs: this.#spec.increments }),
          ...(this.#spec.isLogarithmic && {
            filter: fewTicks,
            grid: { ...axis.grid, filter: fewTicks },
            ticks: { ...axis.ticks, filter: fewTicks },
          }),
        },
      ],
      cursor: {
        y: false,
        points: { show: false },
        drag: { x: true, y: false, setScale: false },
        // The charts share the cursor, not the selection.
        sync: {
          key: 'meap',
          filters: { pub: (type: string) => type === 'mousemove' || type === 'mouseleave' },
        },
      },
      hooks: {
        setCursor: [() => this.#updateReadout()],
        setSelect: [
          (plot) => {
            const { left, width } = plot.select;
            if (width < 4) return;
            plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            this.#setZoom({ from: plot.posToVal(left, 'x'), to: plot.posToVal(left + width, 'x') });
          },
        ],
      },
    };
  }

  /** Updates the readout: each run's value at the cursor, or the last one. */
  #updateReadout(): void {
    const plot = this.#plot;
    if (!plot) return;
    const at = plot.cursor.idx ?? null;
    const cells: { run: string; value: number; sign: string }[] = [];
    let position: number | undefined;
    this.#drawn.forEach(({ run, role, label = '' }, i) => {
      if (role !== 'line' && role !== 'dots') return;
      const found = nearest(plot.data[i + 1] as (number | null | undefined)[], at, role === 'line');
      if (found === undefined) return;
      if (at !== null) position ??= plot.data[0][at];
      cells.push({
        run,
        value: plot.data[i + 1][found]!,
        sign: role === 'dots' && this.#spec.lines.length > 0 ? '●' : label,
      });
    });
    const texts = cells.map(({ value }) => this.#spec.format(value));
    const key = JSON.stringify([position, cells]);
    if (this.#readout.dataset.key === key) return;
    this.#readout.dataset.key = key;
    this.#readout.replaceChildren(
      ...(position === undefined
        ? []
        : [el('span', { className: 'position' }, positionText(position, false))]),
      ...cells.map(({ run, sign }, i) => {
        const value = el('span', { className: 'value', title: state.runs.get(run)?.name ?? '' }, texts[i]);
        value.style.color = lineStyle(slotOf(run)).color;
        if (sign) value.prepend(`${sign} `);
        return value;
      }),
    );
    if (position !== undefined) return;
    const values = cells.map(({ run }, i) => `${state.runs.get(run)?.name ?? 'a run'} ${texts[i]}`);
    const label = `${this.#spec.title}: ${values.join(', ') || 'no values yet'}. Arrow keys move, plus and minus zoom.`;
    this.#container.setAttribute('aria-label', label);
  }

  #onKey(event: KeyboardEvent): void {
    const plot = this.#plot;
    const range = visibleRange();
    if (!plot || !range || event.ctrlKey || event.metaKey || event.altKey) return;
    const [low, high] = range;
    const positions = plot.data[0];
    const at = plot.cursor.idx ?? positions.length - 1;
    if (event.key === 'Escape') this.#setZoom({ share: 1 });
    else if (event.key === '+' || event.key === '-') {
      const middle =
        plot.cursor.idx === null || plot.cursor.idx === undefined ? (low + high) / 2 : positions[at];
      const half = ((high - low) / 2) * (event.key === '+' ? 0.5 : 2);
      this.#setZoom({ from: Math.max(0, middle - half), to: middle + half });
    } else if (event.key === 'ArrowLeft' || event.key === 'ArrowRight') {
      const stride = event.shiftKey ? 10 : 1;
      const next = at + (event.key === 'ArrowLeft' ? -stride : stride);
      const position = positions[Math.max(0, Math.min(positions.length - 1, next))];
      if (position !== undefined) plot.setCursor({ left: plot.valToPos(position, 'x'), top: 10 });
    } else return;
    event.preventDefault();
  }

  #size(): { width: number; height: number } {
    return { width: Math.max(120, this.#container.clientWidth), height: this.#container.clientHeight || 200 };
  }

  #resize(): void {
    if (this.#plot && this.#plot.width !== this.#size().width) this.#plot.setSize(this.#size());
  }
}

/**
 * Smooths a metric of the rows in view, including neighbouring rows so that zooming does not change the curve. The window
 * is at most a tenth of the run, since short curves would otherwise become straight lines. For a logarithmic axis,
 * logarithms are smoothed.
 */
function smoothedInView(whole: Table, rows: Table, metric: Metric, isLogarithmic = false): (number | null)[] {
  if (rows.first.length === 0) return [];
  const steps = Math.max(1, Math.min(state.smoothing, (whole.first.at(-1)! + whole.count.at(-1)!) / 10));
  const end = rows.first.at(-1)! + rows.count.at(-1)!;
  const reach = 8 * steps;
  const isNear = (first: number) => first > rows.first[0] - reach && first < end + reach;
  const near = whole.first.flatMap((first, row) => (isNear(first) ? [row] : []));
  const before = near.filter((row) => whole.first[row] + whole.count[row] <= rows.first[0]);
  const after = near.filter((row) => whole.first[row] >= end);
  const extended = <Value>(outside: Value[], inside: Value[]) => [
    ...before.map((row) => outside[row]),
    ...inside,
    ...after.map((row) => outside[row]),
  ];
  const values = extended(whole.metrics[metric].mean, rows.metrics[metric].mean);
  const counts = extended(whole.count, rows.count);
  const logarithm = (value: number | null) => (value !== null && value > 0 ? Math.log(value) : null);
  const all = smooth(isLogarithmic ? values.map(logarithm) : values, counts, steps).slice(
    before.length,
    before.length + rows.first.length,
  );
  return isLogarithmic ? all.map((value) => (value === null ? null : Math.exp(value))) : all;
}

/** Returns the index of the value nearest to `at`, for lines only between their ends; the last index if `at` is null. */
function nearest(
  values: readonly (number | null | undefined)[],
  at: number | null,
  isLine: boolean,
): number | undefined {
  const last = values.findLastIndex(isValue);
  if (last < 0 || at === null) return last < 0 ? undefined : last;
  if (isLine && (at > last || at < values.findIndex(isValue))) return undefined;
  for (let away = 0; away < values.length; away++) {
    for (const i of [at - away, at + away]) if (isValue(values[i])) return i;
  }
  return undefined;
}

function isValue(value: number | null | undefined): value is number {
  return value !== null && value !== undefined;
}

/** Adds a margin; a constant line is centred. */
function padded(low: number | null, high: number | null): [number, number] {
  if (low === null || high === null || !Number.isFinite(low) || !Number.isFinite(high)) return [0, 1];
  const room = high > low ? (high - low) * 0.06 : Math.max(Math.abs(high) * 0.1, 1e-9);
  return [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
}

/** Reduces the ticks of a logarithmic axis to those at 1, 2 and 5, or only 1, if there are many. */
function fewTicks(_: uPlot, ticks: number[]): (number | null)[] {
  if (ticks.length < 8) return ticks;
  return ticks.map((tick) => {
    const lead = Math.round(tick / 10 ** Math.floor(Math.log10(tick) + 1e-9));
    return lead === 1 || (ticks.length < 20 && (lead === 2 || lead === 5)) ? tick : null;
  });
}

function positionText(position: number, isTick: boolean): string {
  if (state.axis === 'seconds')
    return isTick && position < 60 ? `${Number(position.toPrecision(3))} s` : duration(position);
  const text = isTick || state.axis === 'tokens' ? short(Math.round(position)) : grouped(position);
  return isTick
    ? text
    : `${state.axis === 'step' ? 'step ' : ''}${text}${state.axis === 'tokens' ? ' tokens' : ''}`;
}

function alpha(color: string, share: number): string {
  const [red, green, blue] = [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16));
  return `rgba(${red}, ${green}, ${blue}, ${share})`;
}
