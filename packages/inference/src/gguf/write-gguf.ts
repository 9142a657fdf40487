import { basename, dirname, join } from 'node:path';
import { makeDirectory, writeFileAtomic, writeStreamAtomic } from '@meap/files';
import { type LlamaConfig, parameterShapes, readLlamaConfig } from '@meap/llama-model';
import { openSafetensors, toFloat32 } from '@meap/safetensors';
import { loadTokenizer, type Tokenizer } from '@meap/token-dataset';
import { writeError } from '../errors.ts';
import type { ModelDirectory } from '../find-model.ts';
import { loadModel } from '../load-model.ts';
import {
  contextOf,
  OUTPUT,
  ROPE_FACTORS,
  reorderPairs,
  requireArchitecture,
  ropeFactors,
  storesTiedHead,
  tensorName,
  writeArchitecture,
} from './architecture.ts';
import { MetadataBuilder } from './metadata.ts';
import { bytesOf, encodeNumbers, GGUF_TYPES, type GgufType } from './tensor-types.ts';
import { writeTokenizer } from './write-tokenizer.ts';

/** Tensors start at multiples of this, GGUF's default. */
const ALIGNMENT = 32;

/** Options of {@link writeGguf}. */
export interface WriteGgufOptions {
  /** The file to write, with a Modelfile beside it. */
  path: string;
  /** Number format of matrices; vectors are float32. By default that of the model's weights. */
  type?: GgufType;
  /** `general.name`, by default the name of the file. */
  name?: string;
}

/** What {@link writeGguf} wrote. */
export interface WrittenGguf {
  readonly path: string;
  readonly modelfile: string;
  readonly type: GgufType;
  readonly numTensors: number;
  readonly bytes: number;
  /** Context in tokens: that of the model, or its sliding window, which llama.cpp does not have here. */
  readonly contextLength: number;
}

interface PlannedTensor {
  /** Name in GGUF. */
  readonly name: string;
  /** Dimensions, outermost first. */
  readonly shape: readonly number[];
  readonly type: GgufType;
  values(): Promise<Float32Array>;
}

const TYPE_OF_DTYPE = { float32: 'f32', float16: 'f16', bfloat16: 'bf16' } as const;

/**
 * Writes a model as a GGUF file for llama.cpp and Ollama, an adapter merged, with the tokenizer and its chat template, and
 * a Modelfile in its folder.
 *
 * Reads one tensor at a time, or with an adapter the whole model. The file appears complete or not at all.
 *
 * @throws ModelError for a model or a tokenizer that GGUF cannot hold
 */
export async function writeGguf(folders: ModelDirectory, options: WriteGgufOptions): Promise<WrittenGguf> {
  const { path, name = basename(path, '.gguf') } = options;
  const tokenizer = loadTokenizer(folders.tokenizer);
  const source = await openWeights(folders);
  try {
    const { config } = source;
    const type = options.type ?? TYPE_OF_DTYPE[config.torch_dtype];
    requireArchitecture(config);
    const metadata = new MetadataBuilder();
    writeArchitecture(metadata, config);
    metadata.text('general.type', 'model');
    metadata.text('general.name', name);
    metadata.count('general.file_type', GGUF_TYPES[type].fileType);
    metadata.count('general.quantization_version', 2);
    await writeTokenizer(metadata, tokenizer, config);
    const template = tokenizer.chatTemplate;
    if (template) metadata.text('tokenizer.chat_template', template);

    const tensors = planTensors(config, type, source.read);
    const { serializeGgufMetadata } = await import('@huggingface/gguf');
    const header = [serializeGgufMetadata(metadata.build(tensors.length), { alignment: 1 })];
    let offset = 0;
    for (const tensor of tensors) {
      header.push(describeTensor(tensor, offset));
      offset += padded(sizeOf(tensor));
    }
    const headerBytes = header.reduce((sum, { byteLength }) => sum + byteLength, 0);
    const chunks = async function* () {
      yield* header;
      yield new Uint8Array(padded(headerBytes) - headerBytes);
      for (const tensor of tensors) {
        const bytes = encodeNumbers(await tensor.values(), tensor.type);
        yield bytes;
        yield new Uint8Array(padded(bytes.byteLength) - bytes.byteLength);
      }
    };
    const folder = dirname(path);
    const modelfile = join(folder, 'Modelfile');
    try {
      makeDirectory(folder);
      await writeStreamAtomic(path, chunks());
      writeFileAtomic(modelfile, describeModel(basename(path), config, tokenizer));
    } catch (error) {
      throw writeError(path, error);
    }
    return {
      path,
      modelfile,
      type,
      numTensors: tensors.length,
      bytes: padded(headerBytes) + offset,
      contextLength: contextOf(config),
    };
  } finally {
    await source.close();
  }
}

