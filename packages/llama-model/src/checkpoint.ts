import { makeDirectory } from '@meap/files';
import {
  fromFloat32,
  openSafetensors,
  readJsonFile,
  SafetensorsError,
  type SafetensorsReader,
  toFloat32,
  type WritableTensor,
  writeShardedSafetensors,
} from '@meap/safetensors';
import {
  bfloat16Bits,
  bfloat16Variable,
  type QuantizedFormat,
  quantizedBytes,
  storeAsBfloat16,
  storeQuantized,
  trimMemory,
} from '@meap/tensor-kernels';
import type * as tf from '@tensorflow/tfjs-core';
import { type LlamaConfig, parseConfig, type StoredDtype, toHuggingFaceConfig } from './config.ts';
import { AdapterError, CheckpointError } from './errors.ts';
import { mergedBits, mergedWeight } from './lora.ts';
import { Llama } from './model.ts';
import { fs } from './node.ts';
import { EMBEDDING, HEAD, isBlockParameter, parameterShapes, variable } from './parameters.ts';

/** Options of `loadLlama`. */
export interface LoadLlamaOptions {
  /** Storage of matrices; `bfloat16` takes half the memory, on `native`, for frozen weights. `float32` by default. */
  weights?: 'float32' | 'bfloat16';
  /**
   * Stores the linear layers of the blocks in 8 or 4 bits (`storeQuantized` of `@meap/tensor-kernels`), on `native`, for
   * frozen weights: about a quarter or an eighth of the memory. As in transformers, embeddings and head stay as they are.
   */
  quantize?: QuantizedFormat;
}

/** Options of `saveLlama`. */
export interface SaveLlamaOptions {
  /** Format of the weights in the file, rounded to nearest even; the config's `torch_dtype` by default. */
  dtype?: StoredDtype;
  /** Largest size of a weight file in bytes; larger weights are sharded with an index. 5e9 by default. */
  maxShardBytes?: number;
  /** Adds the update of an adapter to the weights in the files, in float32; the model in memory stays as it is. */
  mergeAdapter?: boolean;
  /** Further keys of generation_config.json, such as those of {@link readGenerationConfig}. */
  generationConfig?: Readonly<Record<string, unknown>>;
  /** Replaces the function of `@meap/safetensors`, for instance to write in the background during training. */
  writeShardedSafetensors?: (...files: Parameters<typeof writeShardedSafetensors>) => Promise<unknown>;
}

const SAFETENSORS_DTYPE = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' } as const;
const READABLE_DTYPES = new Set(['F64', 'F32', 'F16', 'BF16']);

// Rotary frequencies that old versions of transformers stored; rope_theta determines them.
const DERIVED_BUFFER = /\.rotary_emb\.inv_freq$/;

// Magnitudes from this value on round to infinity in float16.
const FLOAT16_LIMIT = 65_520;

/**
 * Loads a Hugging Face directory of a LLaMA, Mistral, Qwen, SmolLM or OLMo 2: config.json and model.safetensors, or
 * shards with their index.
 *
 * Reads one tensor at a time, so memory holds the model and one more tensor.
 *
 * @throws ConfigError for a model this package does not implement; CheckpointError naming the tensors that are
 *   missing, unexpected, of the wrong shape or dtype, or not finite; SafetensorsError for a damaged file; BackendError
 *   for `bfloat16` or `quantize` on a backend other than `native`
 */
export async function loadLlama(directory: string, options: LoadLlamaOptions = {}): Promise<Llama> {
  const config = readLlamaConfig(directory);
  const reader = await openSafetensors(directory);
  const parameters = new Map<string, tf.Variable>();
  try {
    requireTensors(directory, config, reader);
    await requireTiedHead(directory, config, reader);
    for (const [name, shape] of parameterShapes(config)) {
      const storage = storageOf(name, shape, options);
      if (storage !== 'float32' && reader.tensors.get(name)!.dtype === 'BF16') {
        // Into the memory of the weight: large arrays of JavaScript are freed late.
        const parameter = bfloat16Variable(shape);
        parameters.set(name, parameter);
        const bits = bfloat16Bits(parameter)!;
        await reader.read(name, new Uint8Array(bits.buffer, bits.byteOffset, bits.byteLength));
        requireFiniteBits(directory, name, bits);
        if (storage !== 'bfloat16') storeQuantized(parameter, storage);
        continue;
      }
      const values = toFloat32(await reader.read(name));
      requireFinite(directory, name, values, Number.POSITIVE_INFINITY);
      const parameter = variable(values, shape);
      parameters.set(name, parameter);
      if (storage === 'bfloat16') storeAsBfloat16(parameter);
      else if (storage !== 'float32') storeQuantized(parameter, storage);
    }
    trimMemory();
    return new Llama(config, parameters);
  } catch (error) {
    for (const parameter of parameters.values()) parameter.dispose();
    throw error;
  } finally {
    await reader.close();
  }
}

