/** Norms, rotary positions, activations, products, embedding and dropout; XLA fuses them with their neighbours. */
import { stablehlo as hlo } from '@meap/pjrt';
import {
  along,
  asRows,
  broadcast,
  type Dot,
  type Floats,
  filled,
  filledWith,
  type Integers,
  integers,
  type Lowerings,
  scaled,
  sumOfLast,
} from './lowering.ts';
import { batched, gathered, sharded, storedSharding } from './sharding.ts';

/** 1 / √(mean(x²) + ε) of each row, in x's shape. */
function inverseRms(x: Floats, epsilon: number): Floats {
  const squares = sumOfLast(hlo.multiply(x, x));
  const mean = scaled(squares, 1 / x.shape[x.shape.length - 1]);
  return along(hlo.rsqrt(hlo.add(mean, filled(mean.shape, epsilon))), x.shape);
}

/** op(a) · op(b) of matrices. */
function product(a: Floats, b: Floats, transposes: { transposeA: boolean; transposeB: boolean }, dot: Dot) {
  const { transposeA, transposeB } = transposes;
  return dot(a, b, { contracting: [[transposeA ? 0 : 1], [transposeB ? 1 : 0]] });
}

const logistic = (x: Floats) => hlo.logistic(x);
const multiply = (...factors: Floats[]) => factors.reduce((a, b) => hlo.multiply(a, b));

/** Rounds of Threefry-2x32 by key, threefry.ts: the bits `[rows, columns]` of a counter along the columns. */
function threefry(keys: Integers, columns: number): [hlo.Tensor<'uint32'>, hlo.Tensor<'uint32'>] {
  type Words = hlo.Tensor<'uint32'>;
  const [rows] = keys.shape;
  const shape = [rows, columns];
  const word = (value: number) => hlo.constant('uint32', value, shape);
  const key = (column: number): Words => {
    const part = hlo.reshape(hlo.slice(keys, [0, column], [rows, column + 1]), [rows]);
    return along(hlo.bitcastConvert(part, 'uint32'), shape);
  };
  const [key0, key1] = [key(0), key(1)];
  const schedule = [key0, key1, hlo.xor(hlo.xor(key0, key1), word(0x1bd11bda))];
  const rotate = (x: Words, bits: number) =>
    hlo.or(hlo.shiftLeft(x, word(bits)), hlo.shiftRightLogical(x, word(32 - bits)));
  let [a, b] = [hlo.add(hlo.iota('uint32', shape, 1), key0), key1];
  for (let group = 0; group < 5; group++) {
    for (const bits of group % 2 === 0 ? [13, 15, 26, 6] : [17, 29, 16, 24]) {
      a = hlo.add(a, b);
      b = hlo.xor(rotate(b, bits), a);
    }
    a = hlo.add(a, schedule[(group + 1) % 3]);
    b = hlo.add(b, hlo.add(schedule[(group + 2) % 3], word(group + 1)));
  }
  return [a, b];
}

/**
 * Zeroes elements whose 16 random bits are below a limit and scales the rest; bits as in dropout.ts.
 *
 * @param rowKeys int32 `[rows, 2]`
 */
export function dropout(
  { x, rowKeys }: Readonly<Record<string, Floats>>,
  { dropBelow }: { dropBelow: number },
): Floats {
  const [rows] = rowKeys.shape;
  const size = x.shape.reduce((product, length) => product * length, 1) / rows;
  const draws = Math.ceil(size / 4);
  const halves = threefry(integers(rowKeys), draws).flatMap((words) => {
    const constant = (value: number) => hlo.constant('uint32', value, [rows, draws]);
    return [hlo.and(words, constant(0xffff)), hlo.shiftRightLogical(words, constant(16))];
  });
  const bits = hlo.reshape(
    hlo.concatenate(
      halves.map((half) => hlo.reshape(half, [rows, draws, 1])),
      2,
    ),
    [rows, 4 * draws],
  );
  const own = hlo.reshape(hlo.slice(bits, [0, 0], [rows, size]), x.shape);
  const isKept = hlo.compare('GE', own, hlo.constant('uint32', dropBelow, x.shape));
  const kept = filled(x.shape, 2 ** 16 / (2 ** 16 - dropBelow));
  return hlo.multiply(x, hlo.select(isKept, kept, filled(x.shape, 0)));
}

