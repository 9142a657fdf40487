/** AdamW, sums of squares, and the scale of an update, which XLA fuses over all parameters. */
import { stablehlo as hlo } from '@meap/pjrt';
import type { KernelSignatures } from '../kernel-signatures.ts';
import { broadcast, type Floats, filled, type Lowerings, scaled } from './lowering.ts';
import { store, storedSharding } from './sharding.ts';

/** Differences from 1 are computed in float64: 1 − 0.999 loses digits in float32. */
export function adamWNumbers(attributes: KernelSignatures['AdamW']['attrs']): Float32Array {
  const { learningRate, beta1, beta2, epsilon, weightDecay, step, gradientScale } = attributes;
  return new Float32Array([
    1 - learningRate * weightDecay,
    learningRate / (1 - beta1 ** step),
    1 / Math.sqrt(1 - beta2 ** step),
    beta1,
    beta2,
    1 - beta1,
    1 - beta2,
    epsilon,
    gradientScale,
  ]);
}

/** The parameter and its moments after a step; unchanged where `scale` is 0. */
export function adamW(inputs: Readonly<Record<string, Floats>>): Floats[] {
  const { parameter, gradient, firstMoment, secondMoment, numbers, scale } = inputs;
  const { shape } = parameter;
  const [decay, stepSize, inverseRoot, beta1, beta2, rest1, rest2, epsilon, given] = Array.from(
    { length: 9 },
    (_, i) => broadcast(hlo.reshape(hlo.slice(numbers, [i], [i + 1]), []), shape),
  );
  const factor = scale ? broadcast(hlo.reshape(scale, []), shape) : given;
  const g = hlo.multiply(gradient, factor);
  const m = hlo.add(hlo.multiply(firstMoment, beta1), hlo.multiply(g, rest1));
  const v = hlo.add(hlo.multiply(secondMoment, beta2), hlo.multiply(hlo.multiply(g, g), rest2));
  const root = hlo.add(hlo.multiply(hlo.sqrt(v), inverseRoot), epsilon);
  const next = hlo.subtract(hlo.multiply(parameter, decay), hlo.divide(hlo.multiply(stepSize, m), root));
  if (!scale) return [next, m, v];
  const isSkipped = hlo.compare('EQ', factor, filled(shape, 0));
  return [
    hlo.select(isSkipped, parameter, next),
    hlo.select(isSkipped, firstMoment, m),
    hlo.select(isSkipped, secondMoment, v),
  ];
}

/**
 * The factor of a gradient from a step's losses and sums of squares; 0 where one of them is not finite or the previous
 * factor was 0. Squares are scaled by 2⁻⁶⁴, so that their sum is finite where they are.
 */
export function gradientScale(
  { values, previous, numbers }: Readonly<Record<string, Floats>>,
  { numLosses }: { numLosses: number },
): Floats {
  const [numTargets, clipNorm] = [0, 1].map((i) => hlo.slice(numbers, [i], [i + 1]));
  const [count] = values.shape;
  const areFinite = hlo.reduce(hlo.isFinite(values), 'and', [0]);
  const squares = scaled(hlo.slice(values, [numLosses], [count]), 2 ** -64);
  const sum = hlo.reshape(hlo.reduce(squares, 'add', [0]), [1]);
  const mean = hlo.divide(scaled(hlo.sqrt(sum), 2 ** 32), numTargets);
  const norm = hlo.add(mean, filled([1], 1e-6));
  const clip = hlo.select(hlo.compare('LE', norm, clipNorm), filled([1], 1), hlo.divide(clipNorm, norm));
  const isUsed = hlo.and(hlo.reshape(areFinite, [1]), hlo.compare('NE', previous, filled([1], 0)));
  return hlo.select(isUsed, hlo.divide(clip, numTargets), filled([1], 0));
}

export const optimizerLowerings: Lowerings = {
  OptimizationBarrier(inputs) {
    const all = Object.values<Floats>(inputs);
    return hlo.optimizationBarrier(all).map((x, i) => store(x, storedSharding(all[i])));
  },

  SumsOfSquares(inputs) {
    const sums = Object.values<Floats>(inputs).map((x) => {
      const all = x.shape.map((_, i) => i);
      return hlo.reshape(hlo.reduce(hlo.multiply(x, x), 'add', all), [1, 1]);
    });
    return hlo.concatenate(sums, 0);
  },
};
