/** Registers the backend `xla`, loaded when it is asked for. */
import { deviceTarget, type Executable } from '@meap/pjrt';
import * as tf from '@tensorflow/tfjs-core';
import { BackendError } from '../errors.ts';
import { describeMesh, type Mesh, meshSize } from '../mesh.ts';
import { type AbsentDevices, absentDevices } from './absent-devices.ts';
import { XlaBackend } from './backend.ts';
import { connect, type XlaDevice } from './device.ts';
import { type Devices, localDevices } from './devices.ts';
import { registerXlaKernels } from './kernels.ts';

let connected: XlaDevice | undefined;
/** The mesh of the registered backend. */
let current: string | undefined;

/**
 * Connects to a plugin and registers the backend `xla`; with another mesh than before, a new one without tensors.
 *
 * @param options `needsAccelerator`: refuses the CPU plugin
 * @returns the plugin and the devices, and whether they have memory of their own
 * @throws BackendError that says what is missing
 */
export async function registerXlaBackend(
  options: { needsAccelerator?: boolean; mesh?: Mesh } = {},
): Promise<{ device: string; hasOwnMemory?: true }> {
  const { mesh = {} } = options;
  connected ??= await connect(options);
  const { client, description } = connected;
  if (options.needsAccelerator && client.platformName === 'cpu') {
    throw new BackendError('xla: the process uses the CPU plugin');
  }
  const size = meshSize(mesh);
  if (size > client.devices.length) {
    throw new BackendError(
      `xla: the mesh ${describeMesh(mesh)} needs ${size} devices, got ${client.devices.length} of the ` +
        `${description}; use a smaller mesh`,
    );
  }
  const name = describeMesh(mesh);
  if (current !== name) register(localDevices(connected, mesh), name);
  return {
    device: name ? `${description}, mesh ${name}` : description,
    ...(client.platformName !== 'cpu' && { hasOwnMemory: true }),
  };
}

/**
 * Selects the backend `xla` for devices that need not be there: steps are compiled for them and not run.
 *
 * @param target a name of `deviceTarget`
 * @returns a function that returns the programs so far, in the order of their executions
 * @throws BackendError if the mesh has another number of devices, or the target's plugin is missing
 */
export async function startAbsentXla(target: string, mesh: Mesh): Promise<() => Promise<Executable[]>> {
  const found = deviceTarget(target);
  if (meshSize(mesh) !== found.numDevices) {
    throw new BackendError(
      `xla: the mesh ${describeMesh(mesh) || 'of one device'} has ${meshSize(mesh)} devices, got the target ${target} with ` +
        `${found.numDevices}; change one of them`,
    );
  }
  const devices: AbsentDevices = await absentDevices(found, mesh);
  const backend = register(devices, `${target} ${describeMesh(mesh)}`);
  await tf.setBackend('xla');
  return async () => {
    await backend().settled();
    return devices.executed;
  };
}

function register(devices: Devices, name: string): () => XlaBackend {
  if (current === undefined) registerXlaKernels();
  else tf.removeBackend('xla');
  let backend: XlaBackend | undefined;
  const create = () => {
    backend ??= new XlaBackend(devices);
    return backend;
  };
  tf.registerBackend('xla', create, 3);
  current = name;
  return create;
}