export const layerLowerings: Lowerings = {
  RmsNorm: ({ x, weight }, { epsilon }) => multiply(x, inverseRms(x, epsilon), broadcast(weight, x.shape)),

  RmsNormGrad({ dy, x, weight, plus }, { epsilon }) {
    const scale = inverseRms(x, epsilon);
    const normed = hlo.multiply(x, scale);
    const weighted = hlo.multiply(dy, broadcast(weight, x.shape));
    const mean = scaled(sumOfLast(hlo.multiply(weighted, normed)), 1 / x.shape[x.shape.length - 1]);
    const dx = hlo.multiply(scale, hlo.subtract(weighted, hlo.multiply(normed, along(mean, x.shape))));
    const leading = x.shape.slice(0, -1).map((_, i) => i);
    return [plus ? hlo.add(dx, plus) : dx, hlo.reduce(hlo.multiply(dy, normed), 'add', leading)];
  },

  Product({ a, b, plus }, attributes, dot) {
    const [rows, matrix] = [asRows(a), asRows(b)];
    const folded = product(rows, matrix, attributes, dot);
    const columns = folded.shape[1];
    const shape = attributes.transposeA ? folded.shape : [...a.shape.slice(0, -1), columns];
    const result = hlo.reshape(folded, shape);
    const ofWeight = storedSharding(b)?.[attributes.transposeB ? 0 : 1];
    const last = ofWeight?.filter((axis) => axis === 'tensor') ?? [];
    const own = ofWeight ? batched(result, { [shape.length - 1]: last }) : result;
    return plus ? hlo.add(own, hlo.reshape(plus, shape)) : own;
  },

  RotaryEmbedding({ x, cos, sin }, { inverse }) {
    const [B, T, H, D] = x.shape;
    const half = (part: number) => hlo.slice(x, [0, 0, 0, (part * D) / 2], [B, T, H, ((part + 1) * D) / 2]);
    const table = (angles: Floats) =>
      hlo.broadcastInDim(angles, [B, T, H, D / 2], angles.shape.length === 3 ? [0, 1, 3] : [1, 3]);
    const [first, second] = [half(0), half(1)];
    const [c, s] = [table(cos), inverse ? hlo.negate(table(sin)) : table(sin)];
    const turned = [
      hlo.subtract(hlo.multiply(first, c), hlo.multiply(second, s)),
      hlo.add(hlo.multiply(second, c), hlo.multiply(first, s)),
    ];
    return hlo.concatenate(turned, 3);
  },

  SwiGlu: ({ gate, up }) => multiply(gate, logistic(gate), up),

  SwiGluGrad({ dy, gate, up }) {
    const sigmoid = logistic(gate);
    const one = filled(gate.shape, 1);
    const slope = hlo.add(one, hlo.multiply(gate, hlo.subtract(one, sigmoid)));
    return [multiply(dy, up, sigmoid, slope), multiply(dy, gate, sigmoid)];
  },

  // A row for an id outside the table, which only the device knows, is NaN, which the loss shows.
  Embedding({ ids, table }) {
    const indices = integers(ids);
    const rows = batched(hlo.gatherRows(gathered(table, table, []), batched(indices)));
    const isIn = hlo.and(
      hlo.compare('GE', indices, filledWith(ids.shape, 0)),
      hlo.compare('LT', indices, filledWith(ids.shape, table.shape[0])),
    );
    return hlo.select(along(isIn, rows.shape), rows, filled(rows.shape, Number.NaN));
  },

  EmbeddingGrad({ dy, ids }, { numRows }) {
    const columns = dy.shape[dy.shape.length - 1];
    const added = hlo.scatterAddRows(filled([numRows, columns], 0), batched(integers(ids)), batched(dy));
    // Each device adds its rows of the batch, then sums are taken over all.
    return sharded(added, [[], []]);
  },
};
