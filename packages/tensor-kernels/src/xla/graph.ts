/**
 * Recorded computations. Kernels record operations; a flush selects those that live tensors need, numbers them, and looks
 * up their program by structure. All numbers that the host gives are arguments, so that a step with another learning
 * rate or batch is the same program.
 */
import { type DeviceBuffer, type HostArray, stablehlo as hlo, type TensorType } from '@meap/pjrt';
import { type Mesh, meshAxes, type TensorSharding } from '../mesh.ts';
import type { Precision } from '../precision.ts';
import { type Dot, dotOf, type Lowering } from './lowering.ts';
import { store } from './sharding.ts';

/** An element type of TensorFlow.js and a shape; equal ones are one object. */
export interface ValueType extends TensorType<'float32' | 'int32' | 'bool'> {
  readonly id: number;
}

const types = new Map<string, ValueType>();

/** Returns the object of a type. */
export function typeOf(type: ValueType['type'], shape: readonly number[]): ValueType {
  const key = `${type} ${shape}`;
  const known = types.get(key);
  if (known) return known;
  const made = { id: types.size, type, shape: [...shape] };
  types.set(key, made);
  return made;
}

/** A tensor's parts, one on each device of the mesh. */
export type Shards = readonly DeviceBuffer[];

/** The value of a tensor: the result of a recorded operation, an array of the host, or buffers of the devices. */
export class Value {
  readonly type: ValueType;
  /** Until the operation has been executed. */
  operation: Operation | undefined;
  /** The position among the operation's results. */
  readonly position: number;
  /** Values that the host knows. */
  host: HostArray | undefined;
  /** The buffers that an execution or an upload gives. */
  buffer: Promise<Shards> | undefined;
  /** How the devices split it; undefined if each has all of it. */
  sharding: TensorSharding | undefined;
  /** Whether an array of the host travels with others in one transfer, instead of in a buffer of its own: numbers do. */
  readonly isPacked: boolean;

  private constructor(
    type: ValueType,
    operation: Operation | undefined,
    position: number,
    isPacked: boolean,
  ) {
    this.type = type;
    this.operation = operation;
    this.position = position;
    this.isPacked = isPacked;
  }

  static result(type: ValueType, operation: Operation, position: number): Value {
    return new Value(type, operation, position, false);
  }

  static ofHost(type: ValueType, host: HostArray, isPacked = host.length === 1): Value {
    const value = new Value(type, undefined, 0, isPacked);
    value.host = host;
    return value;
  }
}

/** What operations with equal names, attributes and argument types share. */
export interface Signature {
  readonly id: number;
  readonly outputs: readonly ValueType[];
  lower(inputs: readonly hlo.Tensor[]): hlo.Tensor[];
}

/** Signatures of all precisions so far. */
let numSignatures = 0;

/** Signatures by everything that a lowering depends on; one object for each precision. */
export class Signatures {
  readonly #byKey = new Map<string, Signature>();
  readonly #dot: Dot;

  constructor(precision: Precision, platform: string) {
    this.#dot = dotOf(precision, platform);
  }

