import * as tf from '@tensorflow/tfjs-core';
import { BackendError } from './errors.ts';
import { installCommand } from './install-command.ts';
import { loadNativeAddon } from './native-addon.ts';
import { registerNativeBackend } from './native-backend.ts';

/** Names that {@link setBackend} knows. */
export const backendNames = ['auto', 'webgpu', 'tensorflow', 'native', 'wasm', 'cpu'] as const;

/** A backend, or `auto` for the best that is there. */
export type BackendName = (typeof backendNames)[number];

/** What runs, and why. */
export interface BackendDescription {
  name: Exclude<BackendName, 'auto'>;
  /** Why this one, in one sentence. */
  reason: string;
  /** For example `avx512, 2 threads`, or the name of the GPU. */
  device: string;
}

let current: BackendDescription | undefined;

/**
 * Makes a backend the one that all TensorFlow.js ops run on.
 *
 * `auto` tries `webgpu` where there is a GPU (not one that a processor imitates), then `native` (this package's SIMD
 * kernels), then `wasm` (stock TensorFlow.js), then `cpu`.
 *
 * @throws BackendError when a backend named explicitly cannot run here, saying why and what to do.
 */
export async function setBackend(name: BackendName = 'auto'): Promise<BackendDescription> {
  const tried: string[] = [];
  const candidates = name === 'auto' ? AUTOMATIC : [name];
  for (const candidate of candidates) {
    try {
      if (name === 'auto' && candidate === 'webgpu') await requireHardwareGpu();
      const device = await start(candidate);
      const reason =
        name !== 'auto'
          ? 'asked for by name'
          : `${REASONS[candidate as keyof typeof REASONS]}${tried.length > 0 ? ` (${tried.join('; ')})` : ''}`;
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

/** What `auto` tries; TensorFlow, which takes seconds to load, is for those who name it. */
const AUTOMATIC = ['webgpu', 'native', 'wasm', 'cpu'] as const;

const REASONS = {
  webgpu: 'this machine has a GPU',
  native: 'the fastest backend for a CPU',
  wasm: 'about 65 times slower than native, which cannot run here',
  cpu: 'slower still than wasm, but nothing else can run here',
};

/**
 * Looks before it asks: Dawn prints warnings where there is no driver.
 *
 * @throws Error saying why `auto` passes `webgpu` over.
 */
async function requireHardwareGpu(): Promise<void> {
  if (globalThis.process?.platform === 'linux') {
    const { readdirSync } = process.getBuiltinModule('node:fs');
    const nodes = ['/dev', '/dev/dri'].flatMap((path) => {
      try {
        return readdirSync(path);
      } catch {
        return [];
      }
    });
    if (!nodes.some((name) => /^(renderD\d+|nvidia\d+|dxg|kfd|mali\d+)$/.test(name))) {
      throw new Error('webgpu: no GPU');
    }
  }
  const { registerWebgpuBackend } = await import('./webgpu/backend.ts');
  const { isSoftware, description } = await registerWebgpuBackend();
  if (isSoftware) throw new Error(`webgpu: ${description} is a processor`);
}

async function start(name: Exclude<BackendName, 'auto'>): Promise<string> {
  if (name === 'native') {
    const { instructionSet, numThreads } = loadNativeAddon();
    registerNativeBackend();
    await activate(name);
    return `${instructionSet()}, ${numThreads()} ${numThreads() === 1 ? 'thread' : 'threads'}`;
  }
  if (name === 'webgpu') {
    const { registerWebgpuBackend } = await import('./webgpu/backend.ts');
    const { description, isSoftware } = await registerWebgpuBackend();
    await activate(name);
    return isSoftware ? `${description} (a processor, not a GPU)` : description;
  }
  if (name === 'tensorflow') return (await import('./tensorflow-backend.ts')).startTensorflow();
  if (name === 'wasm') {
    await requireWasm();
    await activate(name);
    return 'WebAssembly';
  }
  if (name !== 'cpu') {
    throw new Error(`unknown backend, got '${name}', expected one of ${backendNames.join(', ')}`);
  }
  await activate(name);
  return 'JavaScript';
}

/** In a browser the program imports the package itself, if it wants it: no bundler has to find what few want. */
async function requireWasm(): Promise<void> {
  if (tf.findBackendFactory('wasm')) return;
  const name = '@tensorflow/tfjs-backend-wasm';
  try {
    await import(/* @vite-ignore */ /* webpackIgnore: true */ name);
  } catch (error) {
    throw new Error(
      `wasm: the package ${name} is not there; run ${installCommand([name])}, and in a browser import it`,
      {
        cause: error,
      },
    );
  }
}

async function activate(name: string): Promise<void> {
  if (!(await tf.setBackend(name))) throw new Error(`${name}: TensorFlow.js could not start this backend`);
}
