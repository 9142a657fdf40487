/** Registers the backend `xla`, loaded when it is asked for. */
import * as tf from '@tensorflow/tfjs-core';
import { BackendError } from '../errors.ts';
import { describeMesh, type Mesh, meshSize } from '../mesh.ts';
import { XlaBackend } from './backend.ts';
import { connect, type XlaDevice } from './device.ts';
import { localDevices } from './devices.ts';
import { registerXlaKernels } from './kernels.ts';

let connected: XlaDevice | undefined;
/** The mesh of the registered backend. */
let current: string | undefined;

/**
 * Connects to a plugin and registers the backend `xla`; with another mesh than before, a new one without tensors.
 *
 * @param options `needsAccelerator`: refuses the CPU plugin
 * @returns the plugin and the devices
 * @throws BackendError that says what is missing
 */
export async function registerXlaBackend(
  options: { needsAccelerator?: boolean; mesh?: Mesh } = {},
): Promise<string> {
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
  if (current !== name) {
    if (current === undefined) registerXlaKernels();
    else tf.removeBackend('xla');
    const devices = localDevices(connected, mesh);
    tf.registerBackend('xla', () => new XlaBackend(devices), 3);
    current = name;
  }
  return name ? `${description}, mesh ${name}` : description;
}
