import { type ElementType, sizeOf } from '../element-types.ts';
import {
  describe,
  emit,
  fail,
  type IntegerType,
  list,
  requireDimensions,
  requireShape,
  signature,
  type Tensor,
  typeText,
} from './tensor.ts';

/** The same elements in row-major order, in another shape. */
export function reshape<T extends ElementType>(x: Tensor<T>, shape: readonly number[]): Tensor<T> {
  requireShape('reshape', shape);
  if (sizeOf(shape) !== sizeOf(x.shape)) {
    fail('reshape', `got ${describe(x)} and the shape [${shape}], expected equally many elements`);
  }
  const result = { type: x.type, shape };
  return emit('reshape', [x], result, `stablehlo.reshape ${x.name} : ${signature([x], [result])}`);
}

/**
 * Repeats a tensor in a larger shape.
 *
 * @param dimensions for each dimension of `x` the one of the result, of the same length, or of any length where it is 1
 */
export function broadcastInDim<T extends ElementType>(
  x: Tensor<T>,
  shape: readonly number[],
  dimensions: readonly number[],
): Tensor<T> {
  requireShape('broadcastInDim', shape);
  requireDimensions('broadcastInDim', dimensions, shape.length);
  const fits = x.shape.every((length, i) => length === 1 || length === shape[dimensions[i]]);
  if (dimensions.length !== x.shape.length || !fits) {
    fail(
      'broadcastInDim',
      `got ${describe(x)} for the dimensions [${dimensions}] of [${shape}], expected lengths equal to those, or 1`,
    );
  }
  const result = { type: x.type, shape };
  const text = `stablehlo.broadcast_in_dim ${x.name}, dims = ${list(dimensions)} : ${signature([x], [result])}`;
  return emit('broadcastInDim', [x], result, text);
}

/** Reorders dimensions: dimension i of the result is dimension `permutation[i]` of `x`. */
export function transpose<T extends ElementType>(x: Tensor<T>, permutation: readonly number[]): Tensor<T> {
  requireDimensions('transpose', permutation, x.shape.length);
  if (permutation.length !== x.shape.length) {
    fail(
      'transpose',
      `got the permutation [${permutation}] for ${describe(x)}, expected every dimension once`,
    );
  }
  const result = { type: x.type, shape: permutation.map((dimension) => x.shape[dimension]) };
  const text = `stablehlo.transpose ${x.name}, dims = ${list(permutation)} : ${signature([x], [result])}`;
  return emit('transpose', [x], result, text);
}

/**
 * Takes elements from `starts` up to, but without, `limits`.
 *
 * @param strides the distances of the elements, by default 1
 */
export function slice<T extends ElementType>(
  x: Tensor<T>,
  starts: readonly number[],
  limits: readonly number[],
  strides: readonly number[] = x.shape.map(() => 1),
): Tensor<T> {
  const isValid = x.shape.every(
    (length, i) =>
      Number.isInteger(starts[i]) &&
      starts[i] >= 0 &&
      starts[i] <= limits[i] &&
      limits[i] <= length &&
      strides[i] >= 1,
  );
  if (!isValid || [starts, limits, strides].some((one) => one.length !== x.shape.length)) {
    fail(
      'slice',
      `got [${starts}] to [${limits}] by [${strides}] of ${describe(x)}, expected ranges in its shape`,
    );
  }
  const shape = starts.map((start, i) => Math.ceil((limits[i] - start) / strides[i]));
  const result = { type: x.type, shape };
  const ranges = starts.map((start, i) => `${start}:${limits[i]}:${strides[i]}`).join(', ');
  return emit('slice', [x], result, `stablehlo.slice ${x.name} [${ranges}] : ${signature([x], [result])}`);
}

function requireStarts(operation: string, x: Tensor, starts: readonly Tensor<IntegerType>[]): void {
  const isValid = starts.every(
    ({ type, shape }) => /int/.test(type) && shape.length === 0 && type === starts[0].type,
  );
  if (isValid && starts.length === x.shape.length) return;
  fail(
    operation,
    `got the starts ${describe(...starts)} for ${describe(x)}, expected an integer a dimension`,
  );
}

/**
 * Takes a part that begins at computed positions.
 *
 * @param starts an integer for each dimension; they are moved so that the part is within `x`
 * @param sizes the shape of the part
 */
export function dynamicSlice<T extends ElementType>(
  x: Tensor<T>,
  starts: readonly Tensor<IntegerType>[],
  sizes: readonly number[],
): Tensor<T> {
  requireStarts('dynamicSlice', x, starts);
  requireShape('dynamicSlice', sizes);
  if (sizes.length !== x.shape.length || sizes.some((size, i) => size > x.shape[i])) {
    fail('dynamicSlice', `got the sizes [${sizes}] for ${describe(x)}, expected at most its shape`);
  }
  const result = { type: x.type, shape: sizes };
  const operands = [x, ...starts];
  const names = operands.map((one) => one.name).join(', ');
  const text = `stablehlo.dynamic_slice ${names}, sizes = ${list(sizes)} : ${signature(operands, [result])}`;
  return emit('dynamicSlice', operands, result, text);
}

/** Replaces the part of `x` that begins at computed positions, as in {@link dynamicSlice}. */
export function dynamicUpdateSlice<T extends ElementType>(
  x: Tensor<T>,
  update: Tensor<NoInfer<T>>,
  starts: readonly Tensor<IntegerType>[],
): Tensor<T> {
  requireStarts('dynamicUpdateSlice', x, starts);
  const fits = update.shape.length === x.shape.length && update.shape.every((size, i) => size <= x.shape[i]);
  if ((update.type as string) !== x.type || !fits) {
    fail(
      'dynamicUpdateSlice',
      `got the update ${describe(update)} for ${describe(x)}, expected a part of it`,
    );
  }
  const operands = [x, update, ...starts];
  const names = operands.map((one) => one.name).join(', ');
  return emit(
    'dynamicUpdateSlice',
    operands,
    x,
    `stablehlo.dynamic_update_slice ${names} : ${signature(operands, [x])}`,
  );
}

