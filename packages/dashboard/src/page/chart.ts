/** One chart: lines of several runs over one axis, with a readout, synchronous with the others. */
import uPlot from 'uplot';
import { duration, grouped, short } from '../shared/format.ts';
import type { Metric, Table } from '../shared/table.ts';
import { rowsInView, smooth, visibleRange } from './curves.ts';
import { el } from './dom.ts';
import { ink, look } from './palette.ts';
import { slotOf, state, type Zoom } from './state.ts';

/** What a chart draws. */
export interface ChartSpec {
  title: string;
  /** What it is for, where the title does not say. */
  hint: string;
  /** Lines from steps. */
  lines: readonly { metric: Metric; isSmoothed: boolean; isFaint?: boolean; label?: string }[];
  /** Dots from validations, with thin lines between them. */
  dots?: 'valLoss' | 'bitsPerByte' | 'maskedLoss';
  isLogarithmic?: boolean;
  /** Whether the vertical axis begins at zero. */
  fromZero?: boolean;
  /** Distances of marks on the vertical axis, where powers of ten read badly. */
  increments?: number[];
  /** Whether it takes the page's width. */
  isWide?: boolean;
  format: (value: number) => string;
}

/** Points that all lines of a chart may have together: what stays quick to draw. */
const MOST_POINTS = 6000;

/** What a series of a chart shows. */
interface Drawn {
  run: string;
  role: 'line' | 'aside' | 'raw' | 'low' | 'high' | 'dots';
  label?: string;
}