/** How a parameter is stored: matrices in bfloat16 or quantised, vectors in float32. */
function storageOf(
  name: string,
  shape: readonly number[],
  { weights = 'float32', quantize }: LoadLlamaOptions,
): 'float32' | 'bfloat16' | QuantizedFormat {
  if (shape.length < 2) return 'float32';
  return quantize && isBlockParameter(name) ? quantize : weights;
}

/** Returns the bytes of a model's weights in memory, as {@link loadLlama} stores them. */
export function weightBytes(config: LlamaConfig, options: LoadLlamaOptions = {}): number {
  let total = 0;
  for (const [name, shape] of parameterShapes(config)) {
    const size = shape.reduce((a, b) => a * b, 1);
    const storage = storageOf(name, shape, options);
    if (storage === 'float32') total += 4 * size;
    else total += storage === 'bfloat16' ? 2 * size : quantizedBytes(size, storage);
  }
  return total;
}

/**
 * Writes a model as a Hugging Face directory that transformers loads unchanged: config.json,
 * generation_config.json and the weights, which replace those of an earlier save.
 *
 * Reads one tensor at a time from the backend. Writes the weights last, completely or not at all.
 *
 * @returns names of the files written, for instance `['config.json', …, 'model.safetensors']`; those of weights only if
 *   the function that writes them returns them
 * @throws AdapterError for an adapter that is not merged, which these files cannot hold, without `mergeAdapter`;
 *   CheckpointError for weights that are not finite in `dtype` or a directory that cannot be written;
 *   SafetensorsError when writing the weights fails
 */
export async function saveLlama(
  directory: string,
  model: Llama,
  options: SaveLlamaOptions = {},
): Promise<string[]> {
  const { dtype = model.config.torch_dtype, maxShardBytes, generationConfig, mergeAdapter } = options;
  const write = options.writeShardedSafetensors ?? writeShardedSafetensors;
  const merges = model.adapter !== undefined && !model.adapter.merged;
  if (merges && !mergeAdapter) {
    throw new AdapterError(
      'saveLlama: the model has an adapter that is not merged; give mergeAdapter, call mergeLora first, or saveLora for the adapter alone',
    );
  }
  const tensors = [...model.parameters].map(([name, parameter]): [string, WritableTensor] => {
    const data = async () => {
      const changed = merges && dtype === 'bfloat16' ? mergedBits(model, name) : undefined;
      const weight = merges && !changed ? mergedWeight(model, name) : parameter;
      const bits = changed ?? (dtype === 'bfloat16' ? bfloat16Bits(weight) : undefined);
      if (bits) {
        requireFiniteBits(directory, name, bits);
        return new Uint8Array(bits.buffer, bits.byteOffset, bits.byteLength);
      }
      const values = (await weight.data()) as Float32Array;
      if (weight !== parameter) weight.dispose();
      requireFinite(directory, name, values, dtype === 'float16' ? FLOAT16_LIMIT : Number.POSITIVE_INFINITY);
      return fromFloat32(values, SAFETENSORS_DTYPE[dtype], parameter.shape).data;
    };
    return [name, { dtype: SAFETENSORS_DTYPE[dtype], shape: parameter.shape, data }];
  });
  const { bos_token_id, eos_token_id, pad_token_id } = model.config;
  const ids = Object.entries({ bos_token_id, eos_token_id, pad_token_id }).filter(([, id]) => id != null);
  const generation = generationConfig ?? {
    _from_model_config: true,
    bos_token_id,
    eos_token_id,
    pad_token_id,
  };
  const files = {
    'config.json': { ...toHuggingFaceConfig(model.config), torch_dtype: dtype },
    'generation_config.json': { ...generation, ...Object.fromEntries(ids) },
  };
  try {
    makeDirectory(directory);
    for (const [name, content] of Object.entries(files)) {
      await fs.promises.writeFile(`${directory}/${name}`, `${JSON.stringify(content, null, 2)}\n`);
    }
  } catch (cause) {
    throw new CheckpointError(`${directory}: cannot be written: ${(cause as Error).message}`, [], { cause });
  }
  const weightFiles = await write(directory, tensors, { metadata: { format: 'pt' }, maxShardBytes });
  return [...Object.keys(files), ...(Array.isArray(weightFiles) ? weightFiles : [])];
}

