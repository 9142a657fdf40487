import { type Llama, loadAdaptedLlama, loadLlama, mergeLora } from '@meap/llama-model';
import {
  type BackendDescription,
  type BackendName,
  type Precision,
  setBackend,
  setPrecision,
} from '@meap/tensor-kernels';
import type { ModelDirectory } from './find-model.ts';

/** Backend and precision of a model. */
export interface ComputeOptions {
  /** The compute backend; default `auto`, the fastest available. */
  backend?: BackendName;
  /** Precision of the inputs of matrix products; default float32. */
  precision?: Precision;
}

/**
 * Loads the weights of a model and merges its adapter. Sets the backend and precision of the process.
 *
 * @throws errors of `@meap/llama-model` and `@meap/safetensors` for a damaged model; BackendError
 */
export async function loadModel(
  { base, adapter }: ModelDirectory,
  { backend: name, precision = 'float32' }: ComputeOptions,
): Promise<{ model: Llama; backend: BackendDescription }> {
  const backend = await setBackend(name);
  setPrecision(precision);
  // Matrix products round the weights to bfloat16 anyway; an adapter is merged in float32.
  const weights = precision === 'bfloat16' && backend.name === 'native' && !adapter ? 'bfloat16' : 'float32';
  if (!adapter) return { model: await loadLlama(base, { weights }), backend };
  const model = await loadAdaptedLlama(base, adapter, { weights });
  mergeLora(model);
  return { model, backend };
}
