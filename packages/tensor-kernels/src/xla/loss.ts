/** Head and loss over chunks of tokens, in a loop: the logits of one chunk exist at a time. */
import { stablehlo as hlo } from '@meap/pjrt';
import {
  along,
  argMax,
  counted,
  type Dot,
  type Floats,
  filled,
  filledWith,
  integers,
  isOne,
  type Lowerings,
  partAt,
  repeat,
  scaled,
  sumOfLast,
  withPart,
} from './lowering.ts';
import { batched } from './sharding.ts';

/** Most logits at once, 64 MiB. */
const CHUNK_LOGITS = 1 << 24;

interface Head {
  x: Floats;
  weight: Floats;
  targets: Floats;
  mask?: Floats;
}

/**
 * Losses `[N]`, for chunks of at most `chunkLogits`, then what `outputs` says: the gradients of x and weight, or the most
 * probable ids; last the squares of log Σ exp of the logits, if their factor `zLoss` in the gradients is above 0.
 */
export function crossEntropy(
  { x, weight, targets, mask }: Head,
  outputs: 'none' | 'x' | 'both' | 'ids',
  dot: Dot,
  { chunkLogits = CHUNK_LOGITS, zLoss = 0 }: { chunkLogits?: number; zLoss?: number } = {},
): hlo.Tensor[] {
  const [[N, C], [V]] = [x.shape, weight.shape];
  const { data = 1, fsdp = 1, tensor = 1 } = hlo.currentMesh();
  // Devices with rows of their own, each with its chunks.
  const S = N % (data * fsdp) === 0 ? data * fsdp : 1;
  const own = N / S;
  const count = Math.ceil((own * V) / tensor / chunkLogits) || 1;
  const rows = Math.ceil(own / count);
  const wantsGradients = outputs === 'x' || outputs === 'both';
  const isWeight = (i: number) => i === 2 && outputs === 'both';
  const initial: hlo.Tensor[] = [
    filled([S, own], 0),
    ...(outputs === 'ids' ? [filledWith([S, own], 0)] : []),
    ...(wantsGradients ? [filled([S, own, C], 0)] : []),
    ...(outputs === 'both' ? [filled([S, V, C], 0)] : []),
    ...(zLoss > 0 ? [filled([S, own], 0)] : []),
  ].map((value, i) => batched<hlo.Tensor>(value, isWeight(i) ? { 1: ['tensor'] } : {}));
  const chunks = Math.ceil(own / rows);
  const byDevice = <T extends hlo.Tensor>(tensor: T) =>
    batched(hlo.reshape(batched(tensor), [S, own, ...tensor.shape.slice(1)]) as T);
  const [x_SNC, targets_SN, mask_SN] = [byDevice(x), byDevice(integers(targets)), mask && byDevice(mask)];
  const head = dot.weight(weight);
  const results = repeat({ count: chunks }, initial, (i, [losses, ...others]) => {
    const [second, dWeight] = others;
    // The last chunk is moved back to have as many rows as the others; its first rows are then computed twice.
    const first = hlo.multiply(i, filledWith([], rows));
    const start = hlo.minimum(first, filledWith([], own - rows));
    const part = <T extends hlo.Tensor>(tensor: T) => partAt(tensor, 1, start, rows);
    const [x_SrC, target_Sr] = [part(x_SNC), part(targets_SN)];
    const logits = dot(x_SrC, head, { contracting: [[2], [1]] });
    const shape = logits.shape;
    const peak = hlo.reduce(logits, 'maximum', [2]);
    const exponentials = hlo.exponential(hlo.subtract(logits, along(peak, shape)));
    const total = sumOfLast(exponentials);
    const isTarget = isOne(target_Sr, V);
    const ofTarget = sumOfLast(hlo.select(isTarget, logits, filled(shape, 0)));
    const logSumExp = hlo.add(peak, hlo.log(total));
    const factor = mask_SN && part(mask_SN);
    const ofTokens = (into: hlo.Tensor, values: Floats) =>
      withPart(into as Floats, factor ? hlo.multiply(values, factor) : values, 1, start);
    const withLosses = ofTokens(losses, hlo.subtract(logSumExp, ofTarget));
    const squares =
      zLoss > 0 ? [ofTokens(others[others.length - 1], hlo.multiply(logSumExp, logSumExp))] : [];
    if (outputs === 'ids') return [withLosses, withPart(second, argMax(logits), 1, start)];
    if (!wantsGradients) return [withLosses, ...squares];
    const softmax = hlo.divide(exponentials, along(total, shape));
    const penalty = scaled(logSumExp, 2 * zLoss);
    const probabilities =
      zLoss > 0 ? hlo.multiply(softmax, along(hlo.add(penalty, filled(penalty.shape, 1)), shape)) : softmax;
    const difference = hlo.subtract(probabilities, hlo.convert(isTarget, 'float32'));
    const dLogits = factor ? hlo.multiply(difference, along(factor, shape)) : difference;
    const dx = withPart(second as Floats, dot(dLogits, head, { contracting: [[2], [0]] }), 1, start);
    if (outputs === 'x') return [withLosses, dx, ...squares];
    const row = hlo.add(counted([S, rows], 1), along(start, [S, rows]));
    const isOwn = hlo.compare('GE', row, along(first, [S, rows]));
    const once = own % rows === 0 ? dLogits : hlo.select(along(isOwn, shape), dLogits, filled(shape, 0));
    const ofWeight = dot(once, x_SrC, { batching: [[0], [0]], contracting: [[1], [1]] });
    return [withLosses, dx, chunks === 1 ? ofWeight : hlo.add(dWeight as Floats, ofWeight), ...squares];
  });
  return results.map((result, i) =>
    isWeight(i)
      ? hlo.reduce(result as Floats, 'add', [0])
      : batched(hlo.reshape(batched(result), [N, ...result.shape.slice(2)])),
  );
}

export const lossLowerings: Lowerings = {
  LinearCrossEntropy(inputs, { gradients, zLoss }, dot) {
    const [losses, ...others] = crossEntropy(inputs, gradients, dot, { zLoss });
    // The squares follow the losses.
    return zLoss > 0 ? [losses, others[others.length - 1], ...others.slice(0, -1)] : [losses, ...others];
  },
  ScoreTokens: (inputs, _, dot) => crossEntropy(inputs, 'ids', dot),
};
