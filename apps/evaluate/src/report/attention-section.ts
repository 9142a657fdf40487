/** Attention: Figure 6 and Tables 10 and 16 to 18 of the MEAP paper. */

import type { AttentionContrast, AttentionDifference, TTest } from '@meap/evals';
import { counted, type Html, html } from '@meap/recipe-cli';
import {
  type Block,
  type Cell,
  type Figure,
  fileName,
  format,
  formatDifference,
  formatProbability,
  lineFigure,
  type Section,
  type Series,
  type Table,
} from '@meap/reports';
import { barChart } from './bar-charts.ts';
import type { EvaluatedModel, ReportInput, ShownShares } from './report-input.ts';

const PERCENT = { isPercent: true, factor: 100 };
const NUMBER = { isPercent: false, factor: 1 };
/** Maximum number of displayed tokens. */
const MAX_TOKENS = 2000;

/** Renders the comparison of MEAP and NTP, the shares of segments, and the attention on each token. */
export function attentionSection(
  contrasts: NonNullable<ReportInput['contrasts']>,
  shares: readonly ShownShares[],
  models: readonly EvaluatedModel[],
): Section {
  const blocks: Block[] = contrasts.flatMap((contrast, index) => [
    contrastTable(contrast),
    ...layerFigures(contrast, contrasts.length > 1 ? (contrast.length ?? index + 1) : undefined),
  ]);
  if (shares.length > 0) {
    const texts = shares.flatMap((shown, i) => attendedText(shown, colorOf(shown.model, i, models)));
    blocks.push(sharesFigure(shares, models), ...texts);
  }
  return { heading: 'Attention', blocks };
}

function contrastTable(contrast: NonNullable<ReportInput['contrasts']>[number]): Table {
  const { ntp, meap, length, numSequences, scoreDecay, varianceIncrease } = contrast;
  const row = (name: Cell, { ntp, meap, change, paired, welch }: AttentionDifference) => [
    name,
    ntp.mean.toExponential(3),
    meap.mean.toExponential(3),
    { value: `${formatDifference(change, PERCENT)} %` },
    testCell(paired),
    testCell(welch),
  ];
  return {
    kind: 'table',
    caption: `Attention of ${meap} (MEAP) and ${ntp} (NTP), ${numSequences} sequences${length === undefined ? '' : ` of ${length} tokens`}`,
    columns: ['Statistic', 'NTP', 'MEAP', 'Change', 'Paired t', 'Welch’s t'],
    rows: [
      row({ value: 'Score at masked keys', note: 'change: decay' }, scoreDecay),
      row({ value: 'Variance over the other keys', note: 'change: increase' }, varianceIncrease),
    ],
    notes: [
      'The attention of a key is the mean over layers, heads and the queries that can see it. Decay is (NTP − MEAP) / NTP, ' +
        'increase is (MEAP − NTP) / NTP. The tests are over sequences: three or more, with some variance.',
      ...[describeDepths(contrast) ?? []].flat().map((note) => `${note}.`),
    ],
  };
}

/** Says that the models have different numbers of layers; undefined if they have the same. */
export function describeDepths({ ntp, meap, scoreDecay }: AttentionContrast): string | undefined {
  const [ofNtp, ofMeap] = [scoreDecay.ntp.layers.length, scoreDecay.meap.layers.length];
  if (ofNtp === ofMeap) return undefined;
  return (
    `${ntp} has ${counted(ofNtp, 'layer')} and ${meap} ${ofMeap}: differences may come from their depth, since the attention of a ` +
    'key is a mean over layers'
  );
}

function testCell(test: TTest | undefined): Cell | string {
  if (!test) return '–';
  return {
    value: `t = ${format(test.statistic, NUMBER)}`,
    note: `p ${test.pValue < 0.001 ? '' : '= '}${formatProbability(test.pValue)}`,
  };
}

