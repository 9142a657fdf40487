/** Registers the backend `xla`, loaded when it is asked for. */
import * as tf from '@tensorflow/tfjs-core';
import { BackendError } from '../errors.ts';
import { XlaBackend } from './backend.ts';
import { connect, type XlaDevice } from './device.ts';
import { registerXlaKernels } from './kernels.ts';

let connected: XlaDevice | undefined;

/**
 * Connects to a plugin and registers the backend `xla`.
 *
 * @param options `needsAccelerator`: refuses the CPU plugin
 * @returns the plugin and the device
 * @throws BackendError that says what is missing
 */
export async function registerXlaBackend(options: { needsAccelerator?: boolean } = {}): Promise<string> {
  if (!connected) {
    const device = await connect(options);
    connected = device;
    tf.registerBackend('xla', () => new XlaBackend(device), 3);
    registerXlaKernels();
  }
  if (options.needsAccelerator && connected.client.platformName === 'cpu') {
    throw new BackendError('xla: the process uses the CPU plugin');
  }
  return connected.description;
}
