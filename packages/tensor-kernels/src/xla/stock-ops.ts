/** TensorFlow.js's own kernels as StableHLO: those that models and training use. */
import { stablehlo as hlo } from '@meap/pjrt';
import * as tf from '@tensorflow/tfjs-core';
import {
  along,
  argMax,
  broadcast,
  broadcasting,
  type Dot,
  type Floats,
  filled,
  type Integers,
  integers,
  isOne,
  type Lowering,
  partAt,
  repeat,
  withPart,
} from './lowering.ts';

type Axes = { axis: number | number[]; keepDims?: boolean };
type Bools = hlo.Tensor<'bool'>;
type Inputs = Readonly<Record<string, Floats>>;

const { parseAxisParam, sizeFromShape } = tf.util;

/** A number for every element of a tensor, in its type. */
const like = (x: Floats, value: number) => hlo.constant(x.type, value, x.shape) as Floats;
const floats = (x: hlo.Tensor) => hlo.convert(x, 'float32');

/** Ops of one input, computed in float32. */
const ofFloat =
  (op: (x: Floats) => hlo.Tensor): Lowering =>
  ({ x }: Inputs) =>
    op(floats(x));
/** Ops of one input that keep its type. */
const unary =
  (op: (x: Floats) => hlo.Tensor): Lowering =>
  ({ x }: Inputs) =>
    op(x);
const binary = (op: (a: never, b: never) => hlo.Tensor): Lowering => {
  const both = broadcasting(op);
  return ({ a, b }: Inputs) => both(a, b);
};
const comparison = (name: hlo.Comparison) => binary((a: Floats, b: Floats) => hlo.compare(name, a, b));

const floorOf = (quotient: Floats, a: Floats, b: Floats): Floats => {
  if ((quotient.type as string) === 'float32') return hlo.floor(quotient);
  // The compiler truncates quotients of integers.
  const remainder = hlo.remainder(a, b);
  const isBelow = hlo.and(
    hlo.compare('NE', remainder, like(a, 0)),
    hlo.compare('NE', hlo.compare('LT', a, like(a, 0)), hlo.compare('LT', b, like(b, 0))),
  );
  return hlo.select(isBelow, hlo.subtract(quotient, like(a, 1)), quotient);
};
const floorDivide = (a: Floats, b: Floats) => floorOf(hlo.divide(a, b), a, b);

/** The remainder with the sign of b. */
const modulo = (a: Floats, b: Floats) => {
  const remainder = hlo.remainder(a, b);
  const isOther = hlo.and(
    hlo.compare('NE', remainder, like(a, 0)),
    hlo.compare('NE', hlo.compare('LT', remainder, like(a, 0)), hlo.compare('LT', b, like(b, 0))),
  );
  return hlo.select(isOther, hlo.add(remainder, b), remainder);
};

const reduction =
  (kind: hlo.Reduction): Lowering =>
  ({ x }: Inputs, { axis, keepDims }: Axes) =>
    kept(hlo.reduce(x, kind, parseAxisParam(axis, [...x.shape])), x, axis, keepDims);

/** A reduced tensor, with its reduced dimensions of length 1 if they are kept. */
function kept<T extends hlo.Tensor>(reduced: T, x: hlo.Tensor, axis: Axes['axis'], keepDims = false): T {
  if (!keepDims) return reduced;
  const axes = parseAxisParam(axis, [...x.shape]);
  return hlo.reshape(
    reduced,
    x.shape.map((size, i) => (axes.includes(i) ? 1 : size)),
  ) as T;
}

/** The position of the largest number along an axis. */
const argLargest = (x: Floats, axis: number | number[]): Integers => {
  const [own] = parseAxisParam(axis, [...x.shape]);
  const others = x.shape.map((_, i) => i).filter((i) => i !== own);
  return argMax(hlo.transpose(floats(x), [...others, own]));
};

