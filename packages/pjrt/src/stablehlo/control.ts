import type { ElementType, TensorType } from '../element-types.ts';
import { type Sharding, shardingText } from './module.ts';
import {
  currentRegion,
  describe,
  emitAll,
  fail,
  inRegion,
  list,
  Region,
  requireShape,
  signature,
  Tensor,
  typeText,
} from './tensor.ts';

/** Tensors with a list of element types. */
export type TensorsOfTypes<T extends readonly ElementType[]> = { readonly [I in keyof T]: Tensor<T[I]> };

/** Builds the region of an op from its values; returns its lines, ended by a return of its results. */
function buildRegion(
  operation: string,
  region: Region,
  names: readonly string[],
  types: readonly TensorType[],
  build: (...values: Tensor[]) => readonly Tensor[],
  dialect = 'stablehlo',
): { lines: string[]; results: readonly Tensor[] } {
  const values = types.map((type, i) => new Tensor(type, names[i], region));
  const results = inRegion(region, () => build(...values));
  for (const result of results) {
    if (!result.isVisibleFrom(region)) fail(operation, `${result.name} belongs to another function`);
  }
  const end = `${dialect}.return ${results.map((one) => one.name).join(', ')} : ${results.map(typeText).join(', ')}`;
  return { lines: [...region.lines, end].map((line) => `  ${line.replaceAll('\n', '\n  ')}`), results };
}

/**
 * Repeats `body` while `condition` is true.
 *
 * @param initial the values of the first round
 * @param condition from the values of a round to a boolean without dimensions
 * @param body from the values of a round to those of the next, of the same types
 * @returns the last values
 */
export function whileLoop<const T extends readonly ElementType[]>(
  initial: TensorsOfTypes<T>,
  condition: (...values: TensorsOfTypes<T>) => Tensor<'bool'>,
  body: (...values: TensorsOfTypes<T>) => NoInfer<TensorsOfTypes<T>>,
): TensorsOfTypes<T> {
  if (initial.length === 0) fail('whileLoop', 'got no values, expected at least one');
  const outer = currentRegion('whileLoop');
  const names = initial.map(() => outer.name());
  const test = buildRegion('whileLoop', new Region(outer), names, initial, (...values) => [
    condition(...(values as readonly Tensor[] as TensorsOfTypes<T>)),
  ]);
  const [decision] = test.results;
  if (typeText(decision) !== 'tensor<i1>') {
    fail('whileLoop', `the condition: got ${describe(decision)}, expected bool[]`);
  }
  const round = buildRegion('whileLoop', new Region(outer), names, initial, (...values) =>
    body(...(values as readonly Tensor[] as TensorsOfTypes<T>)),
  );
  const types = initial.map(typeText).join(', ');
  if (round.results.map(typeText).join(', ') !== types) {
    fail('whileLoop', `the body: got ${describe(...round.results)}, expected ${describe(...initial)}`);
  }
  const start = names.map((name, i) => `${name} = ${initial[i].name}`).join(', ');
  const text = [
    `stablehlo.while(${start}) : ${types}`,
    'cond {',
    ...test.lines,
    '} do {',
    ...round.lines,
    '}',
  ].join('\n');
  return emitAll('whileLoop', initial, initial, text) as readonly Tensor[] as TensorsOfTypes<T>;
}

/**
 * Computes parts of tensors on the devices that have them, without communication: what XLA cannot partition, such as a
 * custom call. Outside of a mesh it is the body alone.
 *
 * @param operands whole tensors, split before as `shardings` say
 * @param body from a device's parts to its parts of the results
 * @param resultShardings how the results are split
 * @returns the whole results
 */
export function onEachDevice(
  operands: readonly Tensor[],
  shardings: readonly Sharding[],
  resultShardings: readonly Sharding[],
  body: (...parts: Tensor[]) => readonly Tensor[],
): readonly Tensor[] {
  const outer = currentRegion('onEachDevice');
  const { mesh } = outer;
  if (Object.keys(mesh).length === 0) return body(...operands);
  if (shardings.length !== operands.length) {
    fail('onEachDevice', `got ${shardings.length} shardings for ${operands.length} operands`);
  }
  const text = (type: TensorType, sharding: Sharding) => shardingText('onEachDevice', type, sharding, mesh);
  const numParts = (axes: readonly string[]) => axes.reduce((product, axis) => product * mesh[axis], 1);
  const scaledBy = (
    { type, shape }: TensorType,
    sharding: Sharding,
    scale: (size: number, parts: number) => number,
  ) => ({
    type,
    shape: shape.map((size, i) => scale(size, numParts(sharding[i]))),
  });
  const inTexts = operands.map((one, i) => text(one, shardings[i]));
  const parts = operands.map((one, i) => scaledBy(one, shardings[i], (size, count) => size / count));
  const names = parts.map(() => outer.name());
  const { lines, results } = buildRegion('onEachDevice', new Region(outer, {}), names, parts, body, 'sdy');
  if (resultShardings.length !== results.length) {
    fail('onEachDevice', `got ${resultShardings.length} shardings for ${results.length} results`);
  }
  const wholes = results.map((one, i) => scaledBy(one, resultShardings[i], (size, count) => size * count));
  const attributes = [
    `in_shardings=[${inTexts.join(', ')}]`,
    `out_shardings=[${wholes.map((one, i) => text(one, resultShardings[i])).join(', ')}]`,
    `manual_axes={${Object.keys(mesh)
      .map((axis) => quote(axis))
      .join(', ')}}`,
  ].join(' ');
  const values = names.map((name, i) => `${name}: ${typeText(parts[i])}`).join(', ');
  const given = operands.map((one) => one.name).join(', ');
  return emitAll(
    'onEachDevice',
    operands,
    wholes,
    [
      `sdy.manual_computation(${given}) ${attributes} (${values}) {`,
      ...lines,
      `} : ${signature(operands, wholes)}`,
    ].join('\n'),
  );
}

