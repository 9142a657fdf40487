/** `report.html` of a finished run: figures, loss curve, probes, samples, configuration. */
import { join } from 'node:path';
import {
  configToYaml,
  html,
  lossCurve,
  medianThroughput,
  percent,
  probeCurves,
  type ReportPage,
  type RunMetrics,
  readLastSamples,
  readMetrics,
  renderLossChart,
  renderProbes,
  type SampleLine,
  short,
  writeReportPage,
} from '@meap/recipe-cli';
import type { StepMetrics, ValidationMetrics } from '@meap/trainer';
import type { PretrainConfig } from '../resolve-config.ts';
import { lastMaskedStep } from './objective.ts';
import type { RunFacts } from './run-facts.ts';

/** Writes `report.html` of a run directory from its files. */
export function writeReport(out: string, config: PretrainConfig, facts: RunFacts): void {
  const page = reportPage(config, facts, readMetrics(out), readLastSamples(out));
  writeReportPage(join(out, 'report.html'), page);
}

/** Returns the page. */
export function reportPage(
  config: PretrainConfig,
  facts: RunFacts,
  { steps, validations, probes }: RunMetrics,
  samples: readonly SampleLine[],
): ReportPage {
  const texts = samples.map(
    ({ prompt, text, reference }) =>
      html`<blockquote><b>${prompt}</b>${text}</blockquote>
${reference === undefined ? undefined : html`<p>The text itself goes on: ${reference}</p>\n`}`,
  );
  const validation = validations.map(({ step, valLoss }) => ({ step, loss: valLoss }));
  const chart = renderLossChart(
    [
      { name: 'training, with masks', points: lossCurve(steps, 300), style: 'line', color: 'first' },
      { name: 'validation, without', points: validation, style: 'dots', color: 'second' },
    ],
    'nats per token over steps.',
  );
  const probed = probeCurves(probes);
  return {
    title: titleOf(config, facts),
    figures: figures(config, facts, steps, validations),
    sections: [
      { heading: 'Loss', body: chart },
      ...(probed.length > 0 ? [{ heading: 'Probes', body: renderProbes(probed) }] : []),
      { heading: 'Samples', body: html`${texts}` },
      { heading: 'Configuration', body: html`<pre>${configToYaml(config)}</pre>` },
    ],
  };
}

function titleOf({ masking }: PretrainConfig, { parameters }: RunFacts): string {
  const share = `${percent(masking.ratio)} of inputs`;
  const masked = masking.replace_with === 'mask' ? `MEAP, ${share} masked` : `NTP, ${share} random tokens`;
  const method = masking.ratio > 0 ? masked : 'NTP';
  return `LLaMA with ${short(parameters)} parameters, ${method}`;
}

function describeMasking(config: PretrainConfig): string {
  const { strategy, ratio, replace_with } = config.masking;
  if (ratio === 0) return 'none';
  const last = lastMaskedStep(config);
  const until = last === undefined ? '' : `, until step ${last}`;
  return `${strategy}, ratio ${ratio}${replace_with === 'random' ? ', random tokens' : ''}${until}`;
}

function figures(
  config: PretrainConfig,
  facts: RunFacts,
  steps: readonly StepMetrics[],
  validations: readonly ValidationMetrics[],
): [string, string][] {
  const last = steps.at(-1);
  const validation = validations.at(-1);
  const mfu = steps.map((step) => step.mfu ?? 0).sort((a, b) => a - b)[Math.floor(steps.length / 2)];
  return [
    ['Validation, bits per byte', validation ? validation.bitsPerByte!.toFixed(3) : 'none'],
    ['A unigram model of the same tokens, bits per byte', facts.unigramBitsPerByte.toFixed(3)],
    ['Validation loss, nats per token', validation?.valLoss.toFixed(3) ?? 'none'],
    ['Masking', describeMasking(config)],
    ['Parameters', facts.parameters.toLocaleString('en')],
    ['Steps', `${last?.step ?? 0}`],
    ['Tokens processed', (last?.tokens ?? 0).toLocaleString('en')],
    ['Tokens of the training split', facts.trainTokens.toLocaleString('en')],
    ['Empty documents, left out', facts.documents.empty.toLocaleString('en')],
    [
      facts.documents.duplicates.oneIn > 1 ? 'Exact duplicates, estimated' : 'Exact duplicates, kept',
      facts.documents.duplicates.count.toLocaleString('en'),
    ],
    [
      `Documents that spell special tokens, ${config.data.parse_special_tokens ? 'parsed' : 'kept as text'}`,
      facts.documents.spellings.documents.toLocaleString('en'),
    ],
    ['Tokens per second, median', Math.round(medianThroughput(steps)).toLocaleString('en')],
    ...(mfu ? [['Model FLOP utilisation, median', percent(mfu)] as [string, string]] : []),
  ];
}