interface Weights {
  readonly config: LlamaConfig;
  read(name: string): Promise<Float32Array>;
  close(): Promise<void>;
}

async function openWeights(folders: ModelDirectory): Promise<Weights> {
  if (folders.adapter !== undefined) {
    const { model } = await loadModel(folders, {});
    const read = async (name: string) => (await model.parameters.get(name)!.data()) as Float32Array;
    return { config: model.config, read, close: async () => model.dispose() };
  }
  const config = readLlamaConfig(folders.base);
  const reader = await openSafetensors(folders.base);
  return { config, read: async (name) => toFloat32(await reader.read(name)), close: () => reader.close() };
}

function planTensors(config: LlamaConfig, type: GgufType, read: Weights['read']): PlannedTensor[] {
  const tensors: PlannedTensor[] = [];
  for (const [name, shape] of parameterShapes(config)) {
    const values = async () => reorderPairs(await read(name), name, config, 'gguf');
    tensors.push({ name: tensorName(config, name), shape, type: typeOf(name, shape, type), values });
  }
  if (storesTiedHead(config)) tensors.push({ ...tensors[0], name: OUTPUT });
  const factors = ropeFactors(config);
  if (factors)
    tensors.push({ name: ROPE_FACTORS, shape: [factors.length], type: 'f32', values: async () => factors });
  return tensors;
}

/** Vectors are float32 and rows that are not whole blocks float16, as in llama.cpp; tables keep 8 bits. */
function typeOf(name: string, shape: readonly number[], type: GgufType): GgufType {
  if (shape.length === 1) return 'f32';
  if (shape[1] % GGUF_TYPES[type].blockSize !== 0) return 'f16';
  return type === 'q4_0' && /embed_tokens|lm_head/.test(name) ? 'q8_0' : type;
}

const sizeOf = ({ shape, type }: PlannedTensor) =>
  bytesOf(
    type,
    shape.reduce((a, b) => a * b, 1),
  );
const padded = (bytes: number) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/** A tensor's entry in the header: name, dimensions from the innermost, type, offset. */
function describeTensor({ name, shape, type }: PlannedTensor, offset: number): Uint8Array {
  const text = Buffer.from(name);
  const bytes = Buffer.alloc(8 + text.length + 4 + 8 * shape.length + 4 + 8);
  let at = bytes.writeBigUInt64LE(BigInt(text.length));
  at += text.copy(bytes, at);
  at = bytes.writeUInt32LE(shape.length, at);
  for (const size of shape.toReversed()) at = bytes.writeBigUInt64LE(BigInt(size), at);
  at = bytes.writeUInt32LE(GGUF_TYPES[type].code, at);
  bytes.writeBigUInt64LE(BigInt(offset), at);
  return bytes;
}

/** A Modelfile of Ollama, which takes a chat template from the file. */
function describeModel(file: string, config: LlamaConfig, tokenizer: Tokenizer): string {
  const stops = ([config.eos_token_id ?? []].flat() as number[]).map((id) => tokenizer.idToToken(id));
  const lines = [
    `FROM ./${file}`,
    ...(tokenizer.chatTemplate ? [] : ['TEMPLATE """{{ .Prompt }}"""']),
    `PARAMETER num_ctx ${contextOf(config)}`,
    ...stops.filter((token) => token !== undefined).map((token) => `PARAMETER stop ${JSON.stringify(token)}`),
  ];
  return `${lines.join('\n')}\n`;
}
