/** All charts and their common controls: axis, smoothing, zoom. */

import { bytes, percent, plain, short } from '../shared/format.ts';
import type { Table } from '../shared/table.ts';
import { unpack } from '../shared/wire.ts';
import { Chart, type ChartSpec } from './chart.ts';
import { rowRange, visibleRange } from './curves.ts';
import { byId, el } from './dom.ts';
import { fetchJson } from './fetch-json.ts';
import { onScheme } from './palette.ts';
import { type Axis, type Curves, hasSteps, remember, state, type Zoom } from './state.ts';

const validation =
  (key: 'valLoss' | 'bitsPerByte' | 'maskedLoss') =>
  ({ validations }: Curves) => ({ at: validations, values: validations[key] });

const LOSSES: readonly ChartSpec[] = [
  {
    title: 'Loss',
    hint: 'Nats per token; lines: training, dots: validation',
    lines: [{ metric: 'loss', isSmoothed: true }],
    dots: validation('valLoss'),
    isWide: true,
    format: plain,
  },
  {
    title: 'Bits per byte',
    hint: 'Validation; comparable between tokenizers',
    lines: [],
    dots: validation('bitsPerByte'),
    format: plain,
  },
  {
    title: 'Loss of masked tokens',
    hint: 'Held-out answers, nats per masked token',
    lines: [],
    dots: validation('maskedLoss'),
    format: plain,
  },
];

const STEPS: readonly ChartSpec[] = [
  {
    title: 'z-loss',
    hint: 'Mean over the targets; logarithmic axis',
    lines: [{ metric: 'zLoss', isSmoothed: true }],
    isLogarithmic: true,
    format: plain,
  },
  {
    title: 'Gradient norm',
    hint: 'Before clipping; logarithmic axis',
    lines: [{ metric: 'gradNorm', isSmoothed: true }],
    isLogarithmic: true,
    format: plain,
  },
  { title: 'Learning rate', hint: '', lines: [{ metric: 'lr', isSmoothed: false }], format: plain },
  {
    title: 'Tokens per second',
    hint: 'Of training steps, without validation and samples',
    lines: [{ metric: 'tokensPerSecond', isSmoothed: true }],
    format: short,
  },
  {
    title: 'Utilisation',
    hint: 'Model FLOP utilisation, relative to the peak measured on the machine',
    lines: [{ metric: 'mfu', isSmoothed: true }],
    format: percent,
  },
  {
    title: 'Memory',
    hint: 'Resident set of the process; dashed: tensors of the backend',
    lines: [
      { metric: 'residentBytes', isSmoothed: false },
      { metric: 'backendBytes', isSmoothed: false, isFaint: true, label: 'tensors' },
    ],
    fromZero: true,
    increments: Array.from({ length: 50 }, (_, power) => 2 ** power),
    format: bytes,
  },
];

const SHARES = [
  ['All', 1],
  ['Last half', 0.5],
  ['Last tenth', 0.1],
] as const;

const probeSpec = (name: string): ChartSpec => ({
  title: name.replace('/', ' '),
  hint: 'Measured without masks',
  lines: [],
  // Probes may be measured at different steps.
  dots: ({ probes }) => ({
    at: probes,
    values: (probes.values[name] ?? []).map((value) => value ?? undefined),
  }),
  format: plain,
});

const charts = [...LOSSES, ...STEPS].map((spec) => new Chart(spec, setZoom));
const [firstOfSteps] = charts.slice(LOSSES.length);
/** Charts of the values of probes that a run has or had. */
const probeCharts = new Map<string, Chart>();
const dirty = new Set(charts);
const visible = new Set<Chart>();
let isScheduled = false;

const seen = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      const chart = charts.find(({ figure }) => figure === target)!;
      if (isIntersecting) visible.add(chart);
      else visible.delete(chart);
    }
    schedule();
  },
  { rootMargin: '200px' },
);

/** Adds the charts and their controls to the page. */
export function initCharts(): void {
  const container = byId('charts');
  for (const { figure } of charts) {
    container.append(figure);
    seen.observe(figure);
  }
  container.prepend(el('p', { id: 'empty', className: 'quiet' }));
  drawControls();
  onScheme(redrawCharts);
}

/** Redraws all charts in the next frame, or when they become visible. */
export function redrawCharts(): void {
  addProbeCharts();
  for (const chart of charts) dirty.add(chart);
  schedule();
}