/** Batches of matrix products; a shared matrix is not repeated. */
function batchMatMul({ a, b }: Inputs, { transposeA, transposeB }: tf.BatchMatMulAttrs, dot: Dot): Floats {
  const contracting = (x: Floats, isFirst: boolean, isTransposed: boolean) =>
    x.shape.length - (isFirst === isTransposed ? 2 : 1);
  const [batchA, batchB] = [a, b].map((x) => x.shape.slice(0, -2));
  const batch = tf.broadcast_util.assertAndGetBroadcastShape(batchA, batchB);
  const matrix = (x: Floats) => hlo.reshape(x, x.shape.slice(-2));
  const isMatrix = (shape: number[]) => sizeFromShape(shape) === 1;
  if (isMatrix(batchB) && (!transposeA || isMatrix(batchA))) {
    const left = isMatrix(batchA) ? matrix(a) : a;
    const [right] = [matrix(b)];
    const result = dot(left, right, {
      contracting: [[contracting(left, true, transposeA)], [transposeB ? 1 : 0]],
    });
    return hlo.reshape(result, [...batch, ...result.shape.slice(-2)]);
  }
  const [left, right] = [a, b].map((x) => broadcast(x, [...batch, ...x.shape.slice(-2)]));
  const dimensions = batch.map((_, i) => i);
  return dot(left, right, {
    batching: [dimensions, dimensions],
    contracting: [[contracting(left, true, transposeA)], [contracting(right, false, transposeB)]],
  });
}

/** Rows of a table at index tuples: tuples as row numbers of the table with its first dimensions folded. */
function scatterTarget(indices: Floats, shape: readonly number[]): { rows: Integers; folded: number[] } {
  const depth = indices.shape[indices.shape.length - 1];
  const count = sizeFromShape(indices.shape.slice(0, -1));
  const flat = hlo.reshape(integers(indices), [count, depth]);
  const rows = Array.from({ length: depth }, (_, i) => {
    const column = hlo.reshape(hlo.slice(flat, [0, i], [count, i + 1]), [count]);
    const stride = sizeFromShape(shape.slice(i + 1, depth));
    return hlo.multiply(column, hlo.constant('int32', stride, [count]));
  }).reduce((a, b) => hlo.add(a, b));
  return { rows, folded: [sizeFromShape(shape.slice(0, depth)), ...shape.slice(depth)] };
}

function part(x: Floats, begin: readonly number[], size: readonly number[]): Floats {
  return hlo.slice(
    x,
    begin,
    begin.map((start, i) => start + size[i]),
  );
}

