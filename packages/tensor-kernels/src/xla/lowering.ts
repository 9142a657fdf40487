/** What lowerings of kernels to StableHLO share. */
import { stablehlo as hlo } from '@meap/pjrt';
import * as tf from '@tensorflow/tfjs-core';
import type { KernelSignatures } from '../kernel-signatures.ts';
import { gathered, storedSharding } from './sharding.ts';

export type Floats = hlo.Tensor<'float32'>;
export type Integers = hlo.Tensor<'int32'>;

/** A matrix product of float32 in the precision of the backend, summed in float32; gathers stored weights. */
export interface Dot {
  (a: Floats, b: Floats, dimensions: hlo.DotDimensions): Floats;
  /** A weight as products read it, for several of them. */
  weight(x: Floats): Floats;
  /** Whether the platform has fused attention in this precision: CUDA by cuDNN, in bfloat16. */
  readonly fusesAttention: boolean;
}

/**
 * A kernel as StableHLO: its results, from its inputs by name and its attributes. Inputs are typed as float32, also those
 * that TensorFlow.js promises to be integers or booleans.
 */
export type Lowering = (
  inputs: Readonly<Record<string, Floats>>,
  attributes: never,
  dot: Dot,
) => hlo.Tensor | readonly hlo.Tensor[];

/** Lowerings of this package's kernels. */
export type Lowerings = {
  readonly [Name in keyof KernelSignatures]?: (
    inputs: { readonly [Input in keyof KernelSignatures[Name]['inputs']]: Floats },
    attributes: KernelSignatures[Name]['attrs'],
    dot: Dot,
  ) => hlo.Tensor | readonly hlo.Tensor[];
};

/**
 * Products with inputs rounded to bfloat16, or of float32 without rounding.
 *
 * @param platform that of PJRT, such as `cuda`
 */
export function dotOf(precision: string, platform: string): Dot {
  const isRounded = precision === 'bfloat16';
  const round = (x: Floats) =>
    isRounded && x.type === 'float32' ? (hlo.convert(x, 'bfloat16') as hlo.Tensor as Floats) : x;
  const weight = (x: Floats) => gathered(round(x), x);
  const dot = (a: Floats, b: Floats, dimensions: hlo.DotDimensions) => {
    let [left, right] = [round(a), round(b)];
    // Over the outputs of a weight: that of the backward pass, which gathers it again rather than keep it since the forward.
    if (storedSharding(b) && dimensions.contracting[1][0] === 0) {
      [left, right] = hlo.optimizationBarrier([left, right]) as [Floats, Floats];
    }
    const operands = [gathered(left, a), gathered(right, b)] as const;
    return hlo.dotGeneral(...operands, dimensions, 'float32', isRounded ? undefined : 'HIGHEST');
  };
  return Object.assign(dot, { weight, fusesAttention: isRounded && platform === 'cuda' });
}

/** A tensor that TensorFlow.js promises to be int32. */
export const integers = (x: hlo.Tensor) => x as Integers;

/** One number in a shape. */
export const filled = (shape: readonly number[], value: number) => hlo.constant('float32', value, shape);
export const filledWith = (shape: readonly number[], value: number) => hlo.constant('int32', value, shape);

/** Repeats a tensor along leading dimensions, and along those of length 1, as TensorFlow.js broadcasts. */
export function broadcast<T extends hlo.Tensor>(x: T, shape: readonly number[]): T {
  if (`${x.shape}` === `${shape}`) return x;
  const first = shape.length - x.shape.length;
  return hlo.broadcastInDim(
    x,
    shape,
    x.shape.map((_, i) => first + i),
  ) as T;
}

/** Repeats a tensor that lacks the last dimensions of `shape`. */
export function along<T extends hlo.Tensor>(x: T, shape: readonly number[]): T {
  return hlo.broadcastInDim(
    x,
    shape,
    x.shape.map((_, i) => i),
  ) as T;
}

/** Adds, multiplies or otherwise combines tensors of shapes that broadcast. */
export function broadcasting<R extends hlo.Tensor>(
  op: (a: never, b: never) => R,
): (a: hlo.Tensor, b: hlo.Tensor) => R {
  return (a, b) => {
    const shape = tf.broadcast_util.assertAndGetBroadcastShape([...a.shape], [...b.shape]);
    return op(broadcast(a, shape) as never, broadcast(b, shape) as never);
  };
}

/** x · factor. */
export const scaled = (x: Floats, factor: number) => hlo.multiply(x, filled(x.shape, factor));

/** Leading dimensions folded into rows. */
export function asRows(x: Floats): Floats {
  const columns = x.shape[x.shape.length - 1];
  return hlo.reshape(x, [tf.util.sizeFromShape(x.shape.slice(0, -1)), columns]);
}

/** The numbers of positions along a dimension. */
export const counted = (shape: readonly number[], dimension: number) => hlo.iota('int32', shape, dimension);

/** The sum over the last dimension. */
export const sumOfLast = (x: Floats) => hlo.reduce(x, 'add', [x.shape.length - 1]);

/** `[...shape, length]` booleans: one of `length`, chosen by an id. */
export function isOne(ids: Integers, length: number): hlo.Tensor<'bool'> {
  const shape = [...ids.shape, length];
  return hlo.compare('EQ', counted(shape, shape.length - 1), along(ids, shape));
}

/** The position of the largest number along the last dimension, the first of equals. */
export function argMax(x: Floats): Integers {
  const last = x.shape.length - 1;
  const isLargest = hlo.compare('EQ', x, along(hlo.reduce(x, 'maximum', [last]), x.shape));
  const none = filledWith(x.shape, x.shape[last] - 1);
  return hlo.reduce(hlo.select(isLargest, counted(x.shape, last), none), 'minimum', [last]);
}

/**
 * Calls `body` for the numbers from `first` up to, but without, `end`; a loop on the device unless `count` is 1.
 *
 * @param count the number of rounds if both limits are the largest
 */
export function repeat(
  limits: { count: number; first?: Integers; end?: Integers },
  initial: readonly hlo.Tensor[],
  body: (i: Integers, values: readonly hlo.Tensor[]) => readonly hlo.Tensor[],
): readonly hlo.Tensor[] {
  const { count, first = filledWith([], 0), end } = limits;
  if (count === 1) return body(filledWith([], 0), initial);
  const [, ...last] = hlo.whileLoop(
    [first, ...initial] as hlo.Tensor[],
    (i) => hlo.compare('LT', integers(i), end ?? filledWith([], count)),
    (i, ...values) => [hlo.add(integers(i), filledWith([], 1)), ...body(integers(i), values)],
  );
  return last;
}

/** A part of a tensor along one dimension, from a computed position. */
export function partAt<T extends hlo.Tensor>(x: T, dimension: number, start: Integers, length: number): T {
  const starts = x.shape.map((_, i) => (i === dimension ? start : filledWith([], 0)));
  const sizes = x.shape.map((size, i) => (i === dimension ? length : size));
  return hlo.dynamicSlice(x, starts, sizes) as T;
}

/** Replaces a part of a tensor along one dimension. */
export function withPart<T extends hlo.Tensor>(x: T, part: T, dimension: number, start: Integers): T {
  const starts = x.shape.map((_, i) => (i === dimension ? start : filledWith([], 0)));
  return hlo.dynamicUpdateSlice(x, part as never, starts) as T;
}
