import { type Llama, loadAdaptedLlama, loadLlama, mergeLora, readLlamaConfig } from '@meap/llama-model';
import {
  type BackendDescription,
  BackendError,
  type BackendName,
  type Precision,
  type QuantizedFormat,
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
  /** Stores the linear layers in 8 or 4 bits, on `native`; the adapter then stays apart. Default: no quantisation. */
  quantize?: QuantizedFormat;
}

/**
 * Loads the weights of a model and merges its adapter, unless they are quantised. Sets the backend and precision of the process.
 *
 * @throws errors of `@meap/llama-model` and `@meap/safetensors` for a damaged model; BackendError
 */
export async function loadModel(
  { base, adapter }: ModelDirectory,
  { backend: name, precision = 'float32', quantize }: ComputeOptions,
): Promise<{ model: Llama; backend: BackendDescription }> {
  const backend = await setBackend(name);
  setPrecision(precision);
  if (quantize && backend.name !== 'native') {
    throw new BackendError(
      `quantize: got ${quantize} on the backend ${backend.name}, expected native, whose kernels read quantised weights; ` +
        'choose that backend, or load the model without quantize',
    );
  }
  // Matrix products round the weights to bfloat16 anyway; an adapter is merged in float32.
  const rounds = precision === 'bfloat16' && backend.name === 'native' && !adapter;
  // Quantised models keep embeddings and head as published.
  const keeps = quantize && readLlamaConfig(base).torch_dtype === 'bfloat16';
  const weights = rounds || keeps ? 'bfloat16' : 'float32';
  if (!adapter) return { model: await loadLlama(base, { weights, quantize }), backend };
  const model = await loadAdaptedLlama(base, adapter, { weights, quantize });
  if (!quantize) mergeLora(model);
  return { model, backend };
}
