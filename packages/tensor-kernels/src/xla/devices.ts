/** The devices of a mesh, and what the backend asks of them. */
import { join as joinPath } from 'node:path';
import { cacheDirectory, type Executable, type HostArray, type LoadedExecutable } from '@meap/pjrt';
import type { Mesh, TensorSharding } from '../mesh.ts';
import { meshSize } from '../mesh.ts';
import type { XlaDevice } from './device.ts';
import type { Shards, ValueType } from './graph.ts';
import { holders, join, split } from './parts.ts';

/** Devices that hold tensors and run programs. */
export interface Devices {
  /** PJRT's name of the platform, such as `cuda`. */
  readonly platform: string;
  readonly mesh: Mesh;
  /** Copies an array to the devices, to each its part. */
  put(values: HostArray, type: ValueType, sharding?: TensorSharding): Promise<Shards>;
  /** Returns the whole array. */
  read(shards: Shards, type: ValueType, sharding?: TensorSharding): Promise<HostArray>;
  compile(program: string): Promise<Executable>;
  /** Starts a program of {@link compile}; arguments and results are parts on every device. */
  execute(program: Executable, inputs: readonly Shards[]): Promise<Shards[]>;
  /** Bytes in use on the first device; undefined if it does not report them. */
  bytesInUse(): number | undefined;
}

/** Returns the first devices of a client as a mesh. */
export function localDevices({ client }: XlaDevice, mesh: Mesh): Devices {
  const devices = client.devices.slice(0, meshSize(mesh));
  return {
    platform: client.platformName,
    mesh,
    async put(values, type, sharding) {
      const { parts, shape } = split(values, type.shape, sharding, mesh);
      return Promise.all(
        devices.map((device, i) => client.put(parts[i], { type: type.type, shape, device })),
      );
    },
    async read(shards, { shape }, sharding) {
      const parts = await Promise.all(holders(shape, sharding, mesh).map((device) => shards[device].read()));
      return join(parts, shape, sharding, mesh);
    },
    compile: (program) =>
      client.compile(program, {
        cacheDirectory: joinPath(cacheDirectory(), 'executables'),
        ...(devices.length > 1 && { deviceIds: devices.map(({ id }) => id) }),
      }),
    async execute(program, inputs) {
      const lists = devices.map((_, device) => inputs.map((shards) => shards[device]));
      const outputs = await (program as LoadedExecutable).executeSharded(lists);
      return outputs[0].map((_, i) => outputs.map((list) => list[i]));
    },
    bytesInUse: () => devices[0].memoryStats()?.bytesInUse,
  };
}
