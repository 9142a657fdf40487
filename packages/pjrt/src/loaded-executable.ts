import { type ExecutableInfo, type Handle, loadAddon } from './addon.ts';
import type { Device } from './device.ts';
import { DeviceBuffer } from './device-buffer.ts';
import { describeType, elementTypeOf, type TensorType } from './element-types.ts';
import { named, PjrtError } from './errors.ts';
import { Executable } from './executable.ts';
import { handleOf } from './handles.ts';

/** How a program is executed. */
export interface ExecuteOptions {
  /** Positions of arguments that are not to be donated, though the program allows it. */
  readonly keep?: readonly number[];
}

/** Types on one device; undefined for a type that this package does not transfer. */
interface Signature {
  readonly inputs: readonly (TensorType | undefined)[];
  readonly outputs: readonly (TensorType | undefined)[];
}

/** A compiled program on its devices. */
export class LoadedExecutable extends Executable {
  /** The devices that run it, in the order of the arguments of `executeSharded`. */
  readonly devices: readonly Device[];
  /** Whether it comes from the cache on disk. */
  readonly isFromCache: boolean;
  readonly #signature: Signature | undefined;

  private constructor(
    devices: readonly Device[],
    info: ExecutableInfo,
    isFromCache: boolean,
    signature: Signature | undefined,
  ) {
    super(info);
    const byId = new Map(devices.map((device) => [device.id, device]));
    this.devices = info.deviceIds.map((id) => byId.get(id)!);
    this.isFromCache = isFromCache;
    this.#signature = signature;
  }

  /** @internal Use `client.compile`. */
  static async create(
    devices: readonly Device[],
    info: ExecutableInfo,
    isFromCache: boolean,
  ): Promise<LoadedExecutable> {
    // PJRT itself only compares sizes: a float32 buffer would pass as int32.
    const signature = await new Executable(info).optimizedProgram().then(
      ({ inputs, outputs }) => ({ inputs, outputs }),
      () => undefined,
    );
    return new LoadedExecutable(devices, info, isFromCache, signature);
  }

  /**
   * Starts the program on its only device. Executions of a client start in the order of the calls; arguments may be
   * results that are not computed yet.
   *
   * @returns the outputs, when the execution has started: `read` or `ready` wait for their values
   * @throws PjrtError for arguments of other types or shapes, disposed or donated ones, and when memory is exhausted
   */
  async execute(inputs: readonly DeviceBuffer[], options: ExecuteOptions = {}): Promise<DeviceBuffer[]> {
    const [outputs] = await this.executeSharded([inputs], options);
    return outputs;
  }

  /**
   * Starts the program on all its devices, like {@link execute}.
   *
   * @param inputs for each device its arguments: its part of those that are sharded
   * @returns for each device its outputs
   */
  async executeSharded(
    inputs: readonly (readonly DeviceBuffer[])[],
    { keep = [] }: ExecuteOptions = {},
  ): Promise<DeviceBuffer[][]> {
    if (inputs.length !== this.devices.length) {
      invalid(`got arguments for ${inputs.length} devices, expected ${this.devices.length}`);
    }
    const handle = handleOf(this, 'execute');
    const handles = inputs.map((list, position) => this.#check(list, this.devices[position]));
    const results = await named('execute', () => loadAddon().execute(handle, handles, keep));
    return results.map((list, position) =>
      list.map((output, i) => this.#wrap(output, i, this.devices[position])),
    );
  }

  #check(buffers: readonly DeviceBuffer[], device: Device): Handle[] {
    const expected = this.#signature?.inputs;
    if (expected && buffers.length !== expected.length) {
      invalid(`got ${buffers.length} arguments, expected ${expected.length}`);
    }
    return buffers.map((buffer, i) => {
      const handle = handleOf(buffer, `execute: argument ${i}`);
      const type = expected?.[i];
      if (type && (type.type !== buffer.type || `${type.shape}` !== `${buffer.shape}`)) {
        invalid(`argument ${i}: got ${describeType(buffer)}, expected ${describeType(type)}`);
      }
      if (buffer.device !== device) {
        invalid(`argument ${i}: got a buffer on device ${buffer.device.id}, expected device ${device.id}`);
      }
      return handle;
    });
  }

  #wrap(handle: Handle, i: number, device: Device): DeviceBuffer {
    const known = this.#signature?.outputs[i];
    if (known) return new DeviceBuffer(device, known, handle);
    const { type: number, shape } = loadAddon().describeBuffer(handle);
    const type = elementTypeOf(number);
    if (!type) {
      throw new PjrtError(
        'UNIMPLEMENTED',
        `execute: output ${i} has PJRT's type ${number}; convert it first`,
      );
    }
    return new DeviceBuffer(device, { type, shape }, handle);
  }
}

function invalid(message: string): never {
  throw new PjrtError('INVALID_ARGUMENT', `execute: ${message}`);
}
