/// <reference lib="esnext.disposable" preserve="true" />

import type { Handle } from './addon.ts';
import { loadAddon } from './addon.ts';
import type { Device } from './device.ts';
import { ELEMENT_TYPES, type ElementType, type HostArray, sizeOf, type TensorType } from './element-types.ts';
import { named, PjrtError } from './errors.ts';
import { handleOf, own, release } from './handles.ts';

/** A tensor in the memory of a device, which is freed when it is disposed of or donated. */
export class DeviceBuffer implements TensorType {
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly device: Device;

  /** @internal Use `client.put` or `execute`. */
  constructor(device: Device, { type, shape }: TensorType, handle: Handle) {
    this.type = type;
    this.shape = shape;
    this.device = device;
    own(this, handle);
  }

  /**
   * Copies the values to the host, in row-major order, when they are computed.
   *
   * @param into where to write, by default a new array; it must not be read before the promise resolves
   * @throws PjrtError if the execution that computes them fails, or has been given this buffer as a donation
   */
  async read(into?: HostArray): Promise<HostArray> {
    const { array } = ELEMENT_TYPES[this.type];
    const size = sizeOf(this.shape);
    const target = into ?? new array(size);
    if (target.constructor !== array || target.length !== size) {
      throw new PjrtError(
        'INVALID_ARGUMENT',
        `read: got ${target.constructor.name} of ${target.length}, expected ${array.name} of ${size}`,
      );
    }
    const handle = handleOf(this, 'read');
    await named('read', () => loadAddon().read(handle, target));
    return target;
  }

  /** Waits until the values are computed. */
  async ready(): Promise<void> {
    const handle = handleOf(this, 'ready');
    await named('ready', () => loadAddon().ready(handle));
  }

  /** Copies the buffer to another device of the client. */
  async copyTo(device: Device): Promise<DeviceBuffer> {
    if (device.client !== this.device.client) {
      throw new PjrtError('INVALID_ARGUMENT', 'copyTo: got a device of another client');
    }
    const handle = handleOf(this, 'copyTo');
    const copy = await named('copyTo', () => loadAddon().copyToDevice(handle, device.index));
    return new DeviceBuffer(device, this, copy);
  }

  /** Whether an execution has taken the memory: the buffer can then only be disposed of. */
  get isDonated(): boolean {
    return loadAddon().isDonated(handleOf(this, 'isDonated'));
  }

  /** Frees the memory when executions that use it have ended. */
  dispose(): void {
    release(this);
  }

  /** The same, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
