import * as tf from '@tensorflow/tfjs';
import { loadNativeAddon } from './native-addon.ts';
import { registerNativeBackend } from './native-backend.ts';

/** Backends that {@link setBackend} knows; `auto` takes the first that is there. */
export type BackendName = 'auto' | 'native' | 'wasm' | 'cpu';

/** What runs, and why. */
export interface BackendDescription {
  name: Exclude<BackendName, 'auto'>;
  /** Why this one, in one sentence. */
  reason: string;
  /** For example `avx512, 2 threads`. */
  device: string;
}

/** A backend that cannot run here. */
export class BackendError extends Error {
  override name = 'BackendError';
}

let current: BackendDescription | undefined;

/**
 * Makes a backend the one that all TensorFlow.js ops run on.
 *
 * `auto` tries `native` (this package's SIMD kernels), then `wasm` (stock TensorFlow.js), then `cpu`.
 *
 * @throws BackendError when a backend named explicitly cannot run here, saying why and what to do.
 */
export async function setBackend(name: BackendName = 'auto'): Promise<BackendDescription> {
  const tried: string[] = [];
  const candidates = name === 'auto' ? (['native', 'wasm', 'cpu'] as const) : [name];
  for (const candidate of candidates) {
    try {
      const device = await start(candidate);
      const reason =
        name !== 'auto'
          ? 'asked for by name'
          : tried.length === 0
            ? 'the fastest backend for a CPU'
            : `next best: ${tried.join('; ')}`;
      current = { name: candidate, reason, device };
      return current;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (name !== 'auto') throw new BackendError(message, { cause: error });
      tried.push(message);
    }
  }
  throw new BackendError(`no backend can run here: ${tried.join('; ')}`);
}

/** The backend in use and why it was chosen. */
export function describeBackend(): BackendDescription {
  const name = tf.getBackend() as BackendDescription['name'];
  if (current?.name === name) return current;
  return { name, reason: 'set through TensorFlow.js', device: 'unknown' };
}

async function start(name: Exclude<BackendName, 'auto'>): Promise<string> {
  if (name === 'native') {
    const { instructionSet, numThreads } = loadNativeAddon();
    registerNativeBackend();
    await activate(name);
    return `${instructionSet()}, ${numThreads()} ${numThreads() === 1 ? 'thread' : 'threads'}`;
  }
  if (name === 'wasm') {
    try {
      await import('@tensorflow/tfjs-backend-wasm');
    } catch (error) {
      throw new Error(
        'wasm: the package @tensorflow/tfjs-backend-wasm is not installed; add it to your project',
        { cause: error },
      );
    }
    await activate(name);
    return 'WebAssembly';
  }
  if (name !== 'cpu') {
    throw new Error(`unknown backend, got '${name}', expected 'auto', 'native', 'wasm' or 'cpu'`);
  }
  await activate(name);
  return 'JavaScript';
}

async function activate(name: string): Promise<void> {
  if (!(await tf.setBackend(name))) throw new Error(`${name}: TensorFlow.js could not start this backend`);
}
