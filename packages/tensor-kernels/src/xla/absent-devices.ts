/** Devices that are not there: programs are compiled for them and not run, to plan a step. */
import { type DeviceTarget, type Executable, findPlugin, loadPlugin, type Topology } from '@meap/pjrt';
import * as tf from '@tensorflow/tfjs-core';
import { BackendError } from '../errors.ts';
import type { Mesh } from '../mesh.ts';
import { oneLine } from './device.ts';
import type { Devices } from './devices.ts';

/** Devices that are not there, and the programs that would have run. */
export interface AbsentDevices extends Devices {
  /** In the order of their executions. */
  readonly executed: Executable[];
}

/**
 * Returns the devices of a target as a mesh. Transfers do nothing and reads return zeros.
 *
 * @throws BackendError if the target's plugin is missing or refuses
 */
export async function absentDevices(target: DeviceTarget, mesh: Mesh): Promise<AbsentDevices> {
  const path = await findPlugin(target.plugin).catch(() => {
    throw new BackendError(
      `xla: programs for ${target.description} need the plugin ${target.plugin}; install it with ` +
        `\`npx meap-pjrt install ${target.plugin}\``,
    );
  });
  // Else the plugin of TPUs looks for the metadata of a virtual machine.
  process.env.TPU_SKIP_MDS_QUERY ??= '1';
  process.env.TPU_WORKER_HOSTNAMES ??= 'localhost';
  process.env.TPU_ACCELERATOR_TYPE ??= 'v5litepod-1';
  const topology = await describe(path, target);
  const executed: Executable[] = [];
  return {
    platform: topology.platformName,
    mesh,
    executed,
    put: async () => [],
    read: async (_, { type, shape }) => {
      const size = tf.util.sizeFromShape([...shape]);
      return { float32: new Float32Array(size), int32: new Int32Array(size), bool: new Uint8Array(size) }[
        type
      ];
    },
    compile: (program) => topology.compile(program),
    async execute(program) {
      executed.push(program);
      return Array.from({ length: program.numOutputs }, () => []);
    },
    bytesInUse: () => undefined,
  };
}

async function describe(path: string, target: DeviceTarget): Promise<Topology> {
  try {
    return await loadPlugin(path).createTopology(...target.topology);
  } catch (cause) {
    throw new BackendError(
      `xla: the plugin ${target.plugin} (${path}) cannot describe ${target.description}: ${oneLine(cause)}; ` +
        `update it with \`npx meap-pjrt install ${target.plugin}\``,
      { cause },
    );
  }
}