function layerFigures(
  { ntp, meap, scoreDecay, varianceIncrease }: AttentionContrast,
  length: number | undefined,
): Figure[] {
  const which = length === undefined ? '' : `, ${length} tokens`;
  const statistics = [
    { name: 'attention-score', title: 'Attention at masked keys, by layer', of: scoreDecay },
    {
      name: 'attention-variance',
      title: 'Variance of attention over the other keys, by layer',
      of: varianceIncrease,
    },
  ];
  return statistics.flatMap(({ name, title, of }): Figure[] => {
    const series: Series[] = [
      { name: ntp, model: 0, points: of.ntp.layers.map((y, layer) => ({ x: layer + 1, y })) },
      { name: meap, model: 1, points: of.meap.layers.map((y, layer) => ({ x: layer + 1, y })) },
    ];
    if (series[0].points.length < 2) return [];
    const largest = Math.max(...series.flatMap(({ points }) => points.map(({ y }) => Math.abs(y))));
    // Attention over many keys is small, so the axis is scaled by a power of ten.
    const power = Math.floor(Math.log10(largest || 1));
    const scaled = series.map((line) => ({
      ...line,
      points: line.points.map(({ x, y }) => ({ x, y: y / 10 ** power })),
    }));
    return [
      lineFigure({
        name: length === undefined ? name : `${name}-${length}`,
        title: `${title}${which}`,
        series,
        drawn: scaled,
        x: { label: 'layer', ticks: scaled[0].points.map(({ x }) => x), format: String },
        y: { label: power === 0 ? 'mean' : `mean, 1e${power}` },
        data: ['model', 'layer', 'value'],
      }),
    ];
  });
}

/** Returns the index of a model's colour, the same in the whole report. */
function colorOf(model: string, index: number, models: readonly EvaluatedModel[]): number {
  const found = models.findIndex(({ name }) => name === model);
  return found < 0 ? index : found;
}

/** Draws the share of each segment, with a bar per model. */
function sharesFigure(shares: readonly ShownShares[], models: readonly EvaluatedModel[]): Figure {
  const bars = shares.flatMap(({ model, segments }, index) =>
    segments.map(({ name, share, standardError, perToken, numPrompts }) => ({
      group: name,
      name: model,
      model: colorOf(model, index, models),
      value: 100 * share,
      shown: `${format(share, PERCENT)} %`,
      row: [model, name, share, standardError, perToken, numPrompts],
    })),
  );
  return {
    kind: 'figure',
    name: 'attention-shares',
    title: `Attention of ${shares[0].queries === 'last' ? 'the last token' : 'all tokens'} of a prompt, %`,
    description: bars.map(({ group, name, shown }) => `${name}, ${group}: ${shown}.`).join(' '),
    data: {
      columns: ['model', 'segment', 'share', 'standard_error', 'share_per_token', 'prompts'],
      rows: bars.map(({ row }) => row),
    },
    draw: (width) => barChart({ bars }, width),
  };
}

/** Renders the tokens of the first prompt with bars of their attention, in the model's colour. */
function attendedText({ model, prompts, tokenTexts }: ShownShares, color: number): Html[] {
  const [texts, prompt] = [tokenTexts?.[0], prompts[0]];
  if (!texts || !prompt) return [];
  // Excludes the first token, which has most of the attention in many models.
  const highest = Math.max(...prompt.tokens.slice(1, MAX_TOKENS), Number.MIN_VALUE);
  const left = texts.length - MAX_TOKENS;
  const parts: Html[] = [];
  let start = 0;
  for (const { name, share, numTokens } of prompt.segments) {
    const tokens = texts.slice(start, Math.min(start + numTokens, MAX_TOKENS)).map((text, i) => {
      const ofToken = prompt.tokens[start + i] ?? 0;
      const height = Math.min(1, ofToken / highest).toFixed(2);
      return html`<span style="--share: ${height}" title="${format(ofToken, PERCENT)} %">${text}</span>`;
    });
    if (tokens.length > 0) {
      parts.push(html`<div><small>${name}, ${format(share, PERCENT)} %</small>\n<p>${tokens}</p></div>`);
    }
    start += numTokens;
  }
  return [
    html`<h3>Attention of ${model} on a prompt</h3>
<div class="attended" id="${fileName('text', model)}" style="--bar: var(--model-${color + 1})">
${parts}
</div>
<p class="note">The bar below a token shows its share of the attention; the full height is ${format(highest, PERCENT)} %.${
      left > 0 ? ` ${left} more tokens are not shown.` : ''
    }</p>`,
  ];
}
