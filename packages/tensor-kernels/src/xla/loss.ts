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
  const count = Math.ceil((N * V) / chunkLogits) || 1;
  const rows = Math.ceil(N / count);
  const wantsGradients = outputs === 'x' || outputs === 'both';
  const initial: hlo.Tensor[] = [
    filled([N], 0),
    ...(outputs === 'ids' ? [filledWith([N], 0)] : []),
    ...(wantsGradients ? [filled([N, C], 0)] : []),
    ...(outputs === 'both' ? [filled([V, C], 0)] : []),
  ];
  const chunks = Math.ceil(N / rows);
  return repeat({ count: chunks }, initial, (i, [losses, second, dWeight]) => {
    // The last chunk is moved back to have as many rows as the others; its first rows are then computed twice.
    const own = hlo.multiply(i, filledWith([], rows));
    const start = hlo.minimum(own, filledWith([], N - rows));
    const part = <T extends hlo.Tensor>(tensor: T) => partAt(tensor, 0, start, rows);
    const [x_rC, target_r] = [part(x), part(integers(targets))];
    const logits = dot(x_rC, weight, { contracting: [[1], [1]] });
    const shape = logits.shape;
    const peak = hlo.reduce(logits, 'maximum', [1]);
    const exponentials = hlo.exponential(hlo.subtract(logits, along(peak, shape)));
    const total = sumOfLast(exponentials);
    const isTarget = isOne(target_r, V);
    const ofTarget = sumOfLast(hlo.select(isTarget, logits, filled(shape, 0)));
    const loss = hlo.subtract(hlo.add(peak, hlo.log(total)), ofTarget);
    const factor = mask && part(mask);
    const first = withPart(losses as Floats, factor ? hlo.multiply(loss, factor) : loss, 0, start);
    if (outputs === 'ids') return [first, withPart(second, argMax(logits), 0, start)];
    if (!wantsGradients) return [first];
    const probabilities = hlo.divide(exponentials, along(total, shape));
    const difference = hlo.subtract(probabilities, hlo.convert(isTarget, 'float32'));
    const dLogits = factor ? hlo.multiply(difference, along(factor, shape)) : difference;
    const dx = withPart(second as Floats, dot(dLogits, weight, { contracting: [[1], [0]] }), 0, start);
    if (outputs === 'x') return [first, dx];
    const isOwn = hlo.compare('GE', hlo.add(counted([rows], 0), along(start, [rows])), along(own, [rows]));
    const once = N % rows === 0 ? dLogits : hlo.select(along(isOwn, shape), dLogits, filled(shape, 0));
    const ofWeight = dot(once, x_rC, { contracting: [[0], [0]] });
    return [first, dx, chunks === 1 ? ofWeight : hlo.add(dWeight as Floats, ofWeight)];
  }) as hlo.Tensor[];
}

export const lossLowerings: Lowerings = {
  LinearCrossEntropy: (inputs, { gradients }, dot) => crossEntropy(inputs, gradients, dot),
  ScoreTokens: (inputs, _, dot) => crossEntropy(inputs, 'ids', dot),
};
