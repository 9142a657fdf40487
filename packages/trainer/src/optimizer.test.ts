import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { type TinyBatch, tinyLoss } from '../fixtures/tiny-run.mjs';
import { accumulateGradients, clipping } from './gradients.ts';
import { adamWOptimizer, muonOptimizer } from './optimizer.ts';
import { referenceCosine } from './schedules.ts';

const fixture = JSON.parse(
  readFileSync(new URL('../fixtures/adamw_trajectory.json', import.meta.url), 'utf8'),
);
const shapes: Record<string, number[]> = {
  'embed.weight': [11, 6],
  'hidden.weight': [6, 6],
  'hidden.bias': [6],
  'head.weight': [6, 11],
};

beforeAll(async () => {
  await tf.setBackend('cpu');
});

function variables(values: Record<string, number[]>): Map<string, tf.Variable> {
  return new Map(Object.entries(values).map(([name, x]) => [name, tf.variable(tf.tensor(x, shapes[name]))]));
}

function largestDifference(got: tf.Tensor, expected: number[]): number {
  return Math.max(...Array.from(got.dataSync(), (x, i) => Math.abs(x - expected[i])));
}

describe('adamWOptimizer', () => {
  it('follows torch.optim.AdamW for 30 steps with accumulation, clipping, groups and the schedule', async () => {
    const { batches, microBatches, weightDecay, clipNorm, peak, minimum, warmupSteps, steps } = fixture;
    const parameters = variables(fixture.initial);
    const optimizer = adamWOptimizer({ weightDecay, groups: [{ pattern: /bias$/, weightDecay: 0 }] });
    const state = optimizer.init(parameters);
    const schedule = referenceCosine({ peak, minimum, warmupSteps, totalSteps: steps, microBatches });
    let index = 0;
    const source = (): TinyBatch => batches[index++];
    let clipped = 0;
    for (let step = 0; step < steps; step++) {
      const sums = await accumulateGradients({
        parameters,
        loss: tinyLoss(parameters),
        batches: source,
        step,
        microBatches,
      });
      if (!sums) throw new Error('not aborted');
      const { gradNorm, gradientScale } = clipping(sums, clipNorm);
      clipped += Number(gradNorm > clipNorm);
      expect(sums.loss / sums.count).toBeCloseTo(fixture.losses[step], 4);
      expect(gradNorm / fixture.gradNorms[step]).toBeCloseTo(1, 3);
      expect(schedule(step)).toBeCloseTo(fixture.rates[step], 14);
      const learningRate = schedule(step);
      optimizer.update(state, { parameters, gradients: sums.gradients, learningRate, gradientScale });
      tf.dispose([...sums.gradients.values()]);
    }
    expect(clipped).toBeGreaterThan(5);
    expect(clipped).toBeLessThan(steps);
    for (const [name, parameter] of parameters) {
      expect(largestDifference(parameter, fixture.final[name])).toBeLessThan(2e-5);
      for (const moment of ['exp_avg', 'exp_avg_sq']) {
        const tensor = state.tensors.get(`${moment}.${name}`)!;
        expect(largestDifference(tensor, fixture[moment][name])).toBeLessThan(1e-5);
      }
    }
    tf.dispose([...parameters.values(), ...state.tensors.values()]);
  });

  it('applies the weight decay and rate of the first matching group, and decays all others', () => {
    const parameters = new Map(
      ['a.norm', 'a.weight', 'b.weight'].map((name) => [name, tf.variable(tf.ones([1]))]),
    );
    const optimizer = adamWOptimizer({
      weightDecay: 0.5,
      groups: [
        { pattern: 'norm', weightDecay: 0 },
        { pattern: '^a', learningRateMultiplier: 2 },
      ],
    });
    const state = optimizer.init(parameters);
    const gradients = new Map([...parameters.keys()].map((name) => [name, tf.zeros([1])]));
    optimizer.update(state, { parameters, gradients, learningRate: 0.1, gradientScale: 1 });
    const values = [...parameters.values()].map((x) => x.dataSync()[0]);
    expect(values[0]).toBe(1);
    expect(values[1]).toBeCloseTo(1 - 0.2 * 0.5, 6);
    expect(values[2]).toBeCloseTo(1 - 0.1 * 0.5, 6);
    tf.dispose([...parameters.values(), ...state.tensors.values()]);
  });

  it('leaves a parameter without a gradient alone, decay included', () => {
    const parameters = new Map([['a', tf.variable(tf.ones([2]))]]);
    const optimizer = adamWOptimizer();
    const state = optimizer.init(parameters);
    optimizer.update(state, { parameters, gradients: new Map(), learningRate: 0.1, gradientScale: 1 });
    expect([...parameters.get('a')!.dataSync()]).toEqual([1, 1]);
    expect(state.step).toBe(1);
    tf.dispose([...parameters.values(), ...state.tensors.values()]);
  });

  it('refuses a pattern that matches nothing', () => {
    const parameters = new Map([['a.weight', tf.variable(tf.ones([2]))]]);
    expect(() => adamWOptimizer({ groups: [{ pattern: 'wieght' }] }).init(parameters)).toThrow(
      'group pattern wieght matches none of 1 parameters',
    );
    tf.dispose([...parameters.values()]);
  });
});

describe('muonOptimizer', () => {
  it('has AdamW for what its pattern does not match, and a buffer for each matrix', () => {
    const [parameters, alone] = [variables(fixture.initial), variables(fixture.initial)];
    const optimizer = muonOptimizer({ matrices: /^hidden\.weight$/, weightDecay: 0.1 });
    const adamW = adamWOptimizer({ weightDecay: 0.1 });
    const [state, other] = [optimizer.init(parameters), adamW.init(alone)];
    expect([...state.tensors.keys()].filter((name) => name.includes('hidden'))).toEqual([
      'momentum_buffer.hidden.weight',
      'exp_avg.hidden.bias',
      'exp_avg_sq.hidden.bias',
    ]);
    const gradients = new Map([...parameters].map(([name, x]) => [name, tf.square(x)]));
    const update = { gradients, learningRate: 0.1, gradientScale: 0.5 };
    optimizer.update(state, { parameters, ...update });
    adamW.update(other, { parameters: alone, ...update });
    expect([state.step, other.step]).toEqual([1, 1]);
    for (const [name, parameter] of parameters) {
      const difference = largestDifference(parameter, [...alone.get(name)!.dataSync()]);
      if (name === 'hidden.weight') expect(difference).toBeGreaterThan(0.01);
      else expect(difference).toBe(0);
    }
    tf.dispose([...gradients.values(), ...parameters.values(), ...alone.values()]);
    tf.dispose([...state.tensors.values(), ...other.tensors.values()]);
  });

  it('refuses a pattern that matches nothing, or what is not a matrix', () => {
    const parameters = variables(fixture.initial);
    const init = (matrices: RegExp) => muonOptimizer({ matrices }).init(parameters);
    expect(() => init(/wieght/)).toThrow('muonOptimizer: matrices /wieght/ match none of 4 parameters');
    expect(() => init(/hidden/)).toThrow(
      'muonOptimizer: hidden.bias matches /hidden/, got the shape [6], expected a matrix',
    );
    tf.dispose([...parameters.values()]);
  });
});