/** Adds charts for new values of probes: after the losses, by name. */
function addProbeCharts(): void {
  for (const { probes } of state.curves.values()) {
    for (const name of Object.keys(probes.values)) {
      if (probeCharts.has(name)) continue;
      const chart = new Chart(probeSpec(name), setZoom);
      const next = [...probeCharts.keys()].sort().find((other) => other > name);
      (next === undefined ? firstOfSteps : probeCharts.get(next)!).figure.before(chart.figure);
      probeCharts.set(name, chart);
      charts.push(chart);
      seen.observe(chart.figure);
    }
  }
}

function schedule(): void {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(() => {
    isScheduled = false;
    for (const chart of charts) {
      const isShown = chart.hasData;
      if (chart.figure.hidden === isShown) chart.figure.hidden = !isShown;
      if (!isShown || !dirty.has(chart) || !visible.has(chart)) continue;
      dirty.delete(chart);
      chart.update();
    }
    byId('controls').hidden = !hasSteps();
  });
}

function setZoom(zoom: Zoom): void {
  state.zoom = zoom;
  drawControls();
  redrawCharts();
  scheduleDetail();
}

function drawControls(): void {
  const axes: [string, Axis][] = [
    ['Steps', 'step'],
    ['Tokens', 'tokens'],
    ['Time', 'seconds'],
  ];
  const { zoom } = state;
  const choice = <Value>(
    label: string,
    options: readonly (readonly [string, Value])[],
    chosen: Value,
    choose: (value: Value) => void,
  ) =>
    el(
      'div',
      { className: 'choice', role: 'group', 'aria-label': label },
      ...options.map(([name, value]) =>
        el(
          'button',
          { type: 'button', 'aria-pressed': value === chosen, onclick: () => choose(value) },
          name,
        ),
      ),
    );
  const shown = el('output', { id: 'smoothing-text' }, smoothingText());
  const slider = el('input', {
    type: 'range',
    id: 'smoothing',
    min: '0',
    max: '3',
    step: '0.05',
    value: String(Math.log10(state.smoothing)),
    'aria-valuetext': smoothingText(),
    oninput: () => {
      state.smoothing = Math.round(10 ** Number(slider.value));
      shown.textContent = smoothingText();
      slider.setAttribute('aria-valuetext', smoothingText());
      remember();
      redrawCharts();
    },
  });
  const isZoomed = 'from' in zoom;
  byId('controls').replaceChildren(
    choice('Horizontal axis', axes, state.axis, (axis) => {
      state.axis = axis;
      if ('from' in state.zoom) state.zoom = { share: 1 };
      remember();
      setZoom(state.zoom);
    }),
    choice('Part shown', SHARES, isZoomed ? undefined : zoom.share, (share) =>
      setZoom({ share: share ?? 1 }),
    ),
    el(
      'label',
      {
        className: 'smoothing',
        title:
          'Lines fitted to about this many steps on both sides, at most a tenth of the run; raw values stay visible',
      },
      'Smooth',
      slider,
      shown,
    ),
    el(
      'span',
      { className: 'quiet hint' },
      isZoomed ? 'Zoomed: Esc or double click to reset' : 'Drag over a chart to zoom',
    ),
  );
}

function smoothingText(): string {
  return state.smoothing === 1 ? 'off' : `${state.smoothing} steps`;
}

let detailTimer: ReturnType<typeof setTimeout> | undefined;

/** Fetches finer rows for the visible part if the page has only coarse ones. */
function scheduleDetail(): void {
  clearTimeout(detailTimer);
  for (const curves of state.curves.values()) if (!('from' in state.zoom)) curves.detail = undefined;
  if (!('from' in state.zoom)) return;
  detailTimer = setTimeout(() => {
    for (const id of state.selected ?? []) void fetchDetail(id);
  }, 150);
}

async function fetchDetail(id: string): Promise<void> {
  const curves = state.curves.get(id);
  const range = visibleRange();
  if (!curves || !range) return;
  const { table, generation } = curves;
  const [start, end] = rowRange(table, state.axis, ...range);
  if (end <= start || table.count.slice(start, end).every((count) => count === 1)) return;
  const [from, to] = [table.first[start], table.first[end - 1] + table.count[end - 1]];
  const detail = await fetchJson<Table>('curves', { run: id, generation, from, to });
  if (!detail || state.curves.get(id)?.generation !== generation) return;
  curves.detail = unpack(detail);
  redrawCharts();
}