  /** Returns the signature of a call; infers the types of its results by a first lowering. */
  of(
    name: string,
    lowering: Lowering,
    names: readonly string[],
    inputs: readonly Value[],
    attributes: object,
  ): Signature {
    let key = name;
    for (let i = 0; i < inputs.length; i++) key += ` ${names[i]} ${inputs[i].type.id}`;
    for (const attribute in attributes) {
      const value: unknown = attributes[attribute as never];
      key += ` ${attribute} ${typeof value === 'object' ? JSON.stringify(value) : value}`;
    }
    const known = this.#byKey.get(key);
    if (known) return known;
    const lower = (tensors: readonly hlo.Tensor[]) => {
      const byName = Object.fromEntries(tensors.map((tensor, i) => [names[i], tensor]));
      const results = lowering(byName as Parameters<Lowering>[0], attributes as never, this.#dot);
      return [results].flat() as hlo.Tensor[];
    };
    let outputs: readonly ValueType[] = [];
    hlo.buildModule(
      inputs.map(({ type }) => type),
      (...tensors) => {
        const results = lower(tensors);
        outputs = results.map(({ type, shape }) => typeOf(type as ValueType['type'], shape));
        return results;
      },
    );
    const signature = { id: numSignatures++, outputs, lower };
    this.#byKey.set(key, signature);
    return signature;
  }
}

/** A recorded call of a kernel. */
export interface Operation {
  readonly signature: Signature;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  /** Whether the flush under way needs it, and its number there. */
  isNeeded: boolean;
  number: number;
}

/** A result of a program, and the value whose memory it may take. */
export interface Result {
  readonly value: Value;
  readonly replaces: Value | undefined;
}

/** The operations of a flush with their arguments. */
export interface Plan {
  /** Equal for plans with the same program. */
  readonly key: string;
  /** Arguments with a buffer each. */
  readonly buffers: readonly Value[];
  /** Small arrays of the host, which travel in one buffer. */
  readonly packed: readonly Value[];
  /** The text of the program. */
  build(): string;
}

/**
 * Selects the operations that `results` need.
 *
 * @param recorded all operations since the last flush, in order
 * @param dead values that no tensor has any more: their memory is donated
 * @param mesh the devices that run the program
 */
export function plan(
  recorded: readonly Operation[],
  results: readonly Result[],
  dead: ReadonlySet<Value>,
  mesh: Mesh,
): Plan {
  for (const { value } of results) value.operation!.isNeeded = true;
  for (let i = recorded.length - 1; i >= 0; i--) {
    if (!recorded[i].isNeeded) continue;
    for (const { operation } of recorded[i].inputs) if (operation) operation.isNeeded = true;
  }
  const needed = recorded.filter(({ isNeeded }) => isNeeded);
  const [buffers, packed]: [Value[], Value[]] = [[], []];
  const leaves = new Map<Value, string>();
  const leaf = (value: Value) => {
    const known = leaves.get(value);
    if (known) return known;
    const list = value.isPacked ? packed : buffers;
    const name = `${value.isPacked ? 'p' : 'b'}${list.push(value) - 1}`;
    leaves.set(value, name);
    return name;
  };
  const reference = (value: Value) =>
    value.operation ? `${value.operation.number}.${value.position}` : leaf(value);
  let key = '';
  for (const [number, operation] of needed.entries()) {
    operation.number = number;
    key += `${operation.signature.id}(`;
    for (const input of operation.inputs) key += `${reference(input)},`;
    for (const { sharding } of operation.outputs) if (sharding) key += shardingKey(sharding);
  }
  const positions = new Map(results.map(({ replaces }, i) => [replaces, i]));
  const donations = buffers.map((value) => (dead.has(value) ? (positions.get(value) ?? true) : false));
  key += `>${results.map(({ value }) => reference(value))}<${donations}`;
  for (const { sharding } of buffers) key += shardingKey(sharding);
  return { key, buffers, packed, build: () => build(needed, results, buffers, packed, donations, mesh) };
}

const shardingKey = (sharding: TensorSharding | undefined) =>
  sharding ? `@${sharding.map((axes) => axes.join('+'))}` : '@';

function build(
  operations: readonly Operation[],
  results: readonly Result[],
  buffers: readonly Value[],
  packed: readonly Value[],
  donations: readonly (boolean | number)[],
  allAxes: Mesh,
): string {
  const axes = meshAxes.filter((axis) => (allAxes[axis] ?? 1) > 1);
  const mesh = Object.fromEntries(axes.map((axis) => [axis, allAxes[axis]!]));
  const shardingOf = ({ sharding, type }: Value) =>
    axes.length > 0 ? (sharding ?? type.shape.map(() => [])) : undefined;
  const args = buffers.map((value, i) => ({
    ...value.type,
    donate: donations[i],
    sharding: shardingOf(value),
  }));
  const bits = {
    ...hlo.tensorType('int32', [sizeOf(packed)]),
    sharding: axes.length > 0 ? [[]] : undefined,
  };
  return hlo.buildModule(
    packed.length > 0 ? [...args, bits] : args,
    (...args) => {
      const tensors = new Map<Value, hlo.Tensor>(
        buffers.map((value, i) => [value, store(args[i], value.sharding)]),
      );
      let start = 0;
      for (const value of packed) {
        const end = start + value.host!.length;
        const part = hlo.slice(args[args.length - 1] as hlo.Tensor<'int32'>, [start], [end]);
        const typed =
          value.type.type === 'float32'
            ? hlo.bitcastConvert(part, 'float32')
            : hlo.convert(part, value.type.type);
        tensors.set(value, hlo.reshape(typed as hlo.Tensor, value.type.shape));
        start = end;
      }
      for (const { signature, inputs, outputs } of operations) {
        const made = signature.lower(inputs.map((input) => tensors.get(input)!));
        for (const [i, output] of outputs.entries()) {
          const { sharding } = output;
          tensors.set(output, sharding ? store(hlo.shard(made[i], sharding), sharding) : made[i]);
        }
      }
      return results.map(({ value }) => tensors.get(value)!);
    },
    { name: 'step', mesh, outputShardings: results.map(({ value }) => shardingOf(value)) },
  );
}

const sizeOf = (packed: readonly Value[]) => packed.reduce((size, { host }) => size + host!.length, 0);

/** The bits of small arrays, one after the other. */
export function pack(packed: readonly Value[]): Int32Array {
  const bits = new Int32Array(sizeOf(packed));
  const floats = new Float32Array(bits.buffer);
  let start = 0;
  for (const { type, host } of packed) {
    (type.type === 'float32' ? floats : bits).set(host as Float32Array, start);
    start += host!.length;
  }
  return bits;
}
