/** `report.html`: a self-contained page about a finished run, in the reader's light or dark colour scheme. */
import { writeFileAtomic } from '@meap/files';
import { type Html, html } from './html.ts';
import type { ProbeCurve } from './probe-values.ts';

/** A line of a chart. */
export interface ChartSeries {
  name: string;
  points: readonly { step: number; loss: number }[];
  /** Dots where values are few, a line where they are many. */
  style: 'line' | 'dots';
  /** Which of the page's three colours. */
  color: 'first' | 'second' | 'third';
}

/** The contents of a page, from top to bottom. */
export interface ReportPage {
  title: string;
  /** Rows of the table. */
  figures: readonly (readonly [name: string, value: string])[];
  sections: readonly { heading: string; body: Html }[];
}

/** Writes the page, complete or not at all. */
export function writeReportPage(path: string, page: ReportPage): void {
  writeFileAtomic(path, renderReportPage(page));
}

/** The page as a string. */
export function renderReportPage({ title, figures, sections }: ReportPage): string {
  const rows = figures.map(([name, value]) => html`<tr><th>${name}</th><td>${value}</td></tr>\n`);
  const body = sections.map(({ heading, body }) => html`<h2>${heading}</h2>\n${body}\n`);
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<style>
:root { --ink: #1d2433; --paper: #fff; --faint: #d9dde5; --first: #2f6fde; --second: #d2571e; --third: #2e8b57; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8f0; --paper: #14171e; --faint: #39404e; --first: #7aa8ff; --second: #ff9a62; --third: #6fcf97; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 50rem;
  margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; }
th { text-align: left; font-weight: normal; padding-right: 2rem; vertical-align: top; }
td { font-variant-numeric: tabular-nums; }
tr { border-bottom: 1px solid var(--faint); }
svg { width: 100%; height: auto; }
figure { margin: 0; }
.small { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 1rem; }
svg text { fill: var(--ink); font-size: 12px; }
pre, blockquote { white-space: pre-wrap; overflow-wrap: anywhere; }
pre { border: 1px solid var(--faint); padding: 1rem; font-size: 13px; }
blockquote { border-left: 3px solid var(--first); margin-left: 0; padding-left: 1rem; }
</style>
</head>
<body>
<h1>${title}</h1>
<table>
${rows}</table>
${body}</body>
</html>
`.markup;
}

/** Draws losses over steps as an SVG with a legend below it; `note` ends the legend. */
export function renderLossChart(series: readonly ChartSeries[], note: string): Html {
  const curves = series.map((one) => ({
    ...one,
    points: one.points.map(({ step, loss }) => ({ step, value: loss })),
  }));
  const shown = curves.filter(({ points }) => points.length > 0);
  if (shown.length === 0) return html`<p>No steps yet.</p>`;
  const legend = shown.map(({ name, style, color }) => {
    const sign = style === 'line' ? '—' : '●';
    return html`<span style="color: var(--${color})">${sign}</span> ${name}; `;
  });
  const label = 'Loss in nats per token over steps';
  return html`${renderChart(curves, { label, width: 760, height: 320 })}
<p>${legend}${note}</p>`;
}

/** Draws a small chart for each value of probes, all over the same steps. */
export function renderProbes(curves: readonly ProbeCurve[]): Html {
  const lastStep = Math.max(...curves.flatMap(({ points }) => points.map(({ step }) => step)));
  const figures = curves.map(({ probe, name, points }) => {
    const title = `${probe} ${name}`;
    const size = { label: `${title} over steps`, width: 380, height: 180, lastStep };
    return html`<figure><figcaption>${title}</figcaption>
${renderChart([{ points, style: 'both', color: 'first' }], size)}</figure>\n`;
  });
  return html`<div class="small">${figures}</div>`;
}

interface Curve {
  points: readonly { step: number; value: number }[];
  style: 'line' | 'dots' | 'both';
  color: ChartSeries['color'];
}

const LEFT = 44;
const BOTTOM = 28;

/** Draws curves with at least one point; `lastStep` is the end of the axis, by default that of the curves. */
function renderChart(
  curves: readonly Curve[],
  { label, width, height, lastStep }: { label: string; width: number; height: number; lastStep?: number },
): Html {
  const all = curves.flatMap(({ points }) => points);
  const end = Math.max(1, lastStep ?? 1, ...all.map(({ step }) => step));
  const low = Math.min(...all.map(({ value }) => value));
  const high = Math.max(...all.map(({ value }) => value), low + 1e-3);
  const x = (step: number) => (LEFT + (step / end) * (width - LEFT - 8)).toFixed(1);
  const y = (value: number) => (8 + ((high - value) / (high - low)) * (height - BOTTOM - 8)).toFixed(1);
  const levels = [0, 1, 2, 3, 4].map((i) => low + ((high - low) * i) / 4);
  const digits = high - low < 0.04 ? 4 : 2;
  const marks = [0, 1, 2, 3, 4].map((i) => Math.round((end * i) / 4));
  const drawn = curves.map(({ points, style, color }) => {
    const line = points.map(({ step, value }) => `${x(step)},${y(value)}`).join(' ');
    const polyline = html`<polyline points="${line}" fill="none" stroke="var(--${color})" stroke-width="1.5"/>\n`;
    const radius = style === 'both' ? 3 : 4;
    const dots = points.map(
      ({ step, value }) =>
        html`<circle cx="${x(step)}" cy="${y(value)}" r="${radius}" fill="var(--${color})"/>\n`,
    );
    return html`${style === 'dots' ? '' : polyline}${style === 'line' ? '' : dots}`;
  });
  return html`<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${label}">
${levels.map((value) => html`<path d="M${LEFT} ${y(value)}H${width - 8}" stroke="var(--faint)"/><text x="0" y="${y(value)}" dy="4">${value.toFixed(digits)}</text>\n`)}${marks.map((step) => html`<text x="${x(step)}" y="${height - 6}" text-anchor="${step === 0 ? 'start' : 'end'}">${step}</text>\n`)}${drawn}</svg>`;
}
