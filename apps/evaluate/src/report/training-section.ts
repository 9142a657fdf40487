/** Training and validation losses: Figure 7 of the MEAP paper. */
import { lossCurve, short } from '@meap/recipe-cli';
import { lineChart, type Series } from './line-chart.ts';
import type { EvaluatedModel, Section } from './report-input.ts';
import { describeSeries, rangeOf } from './task-section.ts';

/** Points of a line; more cannot be distinguished. */
const MAX_POINTS = 200;

/** Draws losses over tokens, so that runs with different batch sizes are comparable. */
export function trainingSection(models: readonly EvaluatedModel[]): Section {
  const lines = (kind: 'train' | 'validation') =>
    models.flatMap(({ name, training }, model): Series[] => {
      if (!training) return [];
      const tokens = new Map(training.steps.map(({ step, tokens }) => [step, tokens]));
      const points =
        kind === 'train'
          ? lossCurve(training.steps, MAX_POINTS).map(({ step, loss }) => ({
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
        'Training losses of MEAP are higher because of its masked inputs; compare validation losses.',
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
        description: describeSeries(series, short),
        data: {
          columns: ['model', 'tokens', 'loss'],
          rows: series.flatMap(({ name, points }) => points.map(({ x, y }) => [name, x, y])),
        },
        draw: (width: number) =>
          lineChart(
            {
              series,
              x: { label: 'tokens read in training', format: short },
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
