/** `report.html`: one self-contained page about a finished run, light or dark as the reader has it. */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { StepMetrics, ValidationMetrics } from '@meap/trainer';
import { percent, short } from './format.ts';
import { lossCurve, medianThroughput, readLastSamples, readMetrics, type SampleLine } from './metrics.ts';
import { configToYaml, type PretrainConfig } from './resolve-config.ts';
import type { RunFacts } from './run.ts';

/** Writes `report.html` into a run directory from the files that are there. */
export function writeReport(out: string, config: PretrainConfig, facts: RunFacts): void {
  const { steps, validations } = readMetrics(out);
  const path = join(out, 'report.html');
  writeFileSync(`${path}.partial`, renderReport(config, facts, { steps, validations }, readLastSamples(out)));
  renameSync(`${path}.partial`, path);
}

/** The page as a string. */
export function renderReport(
  config: PretrainConfig,
  facts: RunFacts,
  { steps, validations }: { steps: StepMetrics[]; validations: ValidationMetrics[] },
  samples: readonly SampleLine[],
): string {
  const rows = figures(config, facts, steps, validations)
    .map(([name, value]) => `<tr><th>${escapeHtml(name)}</th><td>${escapeHtml(value)}</td></tr>`)
    .join('\n');
  const texts = samples
    .map(({ prompt, text }) => `<blockquote><b>${escapeHtml(prompt)}</b>${escapeHtml(text)}</blockquote>`)
    .join('\n');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(titleOf(config, facts))}</title>
<style>
:root { --ink: #1d2433; --paper: #fff; --faint: #d9dde5; --train: #2f6fde; --validation: #d2571e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8f0; --paper: #14171e; --faint: #39404e; --train: #7aa8ff; --validation: #ff9a62; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 50rem;
  margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; }
th { text-align: left; font-weight: normal; padding-right: 2rem; }
td { font-variant-numeric: tabular-nums; }
tr { border-bottom: 1px solid var(--faint); }
svg { width: 100%; height: auto; }
svg text { fill: var(--ink); font-size: 12px; }
pre, blockquote { white-space: pre-wrap; overflow-wrap: anywhere; }
pre { border: 1px solid var(--faint); padding: 1rem; font-size: 13px; }
blockquote { border-left: 3px solid var(--train); margin-left: 0; padding-left: 1rem; }
</style>
</head>
<body>
<h1>${escapeHtml(titleOf(config, facts))}</h1>
<table>
${rows}
</table>
<h2>Loss</h2>
${renderCurve(steps, validations)}
<h2>Samples</h2>
${texts}
<h2>Configuration</h2>
<pre>${escapeHtml(configToYaml(config))}</pre>
</body>
</html>
`;
}

function titleOf({ masking }: PretrainConfig, { parameters }: RunFacts): string {
  const method = masking.ratio > 0 ? `MEAP, ${percent(masking.ratio)} of inputs masked` : 'NTP';
  return `LLaMA with ${short(parameters)} parameters, ${method}`;
}

function figures(
  { masking }: PretrainConfig,
  facts: RunFacts,
  steps: readonly StepMetrics[],
  validations: readonly ValidationMetrics[],
): [string, string][] {
  const last = steps.at(-1);
  const validation = validations.at(-1);
  const mfu = steps.map((step) => step.mfu ?? 0).sort((a, b) => a - b)[Math.floor(steps.length / 2)];
  return [
    ['Validation, bits per byte', validation?.bitsPerByte.toFixed(3) ?? 'none'],
    ['A unigram model of the same tokens, bits per byte', facts.unigramBitsPerByte.toFixed(3)],
    ['Validation loss, nats per token', validation?.valLoss.toFixed(3) ?? 'none'],
    ['Masking', masking.ratio > 0 ? `${masking.strategy}, ratio ${masking.ratio}` : 'none'],
    ['Parameters', facts.parameters.toLocaleString('en')],
    ['Steps', `${last?.step ?? 0}`],
    ['Tokens processed', (last?.tokens ?? 0).toLocaleString('en')],
    ['Tokens of the training split', facts.trainTokens.toLocaleString('en')],
    ['Tokens per second, median', Math.round(medianThroughput(steps)).toLocaleString('en')],
    ...(mfu ? [['Model FLOP utilisation, median', percent(mfu)] as [string, string]] : []),
  ];
}

const WIDTH = 760;
const HEIGHT = 320;
const LEFT = 44;
const BOTTOM = 28;

/** Training loss as a line, validation loss as dots, both in nats per token over steps. */
function renderCurve(steps: readonly StepMetrics[], validations: readonly ValidationMetrics[]): string {
  const curve = lossCurve(steps, 300);
  const values = [...curve.map(({ loss }) => loss), ...validations.map(({ valLoss }) => valLoss)];
  if (values.length === 0) return '<p>No steps yet.</p>';
  const lastStep = Math.max(1, curve.at(-1)?.step ?? 1, validations.at(-1)?.step ?? 1);
  const low = Math.min(...values);
  const high = Math.max(...values, low + 1e-3);
  const x = (step: number) => (LEFT + (step / lastStep) * (WIDTH - LEFT - 8)).toFixed(1);
  const y = (loss: number) => (8 + ((high - loss) / (high - low)) * (HEIGHT - BOTTOM - 8)).toFixed(1);
  const levels = [0, 1, 2, 3, 4].map((i) => low + ((high - low) * i) / 4);
  const marks = [0, 1, 2, 3, 4].map((i) => Math.round((lastStep * i) / 4));
  const points = curve.map(({ step, loss }) => `${x(step)},${y(loss)}`).join(' ');
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="Loss in nats per token over steps">
${levels.map((loss) => `<path d="M${LEFT} ${y(loss)}H${WIDTH - 8}" stroke="var(--faint)"/><text x="0" y="${y(loss)}" dy="4">${loss.toFixed(2)}</text>`).join('\n')}
${marks.map((step) => `<text x="${x(step)}" y="${HEIGHT - 6}" text-anchor="${step === 0 ? 'start' : 'end'}">${step}</text>`).join('\n')}
<polyline points="${points}" fill="none" stroke="var(--train)" stroke-width="1.5"/>
${validations.map(({ step, valLoss }) => `<circle cx="${x(step)}" cy="${y(valLoss)}" r="4" fill="var(--validation)"/>`).join('\n')}
</svg>
<p><span style="color: var(--train)">—</span> training, with masks; <span style="color: var(--validation)">●</span>
validation, without; nats per token over steps.</p>`;
}

function escapeHtml(text: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  return text.replace(/[&<>"]/g, (character) => entities[character]);
}
