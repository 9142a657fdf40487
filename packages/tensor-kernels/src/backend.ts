import type { Executable } from '@meap/pjrt';
import * as tf from '@tensorflow/tfjs-core';
import { hasAccelerator, hasDeviceFile } from './device-files.ts';
import { BackendError } from './errors.ts';
import { installCommand } from './install-command.ts';
import { type Mesh, meshSize } from './mesh.ts';
import { loadNativeAddon } from './native-addon.ts';
import { registerNativeBackend } from './native-backend.ts';

/** The names that {@link setBackend} accepts. */
export const backendNames = ['auto', 'xla', 'webgpu', 'tensorflow', 'native', 'wasm', 'cpu'] as const;

/** A backend, or `auto` for the best one available. */
export type BackendName = (typeof backendNames)[number];

/** Options of {@link setBackend}. */
export interface BackendOptions {
  /** Devices to split tensors and steps over, on `xla`; by default the first device has all. */
  mesh?: Mesh;
}

/** The backend in use and the reason. */
export interface BackendDescription {
  name: Exclude<BackendName, 'auto'>;
  /** Why it was chosen, in one sentence. */
  reason: string;
  /** For example `avx512, 2 threads`, or the name of the GPU. */
  device: string;
  /** Whether tensors are in memory of the device's own, known of accelerators of `xla` only. */
  hasOwnMemory?: true;
}

let current: BackendDescription | undefined;

/**
 * Selects the backend that all TensorFlow.js ops run on.
 *
 * `auto` tries `xla` where there is an accelerator with a PJRT plugin, `webgpu` where there is a GPU (not a software
 * rasterizer), then `native` (this package's SIMD kernels), then `wasm` (stock TensorFlow.js), then `cpu`.
 *
 * @throws BackendError if a backend named explicitly, or a mesh, cannot run here, with the reason and what to do.
 */
export async function setBackend(
  name: BackendName = 'auto',
  { mesh = {} }: BackendOptions = {},
): Promise<BackendDescription> {
  const tried: string[] = [];
  const candidates = name === 'auto' ? AUTOMATIC : [name];
  if (name !== 'xla' && meshSize(mesh) > 1) {
    throw new BackendError(`a mesh of ${meshSize(mesh)} devices needs the backend xla, got ${name}; use xla`);
  }
  for (const candidate of candidates) {
    try {
      // Without an accelerator `xla` is not worth a word.
      if (name === 'auto' && candidate === 'xla' && !hasAccelerator()) continue;
      if (name === 'auto' && candidate === 'webgpu') await requireHardwareGpu();
      const found = await start(candidate, name === 'auto', mesh);
      const reason =
        name !== 'auto'
          ? 'selected explicitly'
          : `${REASONS[candidate as keyof typeof REASONS]}${tried.length > 0 ? ` (${tried.join('; ')})` : ''}`;
      current = { name: candidate, reason, ...(typeof found === 'string' ? { device: found } : found) };
      return current;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (name !== 'auto') throw new BackendError(message, { cause: error });
      tried.push(message);
    }
  }
  throw new BackendError(`no backend can run here: ${tried.join('; ')}`);
}

/**
 * Selects `xla` for devices that need not be there: what is recorded is compiled for them and not run, to plan a step.
 *
 * @param target such as `h200x8` or `v5p-32`; `deviceTarget` of `@meap/pjrt` has all
 * @returns the function that returns the programs so far, executables of `@meap/pjrt`, in the order of their executions
 * @throws BackendError if the mesh has another number of devices, or the target's plugin is missing
 */
export async function planOnTarget(target: string, mesh: Mesh): Promise<() => Promise<Executable[]>> {
  const { startAbsentXla } = await import('#xla');
  const programs = await startAbsentXla(target, mesh);
  current = { name: 'xla', reason: 'selected explicitly', device: `${target}, compiled ahead` };
  return programs;
}

/** Returns the backend in use and why it was chosen. */
export function describeBackend(): BackendDescription {
  const name = tf.getBackend() as BackendDescription['name'];
  if (current?.name === name) return current;
  return { name, reason: 'set through TensorFlow.js', device: 'unknown' };
}

/** What `auto` tries: not TensorFlow, which takes seconds to load. */
const AUTOMATIC = ['xla', 'webgpu', 'native', 'wasm', 'cpu'] as const;

const REASONS = {
  xla: 'this machine has an accelerator and a PJRT plugin for it',
  webgpu: 'this machine has a GPU',
  native: 'the fastest backend for a CPU',
  wasm: 'about 65 times slower than native, which cannot run here',
  cpu: 'slower than wasm, but the only backend that can run here',
};

/**
 * Checks for a device before it loads Dawn, which prints warnings where there is no driver.
 *
 * @throws Error with the reason why `auto` skips `webgpu`.
 */
async function requireHardwareGpu(): Promise<void> {
  const isLinux = globalThis.process?.platform === 'linux';
  if (isLinux && !hasDeviceFile(/^(renderD\d+|nvidia\d+|dxg|kfd|mali\d+)$/, '/dev', '/dev/dri')) {
    throw new Error('webgpu: no GPU');
  }
  const { registerWebgpuBackend } = await import('./webgpu/backend.ts');
  const { isSoftware, description } = await registerWebgpuBackend();
  if (isSoftware) throw new Error(`webgpu: ${description} is a software rasterizer`);
}

async function start(
  name: Exclude<BackendName, 'auto'>,
  isAutomatic: boolean,
  mesh: Mesh,
): Promise<string | Pick<BackendDescription, 'device' | 'hasOwnMemory'>> {
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
    return isSoftware ? `${description} (a software rasterizer, not a GPU)` : description;
  }
  if (name === 'xla') {
    const { registerXlaBackend } = await import('#xla');
    const found = await registerXlaBackend({ needsAccelerator: isAutomatic, mesh });
    await activate(name);
    return found;
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

/** The import is dynamic so that bundlers leave the package out; in a browser the program imports it. */
async function requireWasm(): Promise<void> {
  if (tf.findBackendFactory('wasm')) return;
  const name = '@tensorflow/tfjs-backend-wasm';
  try {
    await import(/* @vite-ignore */ /* webpackIgnore: true */ name);
  } catch (error) {
    throw new Error(
      `wasm: the package ${name} is not installed; run ${installCommand([name])}, and in a browser import it`,
      {
        cause: error,
      },
    );
  }
}

async function activate(name: string): Promise<void> {
  if (!(await tf.setBackend(name))) throw new Error(`${name}: TensorFlow.js cannot start this backend`);
}
