/// <reference lib="esnext.disposable" preserve="true" />

import type { FileHandle } from 'node:fs/promises';
import type { Dtype } from './dtype.ts';
import { attempt, SafetensorsError, show } from './error.ts';
import {
  type Header,
  LENGTH_BYTES,
  MAX_HEADER_BYTES,
  parseHeader,
  parseHeaderLength,
  readStringMap,
  type TensorRange,
} from './header.ts';
import { JsonCursor } from './json-cursor.ts';
import { fs, paths } from './node.ts';
import type { SafetensorsTensor } from './tensor.ts';

/** Name of a checkpoint in one file. */
export const SINGLE_FILE = 'model.safetensors';
/** Name of the index of a checkpoint in shards. */
export const INDEX_FILE = 'model.safetensors.index.json';

// The system call returns a signed 32-bit count.
const MAX_READ_BYTES = 2 ** 30;

/** A tensor's description in the header. */
export interface TensorInfo {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly byteLength: number;
  /** Path of the file that holds it. */
  readonly file: string;
}

/** An open checkpoint: headers in memory, tensors read one at a time. Made by {@link openSafetensors}. */
export interface SafetensorsReader extends AsyncDisposable {
  /** Every tensor by name; in the order of the data, shard by shard. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** The `__metadata__` of the file; of shards, merged. */
  readonly metadata: Readonly<Record<string, string>>;
  /**
   * Reads one tensor.
   *
   * @param into memory for its bytes, which `data` then is; new memory by default
   * @throws SafetensorsError if there is no such tensor, the file ends early, the tensor is too large for an array, or
   *   `into` has another size
   */
  read(name: string, into?: Uint8Array): Promise<SafetensorsTensor>;
  /** Closes the files; later reads fail. May be called again. */
  close(): Promise<void>;
}

interface Shard {
  path: string;
  handle: FileHandle;
  header: Header;
  dataStart: number;
}

/**
 * Opens a .safetensors file, a `model.safetensors.index.json`, or a directory that has either.
 *
 * Reads only headers, so that files may exceed memory. In a directory, `model.safetensors` takes precedence over the
 * index, as in Hugging Face transformers. Shards provide only the tensors that the index names. Checks every header
 * completely: sizes, overlaps, gaps, trailing bytes, duplicate names.
 *
 * @throws SafetensorsError if a file is missing or damaged; all files are then closed.
 */
export async function openSafetensors(path: string): Promise<SafetensorsReader> {
  const source = await findSource(path);
  if (!source.endsWith('.json')) {
    const shard = await openShard(source);
    return new ShardReader(
      source,
      [shard],
      [...shard.header.tensors.keys()].map((name) => [name, shard]),
    );
  }
  const weightMap = await readIndex(source);
  const shards = new Map<string, Shard>();
  const located: [string, Shard][] = [];
  try {
    for (const file of [...new Set(weightMap.values())].sort()) {
      shards.set(file, await openShard(paths.join(paths.dirname(source), file)));
    }
    for (const [name, file] of weightMap) {
      const shard = shards.get(file)!;
      if (!shard.header.tensors.has(name)) {
        throw new SafetensorsError(`${source}: tensor ${show(name)} is not in ${file}, expected it there`);
      }
      located.push([name, shard]);
    }
  } catch (error) {
    await Promise.all([...shards.values()].map(({ handle }) => handle.close()));
    throw error;
  }
  return new ShardReader(source, [...shards.values()], located);
}

/**
 * Reads a checkpoint with all tensors into memory; takes the paths of {@link openSafetensors}.
 *
 * @throws SafetensorsError if a file is missing or damaged.
 */
export async function readSafetensors(
  path: string,
): Promise<{ metadata: Record<string, string>; tensors: Map<string, SafetensorsTensor> }> {
  const reader = await openSafetensors(path);
  try {
    const tensors = new Map<string, SafetensorsTensor>();
    for (const name of reader.tensors.keys()) tensors.set(name, await reader.read(name));
    return { metadata: { ...reader.metadata }, tensors };
  } finally {
    await reader.close();
  }
}

class ShardReader implements SafetensorsReader {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly #path: string;
  readonly #shards: Shard[];
  readonly #locations = new Map<string, { shard: Shard; range: TensorRange }>();
  #closed = false;

