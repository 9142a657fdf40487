/** `report.html` of a finished run: figures, loss curves, probes, answers before and after. */
import { join } from 'node:path';
import {
  configToYaml,
  html,
  lossCurve,
  medianThroughput,
  percent,
  probeCurves,
  type RunMetrics,
  readLastSamples,
  readMetrics,
  renderLossChart,
  renderProbes,
  type SampleLine,
  short,
  writeReportPage,
} from '@meap/recipe-cli';
import { type Baseline, readBaseline } from './baseline.ts';
import type { FinetuneConfig } from './resolve-config.ts';
import type { RunFacts } from './run-facts.ts';

/** Writes `report.html` of a run directory from its files. */
export function writeReport(out: string, config: FinetuneConfig, facts: RunFacts): void {
  const page = reportPage(config, facts, {
    metrics: readMetrics(out),
    baseline: readBaseline(out),
    samples: readLastSamples(out),
  });
  writeReportPage(join(out, 'report.html'), page);
}

interface Measured {
  metrics: RunMetrics;
  baseline: Baseline | undefined;
  samples: readonly SampleLine[];
}

/** Returns the page. */
export function reportPage(
  config: FinetuneConfig,
  facts: RunFacts,
  { metrics: { steps, validations, probes }, baseline, samples }: Measured,
) {
  const { masking } = config;
  const method = masking.ratio > 0 ? `MEAP, ${percent(masking.ratio)} of long answers masked` : 'NTP';
  const tuned = config.lora ? `LoRA of rank ${config.lora.rank}` : 'full fine-tuning';
  const [answers, masked] = [answerCurve, maskedCurve].map((curve) => curve(baseline, validations));
  const chart = renderLossChart(
    [
      { name: 'training', points: lossCurve(steps, 300), style: 'line', color: 'first' },
      { name: 'held-out answers', points: answers, style: 'dots', color: 'second' },
      { name: 'masked tokens of held-out answers', points: masked, style: 'dots', color: 'third' },
    ],
    'nats per token over steps, step 0 before training.',
  );
  const probed = probeCurves(probes);
  const samplesHtml = samples.map(({ prompt, text }, i) => {
    const before = baseline?.samples[i]?.prompt === prompt ? baseline.samples[i].text : undefined;
    const row = (name: string, value: string) =>
      html`<p>${name}</p>\n<blockquote>${value || html`<i>nothing</i>`}</blockquote>\n`;
    return html`<h3>${prompt}</h3>\n${before === undefined ? '' : row('Before', before)}${row('After', text)}`;
  });
  return {
    title: `${short(facts.parameters)} parameters fine-tuned with ${method}, ${tuned}`,
    figures: figures(config, facts, { steps, validations }, baseline),
    sections: [
      { heading: 'Loss', body: chart },
      ...(probed.length > 0 ? [{ heading: 'Probes', body: renderProbes(probed) }] : []),
      {
        heading: 'Answers to held-out questions',
        body: samplesHtml.length > 0 ? html`${samplesHtml}` : html`<p>None.</p>`,
      },
      { heading: 'Configuration', body: html`<pre>${configToYaml(config)}</pre>` },
    ],
  };
}

/** Returns the losses of held-out answers, starting before training. */
export function answerCurve(baseline: Baseline | undefined, validations: RunMetrics['validations']) {
  const first = baseline ? [{ step: 0, loss: baseline.valLoss }] : [];
  return [...first, ...validations.map(({ step, valLoss }) => ({ step, loss: valLoss }))];
}

/** Returns the losses of masked tokens, starting before training; empty without masks. */
export function maskedCurve(baseline: Baseline | undefined, validations: RunMetrics['validations']) {
  const first = baseline?.maskedLoss === undefined ? [] : [{ step: 0, loss: baseline.maskedLoss }];
  const rest = validations.flatMap(({ step, parts }) =>
    parts?.masked === undefined ? [] : [{ step, loss: parts.masked }],
  );
  return [...first, ...rest];
}

/** Returns the first and last loss of a curve. */
export function changeOf(curve: readonly { loss: number }[]): string {
  return curve.length === 0 ? 'none' : `${curve[0].loss.toFixed(3)} → ${curve.at(-1)!.loss.toFixed(3)}`;
}

function figures(
  { masking }: FinetuneConfig,
  facts: RunFacts,
  { steps, validations }: Pick<RunMetrics, 'steps' | 'validations'>,
  baseline: Baseline | undefined,
): [string, string][] {
  const last = steps.at(-1);
  const { numCopies, numMasked } = facts.duplication;
  const masks =
    masking.ratio > 0
      ? `${masking.layout}, ${masking.loss}: ${numCopies.toLocaleString('en')} copies with ` +
        `${numMasked.toLocaleString('en')} masks in the first epoch`
      : 'none';
  return [
    ['Loss of held-out answers, nats per token', changeOf(answerCurve(baseline, validations))],
    ['Loss of masked tokens', changeOf(maskedCurve(baseline, validations))],
    ['Masking', masks],
    ['Chat template', `${facts.template.name}, answers end with ${facts.template.endOfAnswer}`],
    ['Conversations', `${facts.trainConversations} to train on, ${facts.validationConversations} held out`],
    ['Parameters', facts.parameters.toLocaleString('en')],
    ['Parameters trained', facts.trained.toLocaleString('en')],
    ['Steps', `${last?.step ?? 0}, ${Number(facts.epochs.toFixed(2))} epochs`],
    ['Tokens processed', (last?.tokens ?? 0).toLocaleString('en')],
    ['Tokens per second, median', Math.round(medianThroughput(steps)).toLocaleString('en')],
  ];
}
