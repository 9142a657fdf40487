/** AdamW, sums of squares, and the scale of an update, which XLA fuses over all parameters. */
import { stablehlo as hlo } from '@meap/pjrt';
import type { KernelSignatures } from '../kernel-signatures.ts';
import { NEWTON_SCHULZ } from '../muon.ts';
import { broadcast, counted, type Dot, type Floats, filled, type Lowerings, scaled } from './lowering.ts';
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

/** The arguments of {@link muon} that change from step to step; 1 − momentum is computed in float64. */
export function muonNumbers(attributes: KernelSignatures['Muon']['attrs']): Float32Array {
  const { momentum, decay, stepSize, gradientScale } = attributes;
  return new Float32Array([momentum, 1 - momentum, decay, stepSize, gradientScale]);
}

/** The matrix and its momentum buffer after a step of Muon; unchanged where `scale` is 0. */
export function muon(inputs: Readonly<Record<string, Floats>>, _: unknown, dot: Dot): Floats[] {
  const { parameter, gradient, momentumBuffer, numbers, scale } = inputs;
  const { shape } = parameter;
  const [momentum, rest, decay, stepSize, given] = Array.from({ length: 5 }, (_, i) =>
    broadcast(hlo.reshape(hlo.slice(numbers, [i], [i + 1]), []), shape),
  );
  const factor = scale ? broadcast(hlo.reshape(scale, []), shape) : given;
  const g = hlo.multiply(hlo.multiply(gradient, factor), rest);
  const average = hlo.add(hlo.multiply(momentumBuffer, momentum), g);
  const update = orthogonalized(hlo.add(hlo.multiply(average, momentum), g), dot);
  const next = hlo.subtract(hlo.multiply(parameter, decay), hlo.multiply(stepSize, update));
  if (!scale) return [next, average];
  const isSkipped = hlo.compare('EQ', factor, filled(shape, 0));
  return [hlo.select(isSkipped, parameter, next), hlo.select(isSkipped, momentumBuffer, average)];
}

/** The matrix with the singular vectors of `x` and singular values near 1, as in ../muon.ts. */
function orthogonalized(x: Floats, dot: Dot): Floats {
  const { a, b, c, steps, epsilon } = NEWTON_SCHULZ;
  const [M, N] = x.shape;
  const isTall = M > N;
  const side = isTall ? 0 : 1;
  const norm = hlo.sqrt(hlo.reduce(hlo.multiply(x, x), 'add', [0, 1]));
  let result = hlo.divide(x, broadcast(hlo.maximum(norm, filled([], epsilon)), x.shape));
  const square = [Math.min(M, N), Math.min(M, N)];
  const isDiagonal = hlo.compare('EQ', counted(square, 0), counted(square, 1));
  const diagonal = hlo.select(isDiagonal, filled(square, a), filled(square, 0));
  for (let step = 0; step < steps; step++) {
    const gram = dot(result, result, { contracting: [[side], [side]] });
    const squared = dot(gram, gram, { contracting: [[1], [0]] });
    const factor = hlo.add(diagonal, hlo.add(scaled(gram, b), scaled(squared, c)));
    const [left, right] = isTall ? [result, factor] : [factor, result];
    result = dot(left, right, { contracting: [[1], [0]] });
  }
  return result;
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
