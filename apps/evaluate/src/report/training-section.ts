/** Losses of the runs that trained the models: Figure 7 of the MEAP paper. */
import { lossCurve } from '@meap/recipe-cli';
import { lineChart, type Series } from './line-chart.ts';
import type { EvaluatedModel, Section } from './report-input.ts';
import { describeSeries, rangeOf } from './task-section.ts';

/** Most points of a line: more are not to be seen. */
const MOST_POINTS = 200;

/** Training and validation losses over tokens, by which runs of different batches compare. */
export function trainingSection(models: readonly EvaluatedModel[]): Section {
  const lines = (kind: 'train' | 'validation') =>
    models.flatMap(({ name, training }, model): Series[] => {
      if (!training) return [];
      const tokens = new Map(training.steps.map(({ step, tokens }) => [step, tokens]));
      const points =
        kind === 'train'
          ? lossCurve(training.steps, MOST_POINTS).map(({ step, loss }) => ({
              x: tokens.get(step)!,
              y: loss,
            }))
          : training.validations.map(({ tokens, valLoss }) => ({ x: tokens, y: valLoss }));
      if (points.length === 0) return [];
      return [{ name, model, points, style: kind === 'train' && points.length > 20 ? 'line' : 'both' }];
    });
  const figures = (
    [
      [
        'train',
        'Training loss',
        'Masked inputs are harder to go on from: where MEAP stands against NTP, validation losses tell.',
      ],
      ['validation', 'Validation loss', undefined],
    ] as const
  ).flatMap(([kind, title, note]) => {
    const series = lines(kind);
    if (series.length === 0) return [];
    return [
      {
        kind: 'figure',
        name: `loss-${kind}`,
        title: `${title}, nats per token`,
        description: describeSeries(series, formatTokens),
        data: {
          columns: ['model', 'tokens', 'loss'],
          rows: series.flatMap(({ name, points }) => points.map(({ x, y }) => [name, x, y])),
        },
        draw: (width: number) =>
          lineChart(
            {
              series,
              x: { label: 'tokens read in training', format: formatTokens },
              y: { label: 'nats per token', domain: rangeOf(series) },
            },
            width,
          ),
      } as const,
      ...(note && series.length > 1 ? [note] : []),
    ];
  });
  return { heading: 'Training', blocks: figures };
}

function formatTokens(value: number): string {
  return value.toLocaleString('en', { notation: 'compact', maximumSignificantDigits: 3 });
}
