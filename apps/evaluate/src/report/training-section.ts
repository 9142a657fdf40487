/** Training and validation losses: Figure 7 of the MEAP paper. */

import { lossCurve, short } from '@meap/recipe-cli';
import { lineFigure, type Section, type Series } from '@meap/reports';
import type { EvaluatedModel } from './report-input.ts';

/** Points of a line; more cannot be distinguished. */
const MAX_POINTS = 200;

const TRAINING_NOTE =
  'Training losses of MEAP are higher because of its masked inputs; compare validation losses.';

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
  const blocks = (['train', 'validation'] as const).flatMap((kind) => {
    const series = lines(kind);
    if (series.length === 0) return [];
    const figure = lineFigure({
      name: `loss-${kind}`,
      title: `${kind === 'train' ? 'Training' : 'Validation'} loss, nats per token`,
      series,
      x: { label: 'tokens read in training', format: short },
      y: { label: 'nats per token' },
      data: ['model', 'tokens', 'loss'],
    });
    return kind === 'train' && series.length > 1 ? [figure, TRAINING_NOTE] : [figure];
  });
  return { heading: 'Training', blocks };
}
