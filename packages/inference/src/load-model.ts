/** Weights and backend: what both an evaluation and the server begin with. */
import { type Llama, loadAdaptedLlama, loadLlama, mergeLora } from '@meap/llama-model';
import {
  type BackendDescription,
  type BackendName,
  type Precision,
  setBackend,
  setPrecision,
} from '@meap/tensor-kernels';
import type { ModelDirectory } from './find-model.ts';

/** What is to compute. */
export interface ComputeOptions {
  /** What computes; `auto`, the default, takes the best there is. */
  backend?: BackendName;
  /** Inputs of matrix products; float32 by default. */
  precision?: Precision;
}

/**
 * Loads a model's weights, an adapter merged into them.
 *
 * Sets the backend and precision of the whole process.
 *
 * @throws errors of `@meap/llama-model` and `@meap/safetensors` for a damaged model; BackendError
 */
export async function loadModel(
  { base, adapter }: ModelDirectory,
  { backend: wanted, precision = 'float32' }: ComputeOptions,
): Promise<{ model: Llama; backend: BackendDescription }> {
  const backend = await setBackend(wanted);
  setPrecision(precision);
  // Products round the weights anyway; an adapter is merged into whole ones.
  const weights = precision === 'bfloat16' && backend.name === 'native' && !adapter ? 'bfloat16' : 'float32';
  if (!adapter) return { model: await loadLlama(base, { weights }), backend };
  const model = await loadAdaptedLlama(base, adapter, { weights });
  mergeLora(model);
  return { model, backend };
}
