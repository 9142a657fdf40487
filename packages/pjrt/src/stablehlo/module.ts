import type { ElementType, TensorType } from '../element-types.ts';
import {
  currentRegion,
  describe,
  emit,
  fail,
  inRegion,
  Region,
  requireShape,
  Tensor,
  typeText,
} from './tensor.ts';

/** For each dimension of a tensor, the axes of the mesh over which it is split; `[]` does not split it. */
export type Sharding = readonly (readonly string[])[];

/** An argument of a program. */
export interface Argument<T extends ElementType = ElementType> extends TensorType<T> {
  /**
   * Lets an execution take the argument's memory: for the output at this position, which must have its type, or with
   * `true` for any purpose.
   */
  readonly donate?: boolean | number;
  readonly sharding?: Sharding;
}

/** What a program has beside arguments and results. */
export interface ModuleOptions {
  /** By default `main`. */
  readonly name?: string;
  /** Axes over which tensors are split and their sizes, such as `{ data: 4, tensor: 2 }` for 8 devices. */
  readonly mesh?: Readonly<Record<string, number>>;
  /** Shardings of the results; undefined leaves one to XLA. */
  readonly outputShardings?: readonly (Sharding | undefined)[];
}

/** The tensors that a program's body gets for its arguments. */
export type TensorsOf<A extends readonly Argument[]> = { [I in keyof A]: Tensor<A[I]['type']> };

/** Returns the type of a tensor. */
export function tensorType<const T extends ElementType>(
  type: T,
  shape: readonly number[] = [],
): TensorType<T> {
  requireShape('tensorType', shape);
  return { type, shape };
}

/**
 * Builds a program: the text of a StableHLO module with the function `main`.
 *
 * Shapes and types are those of the whole tensors, also if they are sharded: XLA partitions the program.
 *
 * @param args the types of its arguments, with what may be done with them
 * @param body calls ops on the arguments and returns the results
 * @throws PjrtError from ops and for arguments that do not fit
 */
export function buildModule<const A extends readonly Argument[]>(
  args: A,
  body: (...tensors: TensorsOf<A>) => Tensor | readonly Tensor[],
  options: ModuleOptions = {},
): string {
  const { name = 'main', mesh = {}, outputShardings = [] } = options;
  if (!/^[A-Za-z_][\w.]*$/.test(name))
    fail('buildModule', `name: got '${name}', expected letters and digits`);
  for (const [axis, size] of Object.entries(mesh)) {
    if (!/^\w+$/.test(axis) || !Number.isInteger(size) || size < 1) {
      fail('buildModule', `mesh: got ${axis}: ${size}, expected a name and a whole number of at least 1`);
    }
  }
  const region = new Region(undefined, mesh);
  const tensors = args.map((argument, i) => {
    requireShape(`buildModule: argument ${i}`, argument.shape);
    return new Tensor(argument, `%arg${i}`, region);
  });
  const returned = inRegion(region, () => body(...(tensors as unknown as TensorsOf<A>)));
  const results = returned instanceof Tensor ? [returned] : returned;
  results.forEach((result, i) => {
    if (!result.isVisibleFrom(region)) fail('buildModule', `result ${i} belongs to another function`);
  });
  const parameters = args.map((argument, i) => {
    const attributes = [
      ...donationAttributes(argument, i, results),
      ...shardingAttributes(`buildModule: argument ${i}`, argument, argument.sharding, mesh),
    ];
    return `%arg${i}: ${typeText(argument)}${braces(attributes)}`;
  });
  const outputs = results.map((result, i) => {
    const attributes = shardingAttributes(`buildModule: result ${i}`, result, outputShardings[i], mesh);
    return `${typeText(result)}${braces(attributes)}`;
  });
  const axes = Object.entries(mesh).map(([axis, size]) => `"${axis}"=${size}`);
  const numPartitions = Object.values(mesh).reduce((product, size) => product * size, 1);
  const values = results.length === 0 ? '' : ` ${names(results)} : ${results.map(typeText).join(', ')}`;
  return [
    `module @${name} attributes {mhlo.num_partitions = ${numPartitions} : i32, mhlo.num_replicas = 1 : i32} {`,
    ...(axes.length > 0 ? [`  sdy.mesh @mesh = <[${axes.join(', ')}]>`] : []),
    `  func.func public @main(${parameters.join(', ')}) -> (${outputs.join(', ')}) {`,
    ...region.lines.map((line) => `    ${line.replaceAll('\n', '\n    ')}`),
    `    return${values}`,
    '  }',
    '}',
    '',
  ].join('\n');
}

/** Returns the axes of the mesh of the module under construction, with their sizes. */
export function currentMesh(): Readonly<Record<string, number>> {
  return currentRegion('currentMesh').mesh;
}

/** Tells XLA how a tensor is split over the mesh of the module. */
export function shard<T extends ElementType>(x: Tensor<T>, sharding: Sharding): Tensor<T> {
  const text = shardingText('shard', x, sharding, currentRegion('shard').mesh);
  return emit('shard', [x], x, `sdy.sharding_constraint ${x.name} ${text} : ${typeText(x)}`);
}

function names(tensors: readonly Tensor[]): string {
  return tensors.map((one) => one.name).join(', ');
}

function braces(attributes: readonly string[]): string {
  return attributes.length > 0 ? ` {${attributes.join(', ')}}` : '';
}

function donationAttributes(argument: Argument, i: number, results: readonly Tensor[]): string[] {
  const { donate = false } = argument;
  if (typeof donate === 'boolean') return donate ? ['jax.buffer_donor = true'] : [];
  const result = results[donate];
  if (!result || typeText(result) !== typeText(argument)) {
    const got = result ? describe(result) : `of ${results.length} results`;
    fail(
      `buildModule: argument ${i}`,
      `donate: got result ${donate}, ${got}, expected ${describe(argument)}`,
    );
  }
  return [`tf.aliasing_output = ${donate} : i32`];
}

function shardingAttributes(
  operation: string,
  type: TensorType,
  sharding: Sharding | undefined,
  mesh: Readonly<Record<string, number>>,
): string[] {
  return sharding ? [`sdy.sharding = #sdy.sharding${shardingText(operation, type, sharding, mesh)}`] : [];
}

/** Writes a sharding; `operation` is named in errors. */
export function shardingText(
  operation: string,
  type: TensorType,
  sharding: Sharding,
  mesh: Readonly<Record<string, number>>,
): string {
  if (sharding.length !== type.shape.length) {
    fail(operation, `sharding: got ${sharding.length} dimensions for ${describe(type)}`);
  }
  const used = sharding.flat();
  const unknown = used.find((axis) => !Object.hasOwn(mesh, axis));
  if (unknown !== undefined) {
    fail(operation, `sharding: got the axis '${unknown}', expected one of ${Object.keys(mesh).join(', ')}`);
  }
  if (new Set(used).size !== used.length) fail(operation, `sharding: an axis is used twice, got ${used}`);
  sharding.forEach((axes, dimension) => {
    const parts = axes.reduce((product, axis) => product * mesh[axis], 1);
    if (type.shape[dimension] % parts !== 0) {
      fail(
        operation,
        `sharding: dimension ${dimension} of ${describe(type)} does not divide into ${parts} parts`,
      );
    }
  });
  return `<@mesh, [${sharding.map((axes) => `{${axes.map((axis) => `"${axis}"`).join(', ')}}`).join(', ')}]>`;
}
