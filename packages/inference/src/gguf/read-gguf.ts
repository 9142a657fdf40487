import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { type LlamaConfig, parameterShapes, type StoredDtype, toHuggingFaceConfig } from '@meap/llama-model';
import { fromFloat32, type WritableTensor, writeShardedSafetensors } from '@meap/safetensors';
import { loadTokenizer } from '@meap/token-dataset';
import { ModelError } from '../errors.ts';
import { writeFolder, writeJson } from '../write-folder.ts';
import {
  OUTPUT,
  ROPE_FACTORS,
  readArchitecture,
  reorderPairs,
  storesTiedHead,
  tensorName,
} from './architecture.ts';
import { Metadata } from './metadata.ts';
import { readTokenizer } from './read-tokenizer.ts';
import { bytesOf, decodeNumbers, GGUF_TYPES, type GgufType } from './tensor-types.ts';
import { SPECIAL_TOKENS } from './write-tokenizer.ts';

/** Options of {@link readGguf}. */
export interface ReadGgufOptions {
  /** The folder to write. */
  directory: string;
  /** Format of the weights; by default the file's, float32 for a quantised one. */
  dtype?: StoredDtype;
}

interface StoredTensor {
  readonly type: GgufType;
  /** Dimensions, outermost first. */
  readonly shape: readonly number[];
  readonly offset: number;
  readonly bytes: number;
}

const DTYPES: Readonly<Record<string, StoredDtype>> = { f16: 'float16', bf16: 'bfloat16' };
const SAFETENSORS = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' } as const;

/**
 * Converts a GGUF file to a Hugging Face folder: configuration, weights in safetensors, tokenizer, chat template.
 *
 * Checks all sizes against the file before it allocates, and reads one tensor at a time.
 *
 * @throws ModelError for a damaged file and for an architecture, tokenizer or number format that is not supported
 */
export async function readGguf(path: string, options: ReadGgufOptions): Promise<LlamaConfig> {
  const { metadata, tensors } = await readHeader(path);
  const file = await open(path);
  try {
    const read = (tensor: StoredTensor) => readTensor(file, path, tensor);
    const table = required(path, tensors, 'token_embd.weight');
    const factors = tensors.get(ROPE_FACTORS);
    const dtype = options.dtype ?? DTYPES[table.type] ?? 'float32';
    const config = readArchitecture(path, metadata, {
      vocabSize: table.shape[0],
      hasHead: tensors.has(OUTPUT),
      ropeFactors: factors && (await read(factors)),
      specialIds: specialIds(metadata),
      dtype,
    });
    const weights = requireTensors(path, config, tensors);
    const tokenizer = readTokenizer(metadata);
    const writable = weights.map(({ name, tensor }): [string, WritableTensor] => {
      const data = async () =>
        fromFloat32(
          reorderPairs(await read(tensor), name, config, 'huggingface'),
          SAFETENSORS[dtype],
          tensor.shape,
        ).data;
      return [name, { dtype: SAFETENSORS[dtype], shape: tensor.shape, data }];
    });
    await writeFolder(options.directory, async (directory) => {
      writeJson(join(directory, 'tokenizer.json'), tokenizer.json);
      writeJson(join(directory, 'tokenizer_config.json'), tokenizer.config);
      // Fails for a tokenizer that the library refuses, before weights are read.
      loadTokenizer(directory).save(directory);
      const { bos_token_id, eos_token_id, pad_token_id } = config;
      writeJson(join(directory, 'generation_config.json'), { bos_token_id, eos_token_id, pad_token_id });
      writeJson(join(directory, 'config.json'), toHuggingFaceConfig(config));
      await writeShardedSafetensors(directory, writable, { metadata: { format: 'pt' } });
    });
    return config;
  } finally {
    await file.close();
  }
}

