/**
 * The `xla` backend: kernels record operations; a read or {@link XlaBackend.flush} compiles what living tensors need into
 * one program, once for each structure, and runs it. Values that are written in place are donated.
 */
import { type Executable, type HostArray, stablehlo as hlo, PjrtError } from '@meap/pjrt';
import * as tf from '@tensorflow/tfjs-core';
import { BackendError } from '../errors.ts';
import type { TensorSharding } from '../mesh.ts';
import type { Precision } from '../precision.ts';
import { oneLine } from './device.ts';
import type { Devices } from './devices.ts';
import {
  type Operation,
  pack,
  plan,
  type Shards,
  Signatures,
  typeOf,
  Value,
  type ValueType,
} from './graph.ts';
import type { Lowering } from './lowering.ts';
import { fitting, isWhole } from './sharding.ts';

/** Tensors and values by name; those that are undefined or null are left out. */
type Inputs = Readonly<Record<string, tf.TensorInfo | Value | undefined | null>>;

/** The value of the tensors that share a data id. */
interface Entry {
  value: Value;
  refCount: number;
  /** The value before kernels wrote in place, since the last flush. */
  replaced: Value | undefined;
}

/** Elements of the largest float tensor whose values the host keeps after the upload. */
const MAX_HOST_FLOATS = 1 << 16;

/** TensorFlow.js's backend over PJRT. */
export class XlaBackend extends tf.KernelBackend {
  readonly #devices: Devices;
  readonly #data: tf.DataStorage<Entry>;
  /** Programs by structure. */
  readonly programs = new Map<string, Promise<Executable>>();
  /** Entries whose values have not been computed. */
  readonly #pending = new Set<Entry>();
  /** Operations since the last flush. */
  #recorded: Operation[] = [];
  /** Buffers and arrays that no tensor has any more, but perhaps an operation. */
  readonly #dead = new Set<Value>();
  /** Executions, reads and releases start in order. */
  #queue: Promise<void> = Promise.resolve();
  #failure: BackendError | undefined;
  precision: Precision = 'float32';
  readonly #signatures = new Map<Precision, Signatures>();
  #shared = new Map<string, Value>();

  constructor(devices: Devices) {
    super();
    this.#devices = devices;
    this.#data = new tf.DataStorage(this, tf.engine());
  }

  /** Records a call of a kernel and returns its results. */
  record(name: string, lowering: Lowering, inputs: Inputs, attributes: object = {}): tf.TensorInfo[] {
    return this.#operation(name, lowering, inputs, attributes).map((value) => this.#tensorOf(value));
  }