  constructor(path: string, shards: Shard[], located: [string, Shard][]) {
    this.#path = path;
    this.#shards = shards;
    this.metadata = Object.fromEntries(shards.flatMap(({ header }) => Object.entries(header.metadata)));
    for (const [name, shard] of located)
      this.#locations.set(name, { shard, range: shard.header.tensors.get(name)! });
    this.tensors = new Map(
      [...this.#locations].map(([name, { shard, range }]) => [
        name,
        { dtype: range.dtype, shape: range.shape, byteLength: range.end - range.begin, file: shard.path },
      ]),
    );
  }

  async read(name: string, into?: Uint8Array): Promise<SafetensorsTensor> {
    const location = this.#locations.get(name);
    if (!location) {
      throw new SafetensorsError(
        `${this.#path}: no tensor ${show(name)}, expected one of the ${this.#locations.size} listed in tensors`,
      );
    }
    const { shard, range } = location;
    if (this.#closed) throw new SafetensorsError(`${shard.path}: the reader is closed, expected it open`);
    const length = range.end - range.begin;
    if (into && into.length !== length) {
      throw new SafetensorsError(
        `${shard.path}: ${show(name)} does not fit the memory for it, got ${into.length} bytes, expected ${length}`,
      );
    }
    const data = await readExactly(shard.handle, shard.dataStart + range.begin, into ?? length, shard.path);
    return { dtype: range.dtype, shape: [...range.shape], data };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all(this.#shards.map(({ handle }) => handle.close()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

async function findSource(path: string): Promise<string> {
  if (!(await attempt('open', path, () => fs.promises.stat(path))).isDirectory()) return path;
  const files = await attempt('read', path, () => fs.promises.readdir(path));
  const file = [SINGLE_FILE, INDEX_FILE].find((name) => files.includes(name));
  if (file) return paths.join(path, file);
  throw new SafetensorsError(
    `${path}: no checkpoint in this directory, expected ${SINGLE_FILE} or ${INDEX_FILE}`,
  );
}

/** Returns the file of each tensor. */
async function readIndex(path: string): Promise<Map<string, string>> {
  const size = await fileSize(path);
  if (size > MAX_HEADER_BYTES) {
    throw new SafetensorsError(
      `${path}: index is too large, got ${size} bytes, expected at most ${MAX_HEADER_BYTES}`,
    );
  }
  const cursor = new JsonCursor(
    await attempt('read', path, () => fs.promises.readFile(path)),
    `${path}: index`,
  );
  let weightMap: Record<string, string> | undefined;
  cursor.object('the index', (key) => {
    if (key === 'weight_map') weightMap = readStringMap(cursor, 'weight_map');
    else cursor.skip();
  });
  cursor.end();
  if (!weightMap) return cursor.fail('has no weight_map, expected tensor names and their files');
  for (const [name, file] of Object.entries(weightMap)) {
    // Only files beside the index: a hostile index could otherwise read any file of the machine.
    if (file !== paths.basename(file) || file.includes('\\') || !file.endsWith('.safetensors')) {
      cursor.fail(
        `tensor ${show(name)} is not in a file beside the index, got ${show(file)}, ` +
          'expected a name that ends in .safetensors',
      );
    }
  }
  return new Map(Object.entries(weightMap));
}

/** Returns the size of a regular file; opening anything else, such as a pipe, could block forever. */
async function fileSize(path: string): Promise<number> {
  const info = await attempt('open', path, () => fs.promises.stat(path));
  if (!info.isFile()) {
    throw new SafetensorsError(`${path}: is not a file, expected a .safetensors file or an index`);
  }
  return info.size;
}

async function openShard(path: string): Promise<Shard> {
  await fileSize(path);
  const handle = await attempt('open', path, () => fs.promises.open(path, 'r'));
  try {
    const { size } = await attempt('read', path, () => handle.stat());
    const first = await readExactly(handle, 0, Math.min(LENGTH_BYTES, size), path);
    const headerBytes = parseHeaderLength(first, size, path);
    const dataStart = LENGTH_BYTES + headerBytes;
    const header = parseHeader(
      await readExactly(handle, LENGTH_BYTES, headerBytes, path),
      size - dataStart,
      path,
    );
    return { path, handle, header, dataStart };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function readExactly(
  handle: FileHandle,
  position: number,
  target: number | Uint8Array,
  path: string,
): Promise<Uint8Array> {
  const length = typeof target === 'number' ? target : target.length;
  return attempt(`read ${length} bytes`, path, async () => {
    const data = typeof target === 'number' ? new Uint8Array(length) : target;
    let done = 0;
    while (done < length) {
      const wanted = Math.min(length - done, MAX_READ_BYTES);
      const { bytesRead } = await handle.read(data, done, wanted, position + done);
      if (bytesRead === 0) {
        throw new SafetensorsError(
          `${path}: the file was cut short while being read, got ${done} bytes, expected ${length}`,
        );
      }
      done += bytesRead;
    }
    return data;
  });
}
