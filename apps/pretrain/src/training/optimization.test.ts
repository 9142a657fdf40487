/** Optimizers, z-loss, QK-norm and schedule of a recipe beside PyTorch's and transformers', over 30 steps of a Qwen3. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadLlama } from '@meap/llama-model';
import { recipeOptions } from '@meap/recipe-cli';
import { setBackend } from '@meap/tensor-kernels';
import { TemporaryFolder } from '@meap/test-support';
import { type StepMetrics, train } from '@meap/trainer';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, describe, expect, it } from 'vitest';
import { resolveConfig } from '../resolve-config.ts';
import { tinyRecipe } from '../testing.ts';

interface Arm {
  losses: number[];
  zLosses?: number[];
  gradientNorms: number[];
  rates: number[];
  squares: Record<string, number>;
}

const fixtures = join(import.meta.dirname, '../../fixtures');
const {
  train: given,
  batches,
  arms,
} = JSON.parse(readFileSync(join(fixtures, 'optimization.json'), 'utf8')) as {
  train: Record<string, number | string>;
  batches: number[][][];
  arms: Record<string, Arm>;
};
const base = join(import.meta.dirname, '../../../../packages/llama-model/fixtures/architectures/qwen3');
const folder = new TemporaryFolder();
afterAll(() => folder.dispose());

const tokens = (rows: number[][]) => tf.tensor2d(rows, [rows.length, rows[0].length], 'int32');

/** Trains as a recipe with these keys does; returns its metrics, and the sum over squares of each weight. */
async function run(
  name: string,
  keys: object,
): Promise<{ metrics: StepMetrics[]; squares: Record<string, number> }> {
  const config = resolveConfig({
    ...tinyRecipe,
    train: { ...tinyRecipe.train, ...given, z_loss: 0, ...keys },
  });
  const model = await loadLlama(base);
  const metrics: StepMetrics[] = [];
  await train({
    ...recipeOptions(config, config.train.max_steps, 1),
    microBatches: 1,
    checkpoint: undefined,
    directory: folder.path(name),
    parameters: model.parameters,
    batches: ({ step }) => batches[step % batches.length],
    loss: (rows: number[][]) =>
      model.loss(
        tokens(rows.map((row) => row.slice(0, -1))),
        tokens(rows.map((row) => row.slice(1))),
        undefined,
        {
          zLoss: config.train.z_loss,
        },
      ),
    onEvent: (event) => {
      if (event.type === 'step') metrics.push(event);
    },
  });
  const squares: Record<string, number> = {};
  for (const [name, parameter] of model.parameters) {
    squares[name] = (parameter.dataSync() as Float32Array).reduce((sum, x) => sum + x * x, 0);
  }
  model.dispose();
  return { metrics, squares };
}

describe('30 steps of a recipe', () => {
  it.each([
    ['z-loss', { z_loss: given.z_loss }, { 'z-loss': 1e-4 }],
    // PyTorch's Muon multiplies in bfloat16; the other arm has its lines in float32.
    ['optim muon', { optim: 'muon' }, { muon: 1e-4, 'muon-bfloat16': 3e-3 }],
  ])('with %s have the losses, norms, rates and weights of PyTorch', async (name, keys, tolerances) => {
    await setBackend('native');
    const numTensors = tf.memory().numTensors;
    const { metrics, squares } = await run(name, keys);
    expect(metrics).toHaveLength(30);
    for (const [arm, tolerance] of Object.entries(tolerances)) {
      const wanted = arms[arm];
      for (const [step, { loss, zLoss, gradNorm, lr }] of metrics.entries()) {
        expect(Math.abs(loss! - wanted.losses[step])).toBeLessThan(tolerance);
        expect(Math.abs(gradNorm! / wanted.gradientNorms[step] - 1)).toBeLessThan(10 * tolerance);
        expect(lr).toBeCloseTo(wanted.rates[step], 12);
        if (!wanted.zLosses) expect(zLoss).toBeUndefined();
        else expect(Math.abs(zLoss! - wanted.zLosses[step])).toBeLessThan(tolerance);
      }
      for (const [parameter, square] of Object.entries(wanted.squares)) {
        expect(Math.abs(squares[parameter] / square - 1), parameter).toBeLessThan(3 * tolerance);
      }
    }
    // Neither the steps nor the z-losses leave a tensor.
    expect(tf.memory().numTensors).toBe(numTensors);
  });
});