  /** Records a call whose last results replace the values of `targets`; returns the others. */
  recordInPlace(
    name: string,
    lowering: Lowering,
    inputs: Inputs,
    targets: readonly tf.TensorInfo[],
    attributes: object = {},
  ): tf.TensorInfo[] {
    const values = this.#operation(name, lowering, inputs, attributes);
    const numOwn = values.length - targets.length;
    for (const [i, { dataId }] of targets.entries()) {
      const entry = this.#data.get(dataId);
      if (!entry.value.operation) {
        entry.replaced = entry.value;
        this.#dead.add(entry.value);
      }
      values[numOwn + i].sharding = entry.value.sharding;
      entry.value = values[numOwn + i];
      this.#pending.add(entry);
    }
    return values.slice(0, numOwn).map((value) => this.#tensorOf(value));
  }

  /**
   * Numbers that change from call to call, as an argument of the program.
   *
   * @param isPacked whether they are few; false for what is a tensor in other calls of the same program
   */
  argument(host: Float32Array | Int32Array, shape: readonly number[], isPacked: boolean): Value {
    const type = host instanceof Float32Array ? 'float32' : 'int32';
    const value = Value.ofHost(typeOf(type, shape), host, isPacked);
    // No tensor has it.
    this.#dead.add(value);
    return value;
  }

  /** The same for numbers that many calls share: equal names are one argument until the next flush. */
  sharedArgument(name: string, numbers: () => Float32Array): Value {
    let value = this.#shared.get(name);
    if (!value) {
      const host = numbers();
      value = this.argument(host, [host.length], true);
      this.#shared.set(name, value);
    }
    return value;
  }

  /** Values of a tensor that the host knows. */
  hostValues({ dataId }: tf.TensorInfo): HostArray | undefined {
    return this.#data.get(dataId).value.host;
  }

  /** Splits a tensor over the mesh; see `shardTensor`. */
  shard({ dataId, shape }: tf.TensorInfo, wanted: TensorSharding): void {
    const entry = this.#data.get(dataId);
    const fits = fitting(wanted, shape, this.#devices.mesh);
    const sharding = isWhole(fits) ? undefined : fits;
    const { value } = entry;
    if (JSON.stringify(sharding) === JSON.stringify(value.sharding)) return;
    if (value.buffer || !tf.util.arraysEqual(value.type.shape as number[], shape)) {
      if (!value.operation) this.#dead.add(value);
      [entry.value] = this.#operation('Reshape', RESHAPE, { x: value }, { shape });
      this.#pending.add(entry);
    }
    entry.value.sharding = sharding;
  }

  /** Splits a tensor like another of its shape. */
  shardLike(tensor: tf.TensorInfo, { dataId, shape }: tf.TensorInfo): void {
    const { sharding } = this.#data.get(dataId).value;
    this.shard(tensor, sharding ?? shape.map(() => []));
  }

  /** Starts the computation of all recorded values that tensors have. */
  flush(): void {
    this.#requireHealthy();
    if (this.#pending.size === 0) return;
    const entries = [...this.#pending];
    const results = entries.map(({ value, replaced }) => ({ value, replaces: replaced }));
    const { key, buffers, packed, build } = plan(this.#recorded, results, this.#dead, this.#devices.mesh);
    let program = this.programs.get(key);
    if (!program) {
      program = this.#devices.compile(build());
      program.catch(() => {});
      this.programs.set(key, program);
    }
    const args = buffers.map((value) => (value.buffer ??= this.#upload(value)));
    const bits = pack(packed);
    const vector = packed.length > 0 ? [this.#devices.put(bits, typeOf('int32', [bits.length]))] : [];
    const dead = [...this.#dead].flatMap(({ buffer }) => buffer ?? []);
    const run = this.#queue.then(async () => {
      const [executable, ...inputs] = await Promise.all([program, ...args, ...vector]);
      const outputs = await this.#devices.execute(executable, inputs);
      await release([...dead, ...vector]);
      return outputs;
    });
    this.#queue = run.then(
      () => undefined,
      (error) => void this.#fail(error),
    );
    for (const [i, entry] of entries.entries()) {
      entry.value.operation = undefined;
      entry.value.buffer = run.then((outputs) => outputs[i]);
      entry.value.buffer.catch(() => {});
      entry.replaced = undefined;
    }
    this.#pending.clear();
    this.#dead.clear();
    this.#shared.clear();
    this.#recorded = [];
  }

  /** Waits until all that was started has been executed. @throws BackendError of the first failure */
  async settled(): Promise<void> {
    await this.#queue;
    this.#requireHealthy();
  }

  override write(values: tf.backend_util.BackendValues, shape: number[], dtype: tf.DataType): object {
    const dataId = {};
    this.move(dataId, values, shape, dtype, 1);
    return dataId;
  }

  override move(
    dataId: object,
    values: tf.backend_util.BackendValues,
    shape: number[],
    dtype: tf.DataType,
    refCount: number,
  ): void {
    const value = Value.ofHost(typeOf(elementType(dtype), shape), arrayOf(values, dtype));
    this.#data.set(dataId, { value, refCount, replaced: undefined });
  }

  override readSync(dataId: object): tf.backend_util.BackendValues {
    const { host } = this.#data.get(dataId).value;
    if (host) return host as tf.TypedArray;
    throw new BackendError('xla: a device cannot be read synchronously; use `await tensor.data()`');
  }

  override async read(dataId: object): Promise<tf.backend_util.BackendValues> {
    const { value } = this.#data.get(dataId);
    if (value.host) return value.host as tf.TypedArray;
    if (value.operation) this.flush();
    this.#requireHealthy();
    // Starts in order, since a later execution may be given the buffer; does not hold up what follows.
    const started = this.#queue.then(async () => ({
      values: this.#devices.read(await value.buffer!, value.type, value.sharding),
    }));
    this.#queue = started.then(
      ({ values }) => void values.catch(() => {}),
      (error) => void this.#fail(error),
    );
    try {
      return (await (
        await started
      ).values) as tf.TypedArray;
    } catch (error) {
      throw this.#fail(error);
    }
  }

  override disposeData(dataId: object, force = false): boolean {
    if (!this.#data.has(dataId)) return true;
    const entry = this.#data.get(dataId);
    entry.refCount -= 1;
    if (!force && entry.refCount > 0) return false;
    this.#data.delete(dataId);
    this.#pending.delete(entry);
    if (!entry.value.operation) this.#dead.add(entry.value);
    // Then no operation is needed any more.
    if (this.#pending.size === 0) this.#forget();
    return true;
  }

  override incRef(dataId: object): void {
    this.#data.get(dataId).refCount += 1;
  }

  override refCount(dataId: object): number {
    return this.#data.has(dataId) ? this.#data.get(dataId).refCount : 0;
  }

  override numDataIds(): number {
    return this.#data.numDataIds();
  }

  override memory() {
    const used = this.#devices.bytesInUse();
    return { unreliable: false, ...(used !== undefined && { numBytesAllocatedInGPU: used }) };
  }

  override floatPrecision(): 32 {
    return 32;
  }

  override epsilon(): number {
    return 1e-7;
  }

  override dispose(): void {}

  #operation(name: string, lowering: Lowering, inputs: Inputs, attributes: object): readonly Value[] {
    this.#requireHealthy();
    const names: string[] = [];
    const values: Value[] = [];
    for (const input in inputs) {
      const given = inputs[input];
      if (!given) continue;
      names.push(input);
      values.push(given instanceof Value ? given : this.#valueOf(given));
    }
    const signatures =
      this.#signatures.get(this.precision) ?? new Signatures(this.precision, this.#devices.platform);
    this.#signatures.set(this.precision, signatures);
    const signature = signatures.of(name, lowering, names, values, attributes);
    const outputs: Value[] = [];
    const operation = { signature, inputs: values, outputs, isNeeded: false, number: -1 };
    for (const type of signature.outputs) outputs.push(Value.result(type, operation, outputs.length));
    this.#recorded.push(operation);
    return outputs;
  }

  /** The value of a tensor in the tensor's shape. */
  #valueOf({ dataId, shape }: tf.TensorInfo): Value {
    const { value } = this.#data.get(dataId);
    if (tf.util.arraysEqual(value.type.shape as number[], shape)) return value;
    return this.#operation('Reshape', RESHAPE, { x: value }, { shape })[0];
  }

  #tensorOf(value: Value): tf.TensorInfo {
    const entry = { value, refCount: 1, replaced: undefined };
    const dataId = {};
    this.#data.set(dataId, entry);
    this.#pending.add(entry);
    return { dataId, shape: value.type.shape as number[], dtype: value.type.type };
  }

  #upload(value: Value): Promise<Shards> {
    const { type, host, sharding } = value;
    const buffer = this.#devices.put(host!, type, sharding);
    buffer.catch(() => {});
    // The host reads ids and masks too.
    if (type.type === 'float32' && host!.length > MAX_HOST_FLOATS) value.host = undefined;
    return buffer;
  }

  /** Drops operations that nothing needs and frees buffers that only they had. */
  #forget(): void {
    this.#recorded = [];
    this.#shared.clear();
    const buffers = [...this.#dead].flatMap(({ buffer }) => buffer ?? []);
    this.#dead.clear();
    if (buffers.length > 0) this.#queue = this.#queue.then(() => release(buffers));
  }

  #requireHealthy(): void {
    if (this.#failure) throw this.#failure;
  }

  /** Keeps the first failure: what was computed after it is not known. */
  #fail(error: unknown): BackendError {
    if (this.#failure) return this.#failure;
    const isMemory = error instanceof PjrtError && error.code === 'RESOURCE_EXHAUSTED';
    const advice = isMemory
      ? 'use smaller batches or recompute activations'
      : 'resume from the last checkpoint in a new process';
    this.#failure = new BackendError(
      `xla: ${isMemory ? 'out of memory on the device: ' : ''}${oneLine(error)}; ${advice}`,
      { cause: error },
    );
    return this.#failure;
  }
}

const RESHAPE: Lowering = ({ x }, { shape }: { shape: number[] }) => hlo.reshape(x, shape);

/**
 * Frees buffers; those of failed executions do not exist. Those that an execution was given have no memory any more:
 * garbage collection drops them, since dropping them earlier waits for the execution.
 */
async function release(buffers: readonly Promise<Shards>[]): Promise<void> {
  for (const settled of await Promise.allSettled(buffers)) {
    const shards = settled.status === 'fulfilled' ? settled.value : [];
    for (const buffer of shards) if (!buffer.isDonated) buffer.dispose();
  }
}

function elementType(dtype: tf.DataType): ValueType['type'] {
  if (dtype === 'float32' || dtype === 'int32' || dtype === 'bool') return dtype;
  throw new BackendError(`xla: got a tensor of type ${dtype}, expected float32, int32 or bool`);
}

/** The values as the typed array that their type has on the device. */
function arrayOf(values: tf.backend_util.BackendValues, dtype: tf.DataType): HostArray {
  const Expected = { float32: Float32Array, int32: Int32Array, bool: Uint8Array }[elementType(dtype)];
  return values instanceof Expected ? values : Expected.from(values as tf.TypedArray);
}