/** Lowerings by the name of the kernel. */
export const stockLowerings: Readonly<Record<string, Lowering>> = {
  Abs: unary(hlo.abs),
  Ceil: unary(hlo.ceil),
  Cos: ofFloat(hlo.cosine),
  Exp: ofFloat(hlo.exponential),
  Expm1: ofFloat(hlo.exponentialMinusOne),
  Floor: unary(hlo.floor),
  IsFinite: ofFloat(hlo.isFinite),
  IsNan: ofFloat((x) => hlo.compare('NE', x, x)),
  Log: ofFloat(hlo.log),
  Log1p: ofFloat(hlo.logPlusOne),
  LogicalNot: unary((x) => hlo.not(x as hlo.Tensor as Bools)),
  Neg: unary(hlo.negate),
  Reciprocal: ofFloat((x) => hlo.divide(like(x, 1), x)),
  Relu: unary((x) => hlo.maximum(x, like(x, 0))),
  Round: unary(hlo.roundNearestEven),
  Rsqrt: ofFloat(hlo.rsqrt),
  Sigmoid: ofFloat(hlo.logistic),
  Sign: unary(hlo.sign),
  Sin: ofFloat(hlo.sine),
  Sqrt: ofFloat(hlo.sqrt),
  Square: unary((x) => hlo.multiply(x, x)),
  Step: ({ x }: Inputs, { alpha }: { alpha: number }) =>
    hlo.select(hlo.compare('GT', x, like(x, 0)), like(x, 1), hlo.multiply(x, like(x, alpha))),
  Tanh: ofFloat(hlo.tanh),

  Add: binary(hlo.add),
  AddN: (inputs: Inputs) => Object.values(inputs).reduce((a, b) => hlo.add(a, b)),
  Equal: comparison('EQ'),
  FloorDiv: binary(floorDivide),
  Greater: comparison('GT'),
  GreaterEqual: comparison('GE'),
  Less: comparison('LT'),
  LessEqual: comparison('LE'),
  LogicalAnd: binary(hlo.and),
  LogicalOr: binary(hlo.or),
  Maximum: binary(hlo.maximum),
  Minimum: binary(hlo.minimum),
  Mod: binary(modulo),
  Multiply: binary(hlo.multiply),
  NotEqual: comparison('NE'),
  Pow: binary(hlo.power),
  RealDiv: binary((a: Floats, b: Floats) => hlo.divide(floats(a), floats(b))),
  SquaredDifference: binary((a: Floats, b: Floats) => {
    const difference = hlo.subtract(a, b);
    return hlo.multiply(difference, difference);
  }),
  Sub: binary(hlo.subtract),

  All: reduction('and'),
  Any: reduction('or'),
  Max: reduction('maximum'),
  Mean({ x }: Inputs, { axis, keepDims }: Axes) {
    const axes = parseAxisParam(axis, [...x.shape]);
    const sum = hlo.reduce(floats(x), 'add', axes);
    const count = sizeFromShape(axes.map((i) => x.shape[i]));
    return kept(hlo.divide(sum, filled(sum.shape, count)), x, axis, keepDims);
  },
  Min: reduction('minimum'),
  Prod: reduction('multiply'),
  Sum: reduction('add'),
  ArgMax: ({ x }: Inputs, { axis }: Axes) => argLargest(x, axis),
  ArgMin: ({ x }: Inputs, { axis }: Axes) => argLargest(hlo.negate(x), axis),
  Softmax({ logits }: Inputs) {
    const last = logits.shape.length - 1;
    const peak = along(hlo.reduce(logits, 'maximum', [last]), logits.shape);
    const weights = hlo.exponential(hlo.subtract(logits, peak));
    return hlo.divide(weights, along(hlo.reduce(weights, 'add', [last]), logits.shape));
  },

  BatchMatMul: batchMatMul as Lowering,
  Cast: ({ x }: Inputs, { dtype }: { dtype: 'float32' | 'int32' | 'bool' }) => hlo.convert(x, dtype),
  ClipByValue: ({ x }: Inputs, limits: { clipValueMin: number; clipValueMax: number }) =>
    hlo.minimum(hlo.maximum(x, like(x, limits.clipValueMin)), like(x, limits.clipValueMax)),
  Concat(inputs: Inputs, { axis }: { axis: number }) {
    const all = Object.values(inputs);
    const [own] = parseAxisParam(axis, [...all[0].shape]);
    const filledOnes = all.filter(({ shape }) => sizeFromShape([...shape]) > 0);
    return filledOnes.length > 0 ? hlo.concatenate(filledOnes, own) : all[0];
  },
  Fill: (
    _: Inputs,
    { shape, value, dtype }: { shape: number[]; value: number; dtype: 'float32' | 'int32' | 'bool' },
  ) => hlo.constant(dtype ?? 'float32', value, shape),
  GatherV2({ x, indices }: Inputs, { axis, batchDims }: { axis: number; batchDims: number }) {
    if (batchDims > 0) throw new Error(`gather: got batchDims ${batchDims}, expected 0 on this backend`);
    const [own] = parseAxisParam(axis, [...x.shape]);
    const order = [own, ...x.shape.map((_, i) => i).filter((i) => i !== own)];
    const rows = hlo.gatherRows(hlo.transpose(x, order), integers(indices));
    // From [...indices, ...before, ...after] to [...before, ...indices, ...after].
    const ids = indices.shape.map((_, i) => i);
    const rest = x.shape.slice(1).map((_, i) => ids.length + i);
    return hlo.transpose(rows, [...rest.slice(0, own), ...ids, ...rest.slice(own)]);
  },
  OneHot({ indices }: Inputs, { depth, onValue, offValue, dtype }: tf.OneHotAttrs) {
    const chosen = isOne(integers(indices), depth);
    const type = (dtype ?? 'float32') as 'float32' | 'int32' | 'bool';
    const value = (number: number) => hlo.constant(type, number, chosen.shape);
    return hlo.select(chosen, value(onValue), value(offValue));
  },
  OnesLike: ({ x }: Inputs) => like(x, 1),
  Pack(inputs: Inputs, { axis }: { axis: number }) {
    const all = Object.values(inputs);
    const own = axis < 0 ? axis + all[0].shape.length + 1 : axis;
    const expanded = all.map((x) => hlo.reshape(x, [...x.shape.slice(0, own), 1, ...x.shape.slice(own)]));
    return hlo.concatenate(expanded, own);
  },
  PadV2({ x }: Inputs, { paddings, constantValue }: { paddings: [number, number][]; constantValue: number }) {
    const value = hlo.constant(x.type, constantValue) as Floats;
    const side = (i: 0 | 1) => paddings.map((counts) => counts[i]);
    return hlo.pad(x, value, side(0), side(1));
  },
  Select({ condition, t, e }: Inputs) {
    const chosen = condition as hlo.Tensor as Bools;
    const isByRow = condition.shape.length === 1 && t.shape.length > 1;
    return hlo.select(isByRow ? along(chosen, t.shape) : broadcast(chosen, t.shape), t, e);
  },
  Slice({ x }: Inputs, { begin, size }: { begin: number[]; size: number[] }) {
    const [starts, sizes] = tf.slice_util.parseSliceParams(
      { shape: [...x.shape] } as tf.TensorInfo as tf.Tensor,
      begin,
      size,
    );
    return part(x, starts, sizes);
  },
  SplitV({ x }: Inputs, { numOrSizeSplits, axis }: tf.SplitVAttrs) {
    const [own] = parseAxisParam(axis, [...x.shape]);
    const info = { shape: [...x.shape] } as tf.TensorInfo as tf.Tensor;
    let start = 0;
    return tf.backend_util.prepareSplitSize(info, numOrSizeSplits, own).map((length) => {
      const begin = x.shape.map((_, i) => (i === own ? start : 0));
      start += length;
      return part(
        x,
        begin,
        x.shape.map((size, i) => (i === own ? length : size)),
      );
    });
  },
  Range(
    _: Inputs,
    { start, stop, step, dtype }: Record<'start' | 'stop' | 'step', number> & { dtype?: 'float32' | 'int32' },
  ) {
    const length = Math.max(0, Math.ceil((stop - start) / step));
    const type = dtype ?? 'float32';
    const number = (value: number) => hlo.constant(type, value, [length]) as Floats;
    return hlo.add(hlo.multiply(hlo.iota(type, [length], 0) as Floats, number(step)), number(start));
  },
  ScatterNd({ indices, updates }: Inputs, { shape }: { shape: number[] }) {
    const { rows, folded } = scatterTarget(indices, shape);
    const target = hlo.constant(updates.type, 0, folded) as Floats;
    const added = hlo.scatterAddRows(target, rows, hlo.reshape(updates, [...rows.shape, ...folded.slice(1)]));
    return hlo.reshape(added, shape);
  },
  TensorScatterUpdate({ tensor, indices, updates }: Inputs) {
    const { rows, folded } = scatterTarget(indices, tensor.shape);
    const [count] = rows.shape;
    const rowsOf = hlo.reshape(updates, [count, ...folded.slice(1)]);
    // In order, so that the last of equal indices stays.
    const [result] = repeat({ count }, [hlo.reshape(tensor, folded)], (i, [target]) => {
      const row = hlo.reshape(partAt(rows, 0, i, 1), []);
      return [withPart(target, partAt(rowsOf, 0, i, 1), 0, row)];
    });
    return hlo.reshape(result, tensor.shape);
  },
  Tile({ x }: Inputs, { reps }: { reps: number[] }) {
    // [a, b] by [m, n]: repeat as [m, a, n, b], then fold.
    const shape = x.shape.flatMap((size, i) => [reps[i], size]);
    const repeated = hlo.broadcastInDim(
      x,
      shape,
      x.shape.map((_, i) => 2 * i + 1),
    );
    return hlo.reshape(
      repeated,
      x.shape.map((size, i) => size * reps[i]),
    );
  },
  Transpose: ({ x }: Inputs, { perm }: { perm: number[] }) => hlo.transpose(x, perm),
  Unpack({ value }: Inputs, { axis }: { axis: number }) {
    const own = axis < 0 ? axis + value.shape.length : axis;
    return Array.from({ length: value.shape[own] }, (_, i) => {
      const begin = value.shape.map((_, d) => (d === own ? i : 0));
      const piece = part(
        value,
        begin,
        value.shape.map((size, d) => (d === own ? 1 : size)),
      );
      return hlo.reshape(
        piece,
        value.shape.filter((_, d) => d !== own),
      );
    });
  },
  UnsortedSegmentSum({ x, segmentIds }: Inputs, { numSegments }: { numSegments: number }) {
    const row = x.shape.slice(segmentIds.shape.length);
    const target = hlo.constant(x.type, 0, [numSegments, ...row]) as Floats;
    return hlo.scatterAddRows(target, integers(segmentIds), x);
  },
  ZerosLike: ({ x }: Inputs) => like(x, 0),
};