/** Options of {@link customCall}. */
export interface CustomCallOptions {
  /** What the function reads, in its own format. */
  readonly backendConfig?: string;
  /** The version of XLA's interface that the function has; 2 unless it says otherwise. */
  readonly apiVersion?: number;
  /** Keeps the call although nothing uses its results. */
  readonly hasSideEffect?: boolean;
  /**
   * The order of dimensions in memory for each operand and result, the fastest first; by default row-major, the last
   * dimension first.
   */
  readonly operandLayouts?: readonly (readonly number[])[];
  readonly resultLayouts?: readonly (readonly number[])[];
}

/** Calls a function of the platform by name, such as `__cudnn$fmhaSoftmax` of CUDA. */
export function customCall(
  target: string,
  operands: readonly Tensor[],
  results: readonly TensorType[],
  options: CustomCallOptions = {},
): Tensor[] {
  const { backendConfig = '', apiVersion = 2, hasSideEffect = false } = options;
  for (const { shape } of results) requireShape('customCall', shape);
  const layouts = (
    name: string,
    own: readonly (readonly number[])[] | undefined,
    types: readonly TensorType[],
  ) => {
    const all = own ?? types.map(({ shape }) => shape.map((_, i) => shape.length - 1 - i));
    if (all.length !== types.length)
      fail('customCall', `${name}: got ${all.length}, expected ${types.length}`);
    const texts = all.map((one) =>
      one.length > 0 ? `dense<${list(one)}> : tensor<${one.length}xindex>` : 'dense<> : tensor<0xindex>',
    );
    return `${name} = [${texts.join(', ')}]`;
  };
  const attributes = [
    `api_version = ${apiVersion} : i32`,
    `backend_config = ${quote(backendConfig)}`,
    ...(hasSideEffect ? ['has_side_effect = true'] : []),
    layouts('operand_layouts', options.operandLayouts, operands),
    layouts('result_layouts', options.resultLayouts, results),
  ].join(', ');
  const names = operands.map((one) => one.name).join(', ');
  const text = `stablehlo.custom_call @${quote(target)}(${names}) {${attributes}} : ${signature(operands, results)}`;
  return emitAll('customCall', operands, results, text);
}

/** Keeps XLA from moving or merging computations across: values are as they were, computed before any is used. */
export function optimizationBarrier<const T extends readonly ElementType[]>(
  tensors: TensorsOfTypes<T>,
): TensorsOfTypes<T> {
  const names = tensors.map((one) => one.name).join(', ');
  const types = tensors.map(typeText).join(', ');
  const text = `stablehlo.optimization_barrier ${names} : ${types}`;
  return emitAll('optimizationBarrier', tensors, tensors, text) as readonly Tensor[] as TensorsOfTypes<T>;
}

/**
 * Random bits of Threefry, the same on every device.
 *
 * @param state uint64[2]: key and counter
 * @returns the next state, and the bits as unsigned integers
 */
export function threefryBits<T extends 'uint32' | 'uint64'>(
  state: Tensor<'uint64'>,
  type: T,
  shape: readonly number[],
): [state: Tensor<'uint64'>, bits: Tensor<T>] {
  requireShape('threefryBits', shape);
  if (typeText(state) !== 'tensor<2xui64>')
    fail('threefryBits', `got the state ${describe(state)}, expected uint64[2]`);
  const results = [state, { type, shape }];
  const text = `stablehlo.rng_bit_generator ${state.name}, algorithm = THREE_FRY : ${signature([state], results)}`;
  return emitAll('threefryBits', [state], results, text) as [Tensor<'uint64'>, Tensor<T>];
}

/** A string of MLIR. */
function quote(text: string): string {
  const escaped = [...Buffer.from(text)].map((byte) => {
    const isPlain = byte >= 0x20 && byte < 0x7f && byte !== 0x22 && byte !== 0x5c;
    return isPlain ? String.fromCharCode(byte) : `\\${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  });
  return `"${escaped.join('')}"`;
}
