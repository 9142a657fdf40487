/** The `tensorflow` backend: TensorFlow's C library through tfjs-node-gpu or tfjs-node, loaded on demand. */
import * as tf from '@tensorflow/tfjs-core';
import { registerComposedKernels } from './composed-kernels.ts';

const PACKAGES = ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'];

const HOW_TO_INSTALL =
  'for an NVIDIA GPU with CUDA 11.2 and cuDNN 8.1 `npm install @tensorflow/tfjs-node-gpu@4.22.0`, ' +
  'for a processor `npm install @tensorflow/tfjs-node@4.22.0`; both download libtensorflow while they install';

/**
 * Loads TensorFlow and selects its backend. Looks for the packages beside this one and from the current folder (or
 * `MEAP_TFJS_NODE`).
 *
 * @returns the device, for example `TensorFlow 2.9.1 on the GPU`.
 * @throws Error that says what to install, or why it does not load
 */
export async function startTensorflow(): Promise<string> {
  const builtin = globalThis.process?.getBuiltinModule;
  if (!builtin) throw new Error('tensorflow: needs Node.js 20.19 or later, got another JavaScript runtime');
  const { createRequire } = builtin('node:module');
  const folder = process.env.MEAP_TFJS_NODE ?? process.cwd();
  const requires = [createRequire(import.meta.url), createRequire(`${folder}/package.json`)];
  const found = PACKAGES.flatMap((name) => requires.flatMap((require) => resolve(require, name)))[0];
  if (!found) throw new Error(`tensorflow: not installed; ${HOW_TO_INSTALL}`);
  restoreUtilities();
  try {
    // Loading it registers and selects its backend.
    requires[0](found.path);
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error);
    throw new Error(`tensorflow: ${found.name} does not load: ${reason}; ${HOW_TO_INSTALL}`, {
      cause: error,
    });
  }
  if (!(await tf.setBackend('tensorflow'))) {
    throw new Error(
      `tensorflow: ${found.name} uses another copy of TensorFlow.js; install one version of both`,
    );
  }
  registerComposedKernels('tensorflow');
  const { binding, isUsingGpuDevice } = tf.backend() as tf.KernelBackend & {
    binding?: { TF_Version?: string };
    isUsingGpuDevice?: boolean;
  };
  return `TensorFlow ${binding?.TF_Version ?? ''} on ${isUsingGpuDevice ? 'the GPU' : 'the processor'}`;
}

function resolve(require: NodeJS.Require, name: string): { name: string; path: string }[] {
  try {
    return [{ name, path: require.resolve(name) }];
  } catch {
    return [];
  }
}

/** Node 23 removed functions that tfjs-node 4.22 calls. */
function restoreUtilities(): void {
  const util = process.getBuiltinModule('node:util') as unknown as Record<string, unknown>;
  util.isNullOrUndefined ??= (x: unknown) => x === null || x === undefined;
  util.isArray ??= Array.isArray;
}