/** A chart in its figure. */
export class Chart {
  readonly figure: HTMLElement;
  readonly #spec: ChartSpec;
  readonly #setZoom: (zoom: Zoom) => void;
  readonly #readout = el('div', { className: 'readout' });
  readonly #place = el('div', { className: 'plot', tabIndex: 0, role: 'img' });
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
      this.#place,
    );
    new ResizeObserver(() => this.#resize()).observe(this.#place);
    this.#place.addEventListener('keydown', (event) => this.#onKey(event));
    this.#place.addEventListener('dblclick', () => setZoom({ share: 1 }));
  }

  /** Whether any shown run has what this chart draws. */
  get hasData(): boolean {
    const { lines, dots } = this.#spec;
    return (state.selected ?? []).some((id) => {
      const curves = state.curves.get(id);
      if (!curves) return false;
      const isDrawn = lines.some(({ metric }) =>
        curves.table.metrics[metric].mean.some((value) => value !== null),
      );
      return isDrawn || (dots !== undefined && curves.validations[dots].some((value) => value !== null));
    });
  }

  /** Draws the state as it is now. */
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
      this.#plot = new uPlot(this.#options(series), data, this.#place);
    } else this.#plot.setData(data, false);
    const [min, max] = range ?? [0, 1];
    this.#plot.batch(() => this.#plot!.setScale('x', { min, max }));
    this.#read();
  }

  #data([low, high]: [number, number]): {
    series: uPlot.Series[];
    tables: uPlot.AlignedData[];
    drawn: Drawn[];
  } {
    const { lines, dots } = this.#spec;
    const runs = (state.selected ?? []).filter((id) => state.curves.has(id));
    const most = Math.max(200, Math.floor(MOST_POINTS / Math.max(1, runs.length * lines.length)));
    const series: uPlot.Series[] = [];
    const tables: uPlot.AlignedData[] = [];
    const drawn: Drawn[] = [];
    const add = (one: Drawn, options: uPlot.Series) => {
      drawn.push(one);
      series.push({ spanGaps: false, points: { show: false }, ...options });
    };
    const looks = runs.map((run) => look(slotOf(run)));
    const parts =
      lines.length === 0 ? [] : runs.map((run) => rowsInView(state.curves.get(run)!, [low, high], most));
    const isAveraged = (line: (typeof lines)[number]) => line.isSmoothed && state.smoothing > 1;
    // What is noisy first, so that no run's noise covers another's curve.
    parts.forEach((rows, i) => {
      const [run, { color, dash }] = [runs[i], looks[i]];
      const columns = lines.flatMap((line) => {
        const { mean, low, high } = rows.metrics[line.metric];
        add({ run, role: 'low' }, { stroke: 'transparent', width: 0 });
        add({ run, role: 'high' }, { stroke: 'transparent', width: 0 });
        if (!isAveraged(line)) return [low, high];
        add({ run, role: 'raw' }, { stroke: alpha(color, 0.28), width: 1, dash });
        return [low, high, mean];
      });
      tables.push([rows[state.axis], ...columns.map((column) => this.#fit(column))] as uPlot.AlignedData);
    });
    parts.forEach((rows, i) => {
      const [run, { color, dash }] = [runs[i], looks[i]];
      const columns = lines.map((line) => {
        const { metric, isFaint, label } = line;
        // Read out of one run only: of several the numbers would fill the chart.
        add(
          { run, role: isFaint && runs.length > 1 ? 'aside' : 'line', label },
          {
            stroke: color,
            width: isFaint ? 1.25 : 1.75,
            dash: isFaint ? [3, 3] : dash,
            // A line needs two.
            points: { show: (plot) => plot.data[0].length < 2, size: 6, fill: color },
          },
        );
        if (!isAveraged(line)) return rows.metrics[metric].mean;
        return smoothed(state.curves.get(run)!.table, rows, metric, this.#spec.isLogarithmic);
      });
      tables.push([rows[state.axis], ...columns.map((column) => this.#fit(column))] as uPlot.AlignedData);
    });
    const isOnly = lines.length === 0;
    runs.forEach((run, i) => {
      if (!dots) return;
      const { validations } = state.curves.get(run)!;
      const { color, dash } = looks[i];
      add(
        { run, role: 'dots' },
        {
          stroke: isOnly ? color : alpha(color, 0.6),
          width: isOnly ? 1.5 : 1,
          dash: isOnly ? dash : [2, 4],
          points: { show: true, size: 7, width: 1.5, stroke: color, fill: ink('--soft') },
        },
      );
      tables.push([validations[state.axis], validations[dots]] as uPlot.AlignedData);
    });
    return { series, tables, drawn };
  }

  /** Values as they can be drawn: a logarithmic axis has no place for zero. */
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
        ? [{ series: [i + 1, i] as [number, number], fill: alpha(look(slotOf(run)).color, 0.16) }]
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
          values: (_, places) => places.map((place) => placeText(place, true)),
        },
        {
          ...axis,
          size: 58,
          space: 32,
          values: (_, values) => values.map((value) => (value === null ? '' : this.#spec.format(value))),
          ...(this.#spec.increments && { incrs: this.#spec.increments }),
          ...(this.#spec.isLogarithmic && {
            filter: fewMarks,
            grid: { ...axis.grid, filter: fewMarks },
            ticks: { ...axis.ticks, filter: fewMarks },
          }),
        },
      ],
      cursor: {
        y: false,
        points: { show: false },
        drag: { x: true, y: false, setScale: false },
        // Only the place is shared: a part dragged over in one chart is no drag in the others.
        sync: {
          key: 'meap',
          filters: { pub: (type: string) => type === 'mousemove' || type === 'mouseleave' },
        },
      },
      hooks: {
        setCursor: [() => this.#read()],
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

  /** Writes each run's value at the cursor, or its last. */
  #read(): void {
    const plot = this.#plot;
    if (!plot) return;
    const at = plot.cursor.idx ?? null;
    const cells: { run: string; value: number; sign: string }[] = [];
    let place: number | undefined;
    this.#drawn.forEach(({ run, role, label = '' }, i) => {
      if (role !== 'line' && role !== 'dots') return;
      const found = nearest(plot.data[i + 1] as (number | null | undefined)[], at, role === 'line');
      if (found === undefined) return;
      if (at !== null) place ??= plot.data[0][at];
      cells.push({
        run,
        value: plot.data[i + 1][found]!,
        sign: role === 'dots' && this.#spec.lines.length > 0 ? '●' : label,
      });
    });
    const texts = cells.map(({ value }) => this.#spec.format(value));
    const key = JSON.stringify([place, cells]);
    if (this.#readout.dataset.key === key) return;
    this.#readout.dataset.key = key;
    this.#readout.replaceChildren(
      ...(place === undefined ? [] : [el('span', { className: 'place' }, placeText(place, false))]),
      ...cells.map(({ run, sign }, i) => {
        const value = el('span', { className: 'value', title: state.runs.get(run)?.name ?? '' }, texts[i]);
        value.style.color = look(slotOf(run)).color;
        if (sign) value.prepend(`${sign} `);
        return value;
      }),
    );
    if (place !== undefined) return;
    const told = cells.map(({ run }, i) => `${state.runs.get(run)?.name ?? 'a run'} ${texts[i]}`);
    const label = `${this.#spec.title}: ${told.join(', ') || 'no values yet'}. Arrow keys move, plus and minus zoom.`;
    this.#place.setAttribute('aria-label', label);
  }

  #onKey(event: KeyboardEvent): void {
    const plot = this.#plot;
    const range = visibleRange();
    if (!plot || !range || event.ctrlKey || event.metaKey || event.altKey) return;
    const [low, high] = range;
    const places = plot.data[0];
    const at = plot.cursor.idx ?? places.length - 1;
    if (event.key === 'Escape') this.#setZoom({ share: 1 });
    else if (event.key === '+' || event.key === '-') {
      const middle =
        plot.cursor.idx === null || plot.cursor.idx === undefined ? (low + high) / 2 : places[at];
      const half = ((high - low) / 2) * (event.key === '+' ? 0.5 : 2);
      this.#setZoom({ from: Math.max(0, middle - half), to: middle + half });
    } else if (event.key === 'ArrowLeft' || event.key === 'ArrowRight') {
      const stride = event.shiftKey ? 10 : 1;
      const next = at + (event.key === 'ArrowLeft' ? -stride : stride);
      const place = places[Math.max(0, Math.min(places.length - 1, next))];
      if (place !== undefined) plot.setCursor({ left: plot.valToPos(place, 'x'), top: 10 });
    } else return;
    event.preventDefault();
  }

  #size(): { width: number; height: number } {
    return { width: Math.max(120, this.#place.clientWidth), height: this.#place.clientHeight || 200 };
  }

  #resize(): void {
    if (this.#plot && this.#plot.width !== this.#size().width) this.#plot.setSize(this.#size());
  }
}

/**
 * Smoothed with what lies beside the part that is drawn, so that the curve is the same wherever one zooms; over a tenth
 * of the run at most, or a young curve would be one straight line, and for a logarithmic axis as it is seen.
 */
function smoothed(whole: Table, rows: Table, metric: Metric, isLogarithmic = false): (number | null)[] {
  if (rows.first.length === 0) return [];
  const steps = Math.max(1, Math.min(state.smoothing, (whole.first.at(-1)! + whole.count.at(-1)!) / 10));
  const end = rows.first.at(-1)! + rows.count.at(-1)!;
  const reach = 8 * steps;
  const isNear = (first: number) => first > rows.first[0] - reach && first < end + reach;
  const near = whole.first.flatMap((first, row) => (isNear(first) ? [row] : []));
  const before = near.filter((row) => whole.first[row] + whole.count[row] <= rows.first[0]);
  const after = near.filter((row) => whole.first[row] >= end);
  const { mean } = whole.metrics[metric];
  const values = [
    ...before.map((row) => mean[row]),
    ...rows.metrics[metric].mean,
    ...after.map((row) => mean[row]),
  ];
  const counts = [
    ...before.map((row) => whole.count[row]),
    ...rows.count,
    ...after.map((row) => whole.count[row]),
  ];
  const isSeen = (value: number | null) => value !== null && value > 0;
  const seen = isLogarithmic ? values.map((value) => (isSeen(value) ? Math.log(value!) : null)) : values;
  const all = smooth(seen, counts, steps).slice(before.length, before.length + rows.first.length);
  return isLogarithmic ? all.map((value) => (value === null ? null : Math.exp(value))) : all;
}

/** The index nearest to `at` where there is a value, of a line only between its ends; the last where `at` is null. */
function nearest(
  values: readonly (number | null | undefined)[],
  at: number | null,
  isLine: boolean,
): number | undefined {
  const isThere = (value: number | null | undefined) => value !== null && value !== undefined;
  const last = values.findLastIndex(isThere);
  if (last < 0 || at === null) return last < 0 ? undefined : last;
  if (isLine && (at > last || at < values.findIndex(isThere))) return undefined;
  for (let away = 0; away < values.length; away++) {
    for (const i of [at - away, at + away]) if (isThere(values[i])) return i;
  }
  return undefined;
}

/** Room above and below; a flat line runs through the middle. */
function padded(low: number | null, high: number | null): [number, number] {
  if (low === null || high === null || !Number.isFinite(low) || !Number.isFinite(high)) return [0, 1];
  const room = high > low ? (high - low) * 0.06 : Math.max(Math.abs(high) * 0.1, 1e-9);
  return [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
}

/** Of a logarithmic axis the marks at 1, 2 and 5; all where there are few. */
function fewMarks(_: uPlot, marks: number[]): (number | null)[] {
  if (marks.length < 8) return marks;
  return marks.map((mark) => {
    const lead = Math.round(mark / 10 ** Math.floor(Math.log10(mark) + 1e-9));
    return lead === 1 || (marks.length < 20 && (lead === 2 || lead === 5)) ? mark : null;
  });
}

function placeText(place: number, isMark: boolean): string {
  if (state.axis === 'seconds')
    return isMark && place < 60 ? `${Number(place.toPrecision(3))} s` : duration(place);
  const text = isMark || state.axis === 'tokens' ? short(Math.round(place)) : grouped(place);
  return isMark
    ? text
    : `${state.axis === 'step' ? 'step ' : ''}${text}${state.axis === 'tokens' ? ' tokens' : ''}`;
}

function alpha(color: string, share: number): string {
  const [red, green, blue] = [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16));
  return `rgba(${red}, ${green}, ${blue}, ${share})`;
}
