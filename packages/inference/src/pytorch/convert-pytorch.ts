/** Converts a folder with `pytorch_model.bin` and `tokenizer.model` to safetensors and tokenizer.json. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type LlamaConfig,
  parameterShapes,
  readGenerationConfig,
  readLlamaConfig,
  type StoredDtype,
  toHuggingFaceConfig,
} from '@meap/llama-model';
import {
  type Dtype,
  fromFloat32,
  openSafetensors,
  readJsonFile,
  toFloat32,
  type WritableTensor,
  writeShardedSafetensors,
} from '@meap/safetensors';
import { loadTokenizer } from '@meap/token-dataset';
import { ModelError } from '../errors.ts';
import { writeFolder, writeJson } from '../write-folder.ts';
import { convertSentencePiece } from './sentencepiece.ts';
import { openTorchFile } from './torch-file.ts';

const WEIGHTS = 'pytorch_model.bin';
const INDEX = 'pytorch_model.bin.index.json';

/** Options of {@link convertPytorch}. */
export interface ConvertPytorchOptions {
  /** The folder to write. */
  directory: string;
  /** Format of the weights; by default each tensor's own. */
  dtype?: StoredDtype;
}

const SAFETENSORS = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' } as const;
const FLOATS: readonly string[] = ['F64', 'F32', 'F16', 'BF16'];
const OPTIONAL = /\.rotary_emb\.inv_freq$|^lm_head\.weight$/;

interface Weights {
  readonly tensors: ReadonlyMap<string, { readonly dtype: string; readonly shape: readonly number[] }>;
  read(name: string): Promise<Uint8Array>;
  close(): Promise<void>;
}

/**
 * Converts a Hugging Face folder with `pytorch_model.bin`, or its shards, or with a `tokenizer.model` alone, to one with
 * safetensors and tokenizer.json.
 *
 * Runs no code of the files: the pickle is read by a restricted machine. Reads one tensor at a time.
 *
 * @throws ModelError for files that are damaged, do not fit config.json, or need Python; ConfigError
 */
export async function convertPytorch(folder: string, options: ConvertPytorchOptions): Promise<LlamaConfig> {
  const config = readLlamaConfig(folder);
  const tokenizer = existsSync(join(folder, 'tokenizer.json')) ? undefined : tokenizerFiles(folder);
  const weights = await openWeights(folder);
  try {
    const { dtype } = options;
    const tensors = requireTensors(folder, config, weights).map((name): [string, WritableTensor] => {
      const { shape, dtype: stored } = weights.tensors.get(name)!;
      const own = { dtype: stored as Dtype, shape: [...shape] };
      const wanted = dtype && SAFETENSORS[dtype];
      if (!wanted || wanted === stored) return [name, { ...own, data: () => weights.read(name) }];
      const data = async () =>
        fromFloat32(toFloat32({ ...own, data: await weights.read(name) }), wanted, own.shape).data;
      return [name, { dtype: wanted, shape: own.shape, data }];
    });
    await writeFolder(options.directory, async (directory) => {
      if (tokenizer) {
        writeJson(join(directory, 'tokenizer.json'), tokenizer.json);
        writeJson(join(directory, 'tokenizer_config.json'), tokenizer.config);
      }
      // Fails for a tokenizer that the library refuses, before weights are read.
      const loaded = loadTokenizer(tokenizer ? directory : folder);
      for (const { content, id } of tokenizer?.json.added_tokens ?? []) {
        const given = loaded.tokenToId(content);
        if (given === id) continue;
        throw new ModelError(
          `${folder}: the added token ${JSON.stringify(content)} has the id ${id}, expected ${given}: ids of added tokens ` +
            'follow those of tokenizer.model without a gap',
        );
      }
      loaded.save(directory);
      const generation = readGenerationConfig(folder);
      if (generation) writeJson(join(directory, 'generation_config.json'), generation);
      writeJson(join(directory, 'config.json'), {
        ...toHuggingFaceConfig(config),
        ...(dtype && { torch_dtype: dtype }),
      });
      await writeShardedSafetensors(directory, tensors, { metadata: { format: 'pt' } });
    });
    return { ...config, ...(dtype && { torch_dtype: dtype }) };
  } finally {
    await weights.close();
  }
}

function tokenizerFiles(folder: string) {
  const path = join(folder, 'tokenizer.model');
  if (!existsSync(path)) throw new ModelError(`${folder}: neither tokenizer.json nor tokenizer.model there`);
  const json = (name: string) => {
    const file = join(folder, name);
    if (!existsSync(file)) return {};
    const value = readJsonFile(file);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
    throw new ModelError(`${file}: expected a JSON object`);
  };
  return convertSentencePiece(
    readFileSync(path),
    path,
    json('tokenizer_config.json') as Record<string, unknown>,
    json('added_tokens.json') as Record<string, number>,
  );
}

async function openWeights(folder: string): Promise<Weights> {
  const names = weightFiles(folder);
  if (!names) {
    const reader = await openSafetensors(folder);
    const read = async (name: string) => (await reader.read(name)).data;
    return { tensors: reader.tensors, read, close: () => reader.close() };
  }
  const files: Weights[] = [];
  const close = async () => {
    for (const file of files) await file.close();
  };
  try {
    for (const name of names) files.push(await openTorchFile(join(folder, name)));
    const owner = new Map(files.flatMap((file) => [...file.tensors.keys()].map((name) => [name, file])));
    const tensors = new Map(files.flatMap((file) => [...file.tensors]));
    return { tensors, read: (name) => owner.get(name)!.read(name), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The files of PyTorch in a folder; undefined if there are none. */
function weightFiles(folder: string): string[] | undefined {
  if (existsSync(join(folder, WEIGHTS))) return [WEIGHTS];
  const path = join(folder, INDEX);
  if (!existsSync(path)) return undefined;
  const map = (readJsonFile(path) as { weight_map?: unknown } | null)?.weight_map;
  const names = [...new Set(Object.values(Object(map)))];
  const isName = (name: unknown): name is string => typeof name === 'string' && /^[\w.-]+\.bin$/.test(name);
  if (names.length > 0 && names.every(isName)) return names;
  throw new ModelError(
    `${path}: weight_map, got ${JSON.stringify(map)?.slice(0, 80)}, expected names of .bin files`,
  );
}

/** Returns the names of the model's tensors. */
function requireTensors(folder: string, config: LlamaConfig, { tensors }: Weights): string[] {
  const shapes = parameterShapes(config);
  for (const [name, shape] of shapes) {
    const found = tensors.get(name);
    if (found?.shape.join() === shape.join() && FLOATS.includes(found.dtype)) continue;
    const got = found ? `${found.dtype} [${found.shape}]` : 'none';
    throw new ModelError(
      `${folder}: ${name} does not fit config.json, got ${got}, expected F32, F16, BF16 or F64 [${shape}]`,
    );
  }
  const unexpected = [...tensors.keys()].find((name) => !shapes.has(name) && !OPTIONAL.test(name));
  if (unexpected) throw new ModelError(`${folder}: ${unexpected} is not a tensor of this architecture`);
  return [...shapes.keys()];
}