async function readHeader(path: string): Promise<{ metadata: Metadata; tensors: Map<string, StoredTensor> }> {
  const { gguf } = await import('@huggingface/gguf');
  let parsed: Awaited<ReturnType<typeof gguf>>;
  const size = await sizeOf(path);
  try {
    parsed = await gguf(path, { allowLocalFile: true });
  } catch (cause) {
    throw new ModelError(`${path}: not a readable GGUF file: ${(cause as Error).message}`, { cause });
  }
  if (!parsed.littleEndian) throw new ModelError(`${path}: big-endian, expected a little-endian GGUF file`);
  const types = new Map(Object.entries(GGUF_TYPES).map(([type, { code }]) => [code, type as GgufType]));
  const tensors = new Map<string, StoredTensor>();
  for (const { name, shape: inner, dtype, offset } of parsed.tensorInfos) {
    const type = types.get(dtype);
    const shape = inner.map(Number).reverse();
    if (type === undefined) {
      throw new ModelError(
        `${path}: ${name} has a number format that is not supported, got type ${dtype}, expected ${[...types.values()].join(', ')}`,
      );
    }
    const bytes = bytesOf(
      type,
      shape.reduce((a, b) => a * b, 1),
    );
    const start = Number(parsed.tensorDataOffset + offset);
    const isWhole = shape.length > 0 && shape.at(-1)! % GGUF_TYPES[type].blockSize === 0;
    if (!isWhole || !(bytes > 0) || !(start + bytes <= size)) {
      throw new ModelError(
        `${path}: ${name} does not fit into the file, got ${type} [${shape}] at byte ${start}, expected it within ${size} bytes`,
      );
    }
    tensors.set(name, { type, shape, offset: start, bytes });
  }
  return { metadata: new Metadata(path, parsed.metadata as Record<string, unknown>), tensors };
}

async function sizeOf(path: string): Promise<number> {
  const file = await open(path).catch((cause: Error) => {
    throw new ModelError(`${path}: cannot be read: ${cause.message}`, { cause });
  });
  try {
    return (await file.stat()).size;
  } finally {
    await file.close();
  }
}

/** The tensors of a model, by Hugging Face's names. */
function requireTensors(path: string, config: LlamaConfig, tensors: ReadonlyMap<string, StoredTensor>) {
  const left = new Set(tensors.keys());
  left.delete(ROPE_FACTORS);
  if (storesTiedHead(config)) left.delete(OUTPUT);
  const found = [...parameterShapes(config)].map(([name, shape]) => {
    const ownName = tensorName(config, name);
    const tensor = required(path, tensors, ownName);
    if (tensor.shape.join() !== shape.join()) {
      throw new ModelError(
        `${path}: ${ownName} does not fit the metadata, got [${tensor.shape}], expected [${shape}]`,
      );
    }
    left.delete(ownName);
    return { name, tensor };
  });
  const [unexpected] = left;
  if (unexpected) throw new ModelError(`${path}: ${unexpected} is not a tensor of this architecture`);
  return found;
}

function required(path: string, tensors: ReadonlyMap<string, StoredTensor>, name: string): StoredTensor {
  const tensor = tensors.get(name);
  if (tensor) return tensor;
  throw new ModelError(`${path}: ${name} is missing`);
}

async function readTensor(file: FileHandle, path: string, tensor: StoredTensor): Promise<Float32Array> {
  const { type, shape, offset, bytes } = tensor;
  const data = new Uint8Array(bytes);
  let done = 0;
  while (done < bytes) {
    const { bytesRead } = await file.read(data, done, Math.min(bytes - done, 2 ** 30), offset + done);
    if (bytesRead === 0)
      throw new ModelError(`${path}: ends at byte ${offset + done}, expected ${bytes - done} more`);
    done += bytesRead;
  }
  return decodeNumbers(
    data,
    type,
    shape.reduce((a, b) => a * b, 1),
  );
}

/** The ids of the model's special tokens: it stops at the end of a text and of a turn. */
function specialIds(metadata: Metadata) {
  const id = (key: string) => metadata.optionalNumber(key) ?? null;
  const stops = [SPECIAL_TOKENS.eos_token, 'tokenizer.ggml.eot_token_id']
    .map(id)
    .filter((stop, i, all): stop is number => stop !== null && all.indexOf(stop) === i);
  return {
    bos_token_id: id(SPECIAL_TOKENS.bos_token),
    eos_token_id: stops.length > 1 ? stops : (stops[0] ?? null),
    pad_token_id: id(SPECIAL_TOKENS.pad_token),
  };
}
