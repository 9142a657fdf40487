import { makeDirectory, syncDirectory } from '@meap/files';
import { countBytes, DTYPE_BYTES, type Dtype, isDtype } from './dtype.ts';
import { attempt, SafetensorsError, show } from './error.ts';
import { LENGTH_BYTES, MAX_HEADER_BYTES, MAX_TENSORS, METADATA_KEY } from './header.ts';
import { fs, paths } from './node.ts';
import { PendingFile } from './pending-file.ts';
import { INDEX_FILE, SINGLE_FILE } from './reader.ts';
import { checkData } from './tensor.ts';

const DEFAULT_SHARD_BYTES = 5_000_000_000;
const SHARD_NAME = /^model-\d{5,}-of-\d{5,}\.safetensors$/;
// A lone surrogate has no UTF-8 form.
const LONE_SURROGATE = /\p{Surrogate}/u;
const DTYPE_ORDER = Object.keys(DTYPE_BYTES);

/** A tensor to write. A function as `data` keeps one tensor in memory at a time. */
export interface WritableTensor {
  dtype: Dtype;
  /** Dimensions, outermost first; `[]` is a scalar. */
  shape: readonly number[];
  /** Row-major little-endian bytes, or a function that returns them and is called once. */
  data: Uint8Array | (() => Uint8Array | Promise<Uint8Array>);
}

/** Options of {@link writeSafetensors}. */
export interface WriteOptions {
  /** The file's `__metadata__`; none by default. Hugging Face transformers expects `{ format: 'pt' }`. */
  metadata?: Readonly<Record<string, string>>;
}

/** Options of {@link writeShardedSafetensors}. */
export interface WriteShardedOptions extends WriteOptions {
  /** Most tensor bytes per shard, 5e9 by default; a larger tensor gets its own shard. */
  maxShardBytes?: number;
}

type NamedTensor = [name: string, tensor: WritableTensor, byteLength: number];

/**
 * Writes a .safetensors file atomically and durably: under a temporary name, synced, renamed.
 *
 * Tensors are ordered as by the reference implementation, by dtype and then by name, so that equal content gives equal
 * bytes.
 *
 * @throws SafetensorsError if the format cannot hold the tensors or the file cannot be written; the temporary file is
 *   then removed. Errors of `data` functions are rethrown.
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<readonly [string, WritableTensor]>,
  { metadata }: WriteOptions = {},
): Promise<void> {
  const file = await writePending(path, checkTensors(path, tensors), metadata);
  await publishAll([file]);
  await attempt('sync', paths.dirname(path), async () => syncDirectory(paths.dirname(path)));
}

/**
 * Writes a checkpoint as Hugging Face does: `model-00001-of-0000N.safetensors` and an index, or `model.safetensors` if one
 * shard is enough. Creates the directory and removes the model files of an earlier save.
 *
 * Tensors fill shards in the given order. All files are complete under temporary names before the first is renamed; the
 * index is renamed last. A crash during the renames can leave a directory without a readable model, but never a mix of
 * two.
 *
 * @returns names of the files, the index last.
 * @throws SafetensorsError if the format cannot hold the tensors or a file cannot be written; temporary files are then
 *   removed. Errors of `data` functions are rethrown.
 */
export async function writeShardedSafetensors(
  directory: string,
  tensors: Iterable<readonly [string, WritableTensor]>,
  { metadata, maxShardBytes = DEFAULT_SHARD_BYTES }: WriteShardedOptions = {},
): Promise<string[]> {
  if (!Number.isSafeInteger(maxShardBytes) || maxShardBytes < 1) {
    throw new SafetensorsError(
      `${directory}: maxShardBytes is out of range, got ${maxShardBytes}, expected an integer from 1`,
    );
  }
  const shards = planShards(checkTensors(directory, tensors), maxShardBytes);
  const names = shards.map((_, i) => shardName(i, shards.length));
  const contents = new Map(names.map((name, i) => [name, shards[i]]));
  await attempt('create', directory, async () => makeDirectory(directory));
  const files: PendingFile[] = [];
  try {
    for (const [name, shard] of contents)
      files.push(await writePending(paths.join(directory, name), shard, metadata));
    if (shards.length > 1) {
      names.push(INDEX_FILE);
      files.push(await writePendingBytes(paths.join(directory, INDEX_FILE), [indexBytes(contents)]));
    }
    // Without an index, shards are not a checkpoint: a crash cannot leave a mix of two saves.
    if (shards.length > 1)
      await removeModelFiles(directory, (name) => name === INDEX_FILE || name === SINGLE_FILE);
  } catch (error) {
    await Promise.all(files.map((file) => file.discard()));
    throw error;
  }
  await publishAll(files);
  await removeModelFiles(directory, (name) => isModelFile(name) && !names.includes(name));
  await attempt('sync', directory, async () => syncDirectory(directory));
  return names;
}

function checkTensors(path: string, tensors: Iterable<readonly [string, WritableTensor]>): NamedTensor[] {
  const names = new Set<string>([METADATA_KEY]);
  const checked: NamedTensor[] = [];
  for (const [name, tensor] of tensors) {
    const quoted = show(name);
    if (names.has(name) || LONE_SURROGATE.test(name)) {
      throw new SafetensorsError(
        `${path}: tensor name ${quoted} cannot be used, expected well-formed Unicode, once, not ${METADATA_KEY}`,
      );
    }
    names.add(name);
    const { dtype, shape, data } = tensor;
    const byteLength = isDtype(dtype) ? countBytes(dtype, shape) : undefined;
    if (byteLength === undefined) {
      throw new SafetensorsError(
        `${path}: tensor ${quoted} cannot be written, got ${dtype} ${show(shape)}, expected a dtype of the format ` +
          'and dimensions that are integers from 0',
      );
    }
    if (typeof data !== 'function') checkData(`${path}: tensor ${quoted}`, dtype, shape, data);
    checked.push([name, tensor, byteLength]);
  }
  return checked;
}

