/** Files of `torch.save` since PyTorch 1.6: ZIP archives, uncompressed, with a pickle and a file for each storage. */
import { type FileHandle, open } from 'node:fs/promises';
import type { Entry, RandomAccessReader, ZipFile } from 'yauzl';
import { ModelError } from '../errors.ts';
import { type TorchDtype, type TorchTensor, unpickleStateDict } from './unpickle.ts';

const BYTES: Readonly<Record<TorchDtype, number>> = {
  ...{ F64: 8, I64: 8, F32: 4, I32: 4, F16: 2, BF16: 2, I16: 2, I8: 1, U8: 1, BOOL: 1 },
};

/** Far above that of a model: 100,000 tensors take 20 MB. */
const MAX_PICKLE_BYTES = 64 * 2 ** 20;

/** An open file of PyTorch. */
export interface TorchFile {
  readonly tensors: ReadonlyMap<string, { readonly dtype: TorchDtype; readonly shape: readonly number[] }>;
  /** The little-endian bytes of a tensor. */
  read(name: string): Promise<Uint8Array>;
  close(): Promise<void>;
}

/**
 * Opens a file and reads the names and shapes of its tensors; runs no code of the file.
 *
 * @throws ModelError for a file that is damaged, of another kind, or lies about sizes
 */
export async function openTorchFile(path: string): Promise<TorchFile> {
  const { fromRandomAccessReaderPromise, RandomAccessReader: BaseReader } = await import('yauzl');
  const file = await open(path).catch((cause: Error) => {
    throw new ModelError(`${path}: cannot be read: ${cause.message}`, { cause });
  });
  let zip: ZipFile | undefined;
  const close = async () => {
    zip?.close();
    await file.close();
  };
  try {
    const { size } = await file.stat();
    // yauzl's own reader throws, uncaught, where a damaged archive points to what is no position in a file.
    class Reader extends BaseReader {
      override read(...[buffer, offset, length, position, callback]: Parameters<RandomAccessReader['read']>) {
        const isWithin = position + length <= size;
        const bytes = isWithin
          ? readFully(file, path, position, length)
          : Promise.reject(new Error(`it points to ${length} bytes at ${position}, and has ${size}`));
        bytes.then((found) => {
          buffer.set(found, offset);
          callback(null);
        }, callback);
      }
    }
    zip = await fromRandomAccessReaderPromise(new Reader(), size, { lazyEntries: true, autoClose: false });
    const entries = new Map<string, Entry>();
    for await (const entry of zip.eachEntry()) entries.set(entry.fileName, entry);
    const pickleName = [...entries.keys()].find((name) => name.endsWith('/data.pkl'));
    if (!pickleName) throw new ModelError(`${path}: no data.pkl within, expected a file of torch.save`);
    const folder = pickleName.slice(0, -'data.pkl'.length);
    /** The bytes [from, from + length) of a file in the archive. */
    const readEntry = async (name: string, from: number, length: number): Promise<Uint8Array> => {
      const entry = entries.get(name);
      if (entry?.compressionMethod !== 0) {
        throw new ModelError(
          `${path}: ${name} is ${entry ? 'compressed' : 'missing'}, expected it as torch.save writes it`,
        );
      }
      const { fileDataStart } = await zip!
        .readLocalFileHeaderPromise(entry, { minimal: true })
        .catch((cause: Error) => {
          throw new ModelError(`${path}: ${name} cannot be found: ${cause.message}`, { cause });
        });
      const has = Math.min(entry.uncompressedSize, size - fileDataStart);
      if (from + length > has) {
        throw new ModelError(`${path}: ${name} has ${Math.max(0, has)} bytes, expected ${from + length}`);
      }
      return readFully(file, path, fileDataStart + from, length);
    };
    const order = `${folder}byteorder`;
    if (entries.has(order)) {
      const text = new TextDecoder().decode(
        await readEntry(order, 0, Math.min(6, entries.get(order)!.uncompressedSize)),
      );
      if (text !== 'little')
        throw new ModelError(`${path}: byte order ${JSON.stringify(text)}, expected little`);
    }
    const length = entries.get(pickleName)!.uncompressedSize;
    if (length > MAX_PICKLE_BYTES) {
      throw new ModelError(
        `${path}: ${pickleName} has ${length} bytes, expected at most ${MAX_PICKLE_BYTES}`,
      );
    }
    const found = unpickleStateDict(await readEntry(pickleName, 0, length), path);
    const tensors = new Map(
      [...found].map(([name, tensor]) => [name, { dtype: tensor.storage.dtype, shape: tensor.shape }]),
    );
    const read = async (name: string) => {
      const { storage, offset, shape } = requireContiguous(path, name, found.get(name)!);
      const width = BYTES[storage.dtype];
      const numbers = shape.reduce((a, b) => a * b, 1);
      if (numbers > storage.size - offset) {
        throw new ModelError(
          `${path}: ${name} does not fit its storage, got [${shape}] at ${offset}, expected at most ${storage.size} elements`,
        );
      }
      return readEntry(`${folder}data/${storage.key}`, offset * width, numbers * width);
    };
    return { tensors, read, close };
  } catch (error) {
    await close();
    if (error instanceof ModelError) throw error;
    throw new ModelError(
      `${path}: not a ZIP archive of torch.save: ${(error as Error).message}; a file from before PyTorch 1.6 must be loaded ` +
        'and saved with a newer one',
      { cause: error },
    );
  }
}

/** Refuses a tensor that is a transposed or strided view. */
function requireContiguous(path: string, name: string, tensor: TorchTensor): TorchTensor {
  let stride = 1;
  for (let axis = tensor.shape.length - 1; axis >= 0; axis--) {
    const size = tensor.shape[axis];
    if (size !== 1 && tensor.strides[axis] !== stride) {
      throw new ModelError(
        `${path}: ${name} is a view with strides [${tensor.strides}] of [${tensor.shape}], expected contiguous rows; save ` +
          'its .contiguous()',
      );
    }
    stride *= Math.max(1, size);
  }
  return tensor;
}

async function readFully(file: FileHandle, path: string, start: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, Math.min(length - done, 2 ** 30), start + done);
    if (bytesRead === 0) throw new ModelError(`${path}: ends at byte ${start + done}`);
    done += bytesRead;
  }
  return bytes;
}