/** Joins tensors along one dimension. */
export function concatenate<T extends ElementType>(
  tensors: readonly Tensor<T>[],
  dimension: number,
): Tensor<T> {
  if (tensors.length === 0) fail('concatenate', 'got no tensor, expected at least one');
  const [first] = tensors;
  requireDimensions('concatenate', [dimension], first.shape.length);
  const other = ({ type, shape }: Tensor) =>
    `${type}[${shape.map((size, i) => (i === dimension ? '*' : size))}]`;
  const odd = tensors.find((one) => other(one) !== other(first));
  if (odd)
    fail('concatenate', `got ${describe(first, odd)}, expected equal shapes but for dimension ${dimension}`);
  const shape = first.shape.map((size, i) =>
    i === dimension ? tensors.reduce((sum, one) => sum + one.shape[dimension], 0) : size,
  );
  const result = { type: first.type, shape };
  const names = tensors.map((one) => one.name).join(', ');
  const text = `stablehlo.concatenate ${names}, dim = ${dimension} : ${signature(tensors, [result])}`;
  return emit('concatenate', tensors, result, text);
}

/** Adds `low` and `high` elements with a value before and after each dimension; negative counts remove elements. */
export function pad<T extends ElementType>(
  x: Tensor<T>,
  value: Tensor<NoInfer<T>>,
  low: readonly number[],
  high: readonly number[],
): Tensor<T> {
  if (value.shape.length > 0 || (value.type as string) !== x.type) {
    fail('pad', `got the value ${describe(value)}, expected ${x.type}[]`);
  }
  const shape = x.shape.map((length, i) => length + low[i] + high[i]);
  if (low.length !== shape.length || high.length !== shape.length) {
    fail('pad', `got [${low}] and [${high}] for ${describe(x)}, expected a count a dimension`);
  }
  requireShape('pad', shape);
  const result = { type: x.type, shape };
  const counts = `low = ${list(low)}, high = ${list(high)}, interior = ${list(shape.map(() => 0))}`;
  const text = `stablehlo.pad ${x.name}, ${value.name}, ${counts} : ${signature([x, value], [result])}`;
  return emit('pad', [x, value], result, text);
}

/** Reads rows of a table: `[N, …]` at the indices `[…I]` gives `[…I, …]`. Indices outside are moved to the nearest row. */
export function gatherRows<T extends ElementType>(table: Tensor<T>, indices: Tensor<IntegerType>): Tensor<T> {
  requireRows('gatherRows', table, indices);
  const row = table.shape.slice(1);
  const rank = indices.shape.length;
  const result = { type: table.type, shape: [...indices.shape, ...row] };
  const numbers =
    `#stablehlo.gather<offset_dims = ${list(row.map((_, i) => rank + i))}, collapsed_slice_dims = [0], ` +
    `start_index_map = [0], index_vector_dim = ${rank}>`;
  const sizes = `array<i64: ${[1, ...row].join(', ')}>`;
  const attributes = `<{dimension_numbers = ${numbers}, indices_are_sorted = false, slice_sizes = ${sizes}}>`;
  const types = signature([table, indices], [result]);
  const text = `"stablehlo.gather"(${table.name}, ${indices.name}) ${attributes} : ${types}`;
  return emit('gatherRows', [table, indices], result, text);
}

/**
 * Adds rows to those of a table: the updates `[…I, …]` at the indices `[…I]`, which may repeat. Updates of indices
 * outside are left out.
 */
export function scatterAddRows<T extends ElementType>(
  table: Tensor<T>,
  indices: Tensor<IntegerType>,
  updates: Tensor<NoInfer<T>>,
): Tensor<T> {
  requireRows('scatterAddRows', table, indices);
  const row = table.shape.slice(1);
  const rank = indices.shape.length;
  const expected = { type: table.type, shape: [...indices.shape, ...row] };
  if (typeText(updates) !== typeText(expected)) {
    fail('scatterAddRows', `got the updates ${describe(updates)}, expected ${describe(expected)}`);
  }
  const numbers =
    `#stablehlo.scatter<update_window_dims = ${list(row.map((_, i) => rank + i))}, inserted_window_dims = [0], ` +
    `scatter_dims_to_operand_dims = [0], index_vector_dim = ${rank}>`;
  const scalar = typeText({ type: table.type, shape: [] });
  const types = signature([table, indices, updates], [table]);
  const text =
    `"stablehlo.scatter"(${table.name}, ${indices.name}, ${updates.name}) ` +
    `<{indices_are_sorted = false, scatter_dimension_numbers = ${numbers}, unique_indices = false}> ({\n` +
    `  ^bb0(%a: ${scalar}, %b: ${scalar}):\n` +
    `    %sum = stablehlo.add %a, %b : ${scalar}\n` +
    `    stablehlo.return %sum : ${scalar}\n}) : ${types}`;
  return emit('scatterAddRows', [table, indices, updates], table, text);
}

function requireRows(operation: string, table: Tensor, indices: Tensor): void {
  if (table.shape.length > 0 && /int/.test(indices.type)) return;
  fail(
    operation,
    `got the table ${describe(table)} and indices ${describe(indices)}, expected rows and integers`,
  );
}
