import type { ElementType } from '../element-types.ts';
import { constant } from './elementwise.ts';
import {
  describe,
  emit,
  type FloatType,
  fail,
  isFloat,
  list,
  requireDimensions,
  signature,
  type Tensor,
} from './tensor.ts';

/** Which dimensions `dotGeneral` multiplies, in pairs of `a` and `b`. */
export interface DotDimensions {
  /** The dimensions over which products are summed. */
  readonly contracting: readonly [a: readonly number[], b: readonly number[]];
  /** The dimensions that are kept side by side; by default none. */
  readonly batching?: readonly [a: readonly number[], b: readonly number[]];
}

/** How exactly accelerators multiply float32: `HIGHEST` is float32, `DEFAULT` may use fewer bits. */
export type DotPrecision = 'DEFAULT' | 'HIGH' | 'HIGHEST';

/**
 * The product of two tensors. The result has the batching dimensions, then the others of `a`, then those of `b`.
 *
 * @param type the element type of the result: float32 for bfloat16 operands keeps the precision of the sums
 */
export function dotGeneral<T extends ElementType, R extends ElementType = T>(
  a: Tensor<T>,
  b: Tensor<NoInfer<T>>,
  { contracting, batching = [[], []] }: DotDimensions,
  type: R = a.type as ElementType as R,
  precision: DotPrecision = 'DEFAULT',
): Tensor<R> {
  if ((b.type as string) !== a.type)
    fail('dotGeneral', `got ${describe(a, b)}, expected equal element types`);
  [a, b].forEach((operand, side) => {
    requireDimensions('dotGeneral', [...batching[side], ...contracting[side]], operand.shape.length);
  });
  for (const [ofA, ofB] of [batching, contracting]) {
    if (`${ofA.map((i) => a.shape[i])}` === `${ofB.map((i) => b.shape[i])}`) continue;
    fail(
      'dotGeneral',
      `got [${ofA}] of ${describe(a)} and [${ofB}] of ${describe(b)}, expected equal lengths`,
    );
  }
  const free = (operand: Tensor, side: 0 | 1) =>
    operand.shape.filter((_, i) => !batching[side].includes(i) && !contracting[side].includes(i));
  const shape = [...batching[0].map((i) => a.shape[i]), ...free(a, 0), ...free(b, 1)];
  const pair = (name: string, [ofA, ofB]: readonly (readonly number[])[]) =>
    `, ${name} = ${list(ofA)} x ${list(ofB)}`;
  const dimensions =
    (batching[0].length > 0 ? pair('batching_dims', batching) : '') + pair('contracting_dims', contracting);
  const result = { type, shape };
  const text =
    `stablehlo.dot_general ${a.name}, ${b.name}${dimensions}, precision = [${precision}, ${precision}] : ` +
    signature([a, b], [result]);
  return emit('dotGeneral', [a, b], result, text);
}

/** The product of matrices `[M, K]` and `[K, N]`. */
export function matmul<T extends ElementType>(a: Tensor<T>, b: Tensor<NoInfer<T>>): Tensor<T> {
  if (a.shape.length !== 2 || b.shape.length !== 2)
    fail('matmul', `got ${describe(a, b)}, expected matrices`);
  return dotGeneral(a, b, { contracting: [[1], [0]] });
}

/** How `reduce` combines elements. */
export type Reduction = 'add' | 'multiply' | 'maximum' | 'minimum' | 'and' | 'or';

/** The value that changes nothing. */
const REDUCTIONS: Record<Reduction, (type: ElementType) => number | bigint | boolean> = {
  add: () => 0,
  multiply: () => 1,
  maximum: (type: ElementType) => (isFloat(type) ? Number.NEGATIVE_INFINITY : integerLimits(type)[0]),
  minimum: (type: ElementType) => (isFloat(type) ? Number.POSITIVE_INFINITY : integerLimits(type)[1]),
  and: (type: ElementType) => (type === 'bool' ? true : /^u/.test(type) ? integerLimits(type)[1] : -1),
  or: (type: ElementType) => (type === 'bool' ? false : 0),
};

function integerLimits(type: ElementType): [bigint, bigint] {
  const bits = BigInt(/\d+/.exec(type)?.[0] ?? 1);
  if (/^u|bool/.test(type)) return [0n, 2n ** bits - 1n];
  return [-(2n ** (bits - 1n)), 2n ** (bits - 1n) - 1n];
}

/**
 * Combines the elements along dimensions, which the result lacks. The order of a sum is the device's; bfloat16 should be
 * converted to float32 first.
 */
export function reduce<T extends ElementType>(
  x: Tensor<T>,
  reduction: Reduction,
  dimensions: readonly number[],
): Tensor<T> {
  requireDimensions('reduce', dimensions, x.shape.length);
  const isBitwise = reduction === 'and' || reduction === 'or';
  if (isBitwise && isFloat(x.type)) fail('reduce', `got ${describe(x)} for '${reduction}', expected bits`);
  const start = constant(x.type as ElementType, REDUCTIONS[reduction](x.type));
  const result = { type: x.type, shape: x.shape.filter((_, i) => !dimensions.includes(i)) };
  const text =
    `stablehlo.reduce(${x.name} init: ${start.name}) applies stablehlo.${reduction} across dimensions = ` +
    `${list(dimensions)} : ${signature([x, start], [result])}`;
  return emit('reduce', [x, start], result, text);
}

/** The sum along dimensions, in float32 for 16-bit floats. */
export function sum<T extends FloatType>(x: Tensor<T>, dimensions: readonly number[]): Tensor<T | 'float32'> {
  const isNarrow = x.type === 'float16' || x.type === 'bfloat16';
  const wide: Tensor<T | 'float32'> = isNarrow
    ? emit('sum', [x], { type: 'float32', shape: x.shape }, widen(x))
    : x;
  return reduce(wide, 'add', dimensions);
}

function widen(x: Tensor): string {
  return `stablehlo.convert ${x.name} : ${signature([x], [{ type: 'float32', shape: x.shape }])}`;
}