/** Fills shards in the given order. */
function planShards(tensors: NamedTensor[], maxShardBytes: number): NamedTensor[][] {
  const shards: NamedTensor[][] = [[]];
  let shardBytes = 0;
  for (const tensor of tensors) {
    const byteLength = tensor[2];
    if (shardBytes + byteLength > maxShardBytes && shards.at(-1)!.length > 0) {
      shards.push([]);
      shardBytes = 0;
    }
    shards.at(-1)!.push(tensor);
    shardBytes += byteLength;
  }
  return shards;
}

function shardName(index: number, numShards: number): string {
  if (numShards === 1) return SINGLE_FILE;
  const digits = (count: number) => String(count).padStart(5, '0');
  return `model-${digits(index + 1)}-of-${digits(numShards)}.safetensors`;
}

function indexBytes(contents: Map<string, NamedTensor[]>): Uint8Array {
  let totalSize = 0;
  const weightMap: [string, string][] = [];
  for (const [file, tensors] of contents) {
    for (const [name, , byteLength] of tensors) {
      weightMap.push([name, file]);
      totalSize += byteLength;
    }
  }
  weightMap.sort(([a], [b]) => compare(a, b));
  const index = { metadata: { total_size: totalSize }, weight_map: Object.fromEntries(weightMap) };
  return new TextEncoder().encode(`${JSON.stringify(index, null, 2)}\n`);
}

/** Returns the header length and the header, padded with spaces so that the data starts at a multiple of 8. */
function headerBytes(path: string, tensors: NamedTensor[], metadata: WriteOptions['metadata']): Uint8Array {
  const fields: string[] = [];
  if (metadata) {
    const isText = (value: unknown) => typeof value === 'string' && !LONE_SURROGATE.test(value);
    const bad = Object.entries(metadata).find((entry) => !entry.every(isText));
    if (bad) {
      throw new SafetensorsError(
        `${path}: metadata ${show(bad[0])} is not text, got ${typeof bad[1]}, expected well-formed strings`,
      );
    }
    fields.push(`"${METADATA_KEY}":${JSON.stringify(metadata)}`);
  }
  let begin = 0;
  for (const [name, { dtype, shape }, byteLength] of tensors) {
    const entry = { dtype, shape, data_offsets: [begin, begin + byteLength] };
    fields.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
    begin += byteLength;
  }
  const json = new TextEncoder().encode(`{${fields.join(',')}}`);
  const length = Math.ceil(json.length / 8) * 8;
  if (tensors.length > MAX_TENSORS) {
    throw new SafetensorsError(
      `${path}: too many tensors, got ${tensors.length}, expected at most ${MAX_TENSORS}; split them into several files`,
    );
  }
  if (length > MAX_HEADER_BYTES) {
    throw new SafetensorsError(
      `${path}: header is too long, got ${length} bytes, expected at most ${MAX_HEADER_BYTES}; write fewer tensors`,
    );
  }
  const bytes = new Uint8Array(LENGTH_BYTES + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, LENGTH_BYTES);
  return bytes;
}

async function writePending(
  path: string,
  tensors: NamedTensor[],
  metadata: WriteOptions['metadata'],
): Promise<PendingFile> {
  const sorted = [...tensors].sort(
    ([aName, a], [bName, b]) =>
      DTYPE_ORDER.indexOf(b.dtype) - DTYPE_ORDER.indexOf(a.dtype) || compare(aName, bName),
  );
  const header = headerBytes(path, sorted, metadata);
  return writePendingBytes(path, dataOf(path, header, sorted));
}

async function* dataOf(path: string, header: Uint8Array, tensors: NamedTensor[]): AsyncGenerator<Uint8Array> {
  yield header;
  for (const [name, { dtype, shape, data }] of tensors) {
    const bytes = typeof data === 'function' ? await data() : data;
    checkData(`${path}: tensor ${show(name)}`, dtype, shape, bytes);
    yield bytes;
  }
}

async function writePendingBytes(
  path: string,
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<PendingFile> {
  const file = await PendingFile.create(path);
  try {
    for await (const chunk of chunks) await file.write(chunk);
    await file.finish();
  } catch (error) {
    await file.discard();
    throw error;
  }
  return file;
}

async function publishAll(files: PendingFile[]): Promise<void> {
  try {
    for (const file of files) await file.publish();
  } catch (error) {
    await Promise.all(files.map((file) => file.discard()));
    throw error;
  }
}

function isModelFile(name: string): boolean {
  return name === INDEX_FILE || name === SINGLE_FILE || SHARD_NAME.test(name);
}

async function removeModelFiles(directory: string, isStale: (name: string) => boolean): Promise<void> {
  await attempt('remove the earlier save from', directory, async () => {
    for (const name of (await fs.promises.readdir(directory)).filter(isStale))
      await fs.promises.rm(paths.join(directory, name), { force: true });
  });
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
