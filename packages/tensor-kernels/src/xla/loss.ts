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

/** Losses `[N]`, for chunks of at most `chunkLogits`, then what `outputs` says: the gradients of x and weight, or the most probable ids. */
export function crossEntropy(
  { x, weight, targets, mask }: Head,
  outputs: 'none' | 'x' | 'both' | 'ids',
  dot: Dot,
  chunkLogits = CHUNK_LOGITS,
): hlo.Tensor[] {
  const [[N, C], [V]] = [x.shape, weight.shape];
  const { data = 1, fsdp = 1, tensor = 1 } = hlo.currentMesh();
  // Devices with rows of their own, each with its chunks.
  const S = N % (data * fsdp) === 0 ? data * fsdp : 1;
  const own = N / S;
  const count = Math.ceil((own * V) / tensor / chunkLogits) || 1;
  const rows = Math.ceil(own / count);
  const wantsGradients = outputs === 'x' || outputs === 'both';
  const initial: hlo.Tensor[] = [
    filled([S, own], 0),
    ...(outputs === 'ids' ? [filledWith([S, own], 0)] : []),
    ...(wantsGradients ? [filled([S, own, C], 0)] : []),
    ...(outputs === 'both' ? [filled([S, V, C], 0)] : []),
  ].map((value, i) => batched<hlo.Tensor>(value, i === 2 ? { 1: ['tensor'] } : {}));
  const chunks = Math.ceil(own / rows);
  const byDevice = <T extends hlo.Tensor>(tensor: T) =>
    batched(hlo.reshape(batched(tensor), [S, own, ...tensor.shape.slice(1)]) as T);
  const [x_SNC, targets_SN, mask_SN] = [byDevice(x), byDevice(integers(targets)), mask && byDevice(mask)];
  const head = dot.weight(weight);
  const results = repeat({ count: chunks }, initial, (i, [losses, second, dWeight]) => {
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
    const loss = hlo.subtract(hlo.add(peak, hlo.log(total)), ofTarget);
    const factor = mask_SN && part(mask_SN);
    const withLosses = withPart(losses as Floats, factor ? hlo.multiply(loss, factor) : loss, 1, start);
    if (outputs === 'ids') return [withLosses, withPart(second, argMax(logits), 1, start)];
    if (!wantsGradients) return [withLosses];
    const probabilities = hlo.divide(exponentials, along(total, shape));
    const difference = hlo.subtract(probabilities, hlo.convert(isTarget, 'float32'));
    const dLogits = factor ? hlo.multiply(difference, along(factor, shape)) : difference;
    const dx = withPart(second as Floats, dot(dLogits, head, { contracting: [[2], [0]] }), 1, start);
    if (outputs === 'x') return [withLosses, dx];
    const row = hlo.add(counted([S, rows], 1), along(start, [S, rows]));
    const isOwn = hlo.compare('GE', row, along(first, [S, rows]));
    const once = own % rows === 0 ? dLogits : hlo.select(along(isOwn, shape), dLogits, filled(shape, 0));
    const ofWeight = dot(once, x_SrC, { batching: [[0], [0]], contracting: [[1], [1]] });
    return [withLosses, dx, chunks === 1 ? ofWeight : hlo.add(dWeight as Floats, ofWeight)];
  });
  return results.map((result, i) =>
    i === 2
      ? hlo.reduce(result as Floats, 'add', [0])
      : batched(hlo.reshape(batched(result), [N, ...result.shape.slice(2)])),
  );
}

export const lossLowerings: Lowerings = {
  LinearCrossEntropy: (inputs, { gradients }, dot) => crossEntropy(inputs, gradients, dot),
  ScoreTokens: (inputs, _, dot) => crossEntropy(inputs, 'ids', dot),
};
