import {
  adapterVocabularySize,
  growVocabulary,
  type Llama,
  loadAdaptedLlama,
  loadLlama,
  loadLora,
  mergeLora,
  readLlamaConfig,
} from '@meap/llama-model';
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

/** A model and the number of its ids, which may be fewer than the rows of its tables. */
export interface SharedModel {
  readonly model: Llama;
  readonly vocabularySize: number;
}

/**
 * Loads a base model and adapters that share its weights; each adds only its own matrices. Adapters stay apart, so that each
 * pass of theirs takes some more time than one of the base.
 *
 * The tables of the base get the rows that adapters train beyond its vocabulary; `vocabularySize` is the number of ids that a
 * model has without the rows of the others.
 *
 * @param adapters folders by name, as {@link findAdapter} finds them
 * @returns the base, which must be disposed of after the others
 * @throws as {@link loadModel}, also for an adapter that does not fit the base
 */
export async function loadWithAdapters(
  base: ModelDirectory,
  adapters: ReadonlyMap<string, string>,
  options: ComputeOptions,
): Promise<{ base: SharedModel; adapters: Map<string, SharedModel>; backend: BackendDescription }> {
  const sizes = new Map<string, number>();
  for (const [name, directory] of adapters) sizes.set(name, await adapterVocabularySize(directory));
  const { model: plain, backend } = await loadModel(base, options);
  const { vocab_size: vocabularySize } = plain.config;
  let model = plain;
  const loaded = new Map<string, SharedModel>();
  try {
    model = growVocabulary(plain, { size: Math.max(vocabularySize, ...sizes.values()) });
    for (const [name, directory] of adapters) {
      const adapted = model.share();
      loaded.set(name, { model: adapted, vocabularySize: Math.max(vocabularySize, sizes.get(name)!) });
      await loadLora(directory, adapted);
    }
  } catch (error) {
    for (const { model } of loaded.values()) model.dispose();
    model.dispose();
    throw error;
  }
  return { base: { model, vocabularySize }, adapters: loaded, backend };
}
