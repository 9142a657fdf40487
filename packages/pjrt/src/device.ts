import { type DeviceDescription, type DeviceMemoryStats, loadAddon, type NamedValue } from './addon.ts';
import { PjrtError } from './errors.ts';
import { handleOf } from './handles.ts';

/** The client of a device, as the device knows it. */
export interface DeviceClient {
  readonly platformName: string;
  readonly platformVersion: string;
}

/** A device that a client can use. */
export class Device implements DeviceDescription {
  readonly id: number;
  readonly processIndex: number;
  readonly kind: string;
  readonly description: string;
  readonly attributes: Readonly<Record<string, NamedValue>>;
  readonly client: DeviceClient;
  /** Its position in `client.devices`. */
  readonly index: number;

  /** @internal */
  constructor(client: DeviceClient, index: number, own: DeviceDescription) {
    this.client = client;
    this.index = index;
    this.id = own.id;
    this.processIndex = own.processIndex;
    this.kind = own.kind;
    this.description = own.description;
    this.attributes = own.attributes;
  }

  /** Returns the state of the device's memory; undefined from plugins that do not report it, such as the CPU's. */
  memoryStats(): DeviceMemoryStats | undefined {
    try {
      return loadAddon().deviceMemoryStats(handleOf(this.client, 'memoryStats'), this.index);
    } catch (error) {
      if (error instanceof PjrtError && error.code === 'UNIMPLEMENTED') return undefined;
      throw error;
    }
  }
}