/**
 * Reads and checks the config.json of a Hugging Face directory, without its weights.
 *
 * @throws CheckpointError if there is none or it is not JSON; ConfigError for a model that this package does not implement
 */
export function readLlamaConfig(directory: string): LlamaConfig {
  const path = `${directory}/config.json`;
  const source = readIfPresent(path);
  if (source !== undefined) return parseConfig(source as Record<string, unknown>, path);
  throw new CheckpointError(
    `${directory}: no config.json there, expected the folder of a Hugging Face model`,
  );
}

/**
 * Reads the generation_config.json of a Hugging Face directory unchanged; undefined if there is none.
 *
 * @throws CheckpointError if it is not a JSON object
 */
export function readGenerationConfig(directory: string): Record<string, unknown> | undefined {
  const path = `${directory}/generation_config.json`;
  const source = readIfPresent(path);
  if (source === undefined) return undefined;
  if (typeof source === 'object' && source !== null && !Array.isArray(source)) return { ...source };
  throw new CheckpointError(`${path}: expected a JSON object`, []);
}

function readIfPresent(path: string): unknown {
  try {
    return readJsonFile(path);
  } catch (cause) {
    if (cause instanceof SafetensorsError) throw new CheckpointError(cause.message, [], { cause });
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new CheckpointError(`${path}: cannot be read as JSON: ${message}`, [], { cause });
  }
}

function requireTensors(directory: string, config: LlamaConfig, { tensors }: SafetensorsReader): void {
  const shapes = parameterShapes(config);
  const missing = [...shapes.keys()].filter((name) => !tensors.has(name));
  const derived = (name: string) =>
    DERIVED_BUFFER.test(name) || (config.tie_word_embeddings && name === HEAD);
  const unexpected = [...tensors.keys()].filter((name) => !shapes.has(name) && !derived(name));
  if (missing.length > 0 || unexpected.length > 0) {
    const found = [list('missing', missing), list('unexpected', unexpected)].filter(Boolean).join('; ');
    throw new CheckpointError(
      `${directory}: weights do not fit config.json, ${found}; expected the ${shapes.size} tensors of its layers`,
      [...missing, ...unexpected],
    );
  }
  for (const [name, expected] of shapes) {
    const { dtype, shape } = tensors.get(name)!;
    if (shape.join() !== expected.join() || !READABLE_DTYPES.has(dtype)) {
      throw new CheckpointError(
        `${directory}: ${name} does not fit config.json, got ${dtype} [${shape}], ` +
          `expected F32, F16, BF16 or F64 [${expected}]`,
        [name],
      );
    }
  }
}

/** Some programs store a tied head twice; if the copies differ, the model is not tied. */
async function requireTiedHead(
  directory: string,
  config: LlamaConfig,
  reader: SafetensorsReader,
): Promise<void> {
  if (!config.tie_word_embeddings || !reader.tensors.has(HEAD)) return;
  const [head, table] = [await reader.read(HEAD), await reader.read(EMBEDDING)];
  if (head.dtype === table.dtype && Buffer.compare(head.data, table.data) === 0) return;
  throw new CheckpointError(
    `${directory}: ${HEAD} differs from ${EMBEDDING}, got tie_word_embeddings true in config.json, expected one table; ` +
      'set tie_word_embeddings to false if the model has a separate head',
    [HEAD],
  );
}

/** Throws a CheckpointError that names the first value that is not finite. */
export function requireFinite(directory: string, name: string, values: Float32Array, limit: number): void {
  for (let i = 0; i < values.length; i++) {
    // False for NaN too.
    if (!(Math.abs(values[i]) < limit)) refuseInfinite(directory, name, values[i], i);
  }
}

/** {@link requireFinite} of bfloat16 numbers, which are not finite if all bits of the exponent are ones. */
function requireFiniteBits(directory: string, name: string, bits: Uint16Array): void {
  for (let i = 0; i < bits.length; i++) {
    if ((bits[i] & 0x7f80) !== 0x7f80) continue;
    const value = new Float32Array(Uint32Array.of(bits[i] << 16).buffer)[0];
    refuseInfinite(directory, name, value, i);
  }
}

function refuseInfinite(directory: string, name: string, value: number, element: number): never {
  throw new CheckpointError(
    `${directory}: ${name} holds a value that is not finite, got ${value} at element ${element}; ` +
      'the training run diverged before it was saved; use an earlier checkpoint',
    [name],
  );
}

function list(what: string, names: string[]): string {
  if (names.length === 0) return '';
  const shown = names.slice(0, 4).join(', ');
  return `${what} ${names.length > 4 ? `${shown} and ${names.length - 4} more` : shown}`;
}
