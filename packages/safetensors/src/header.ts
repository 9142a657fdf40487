import { countBytes, type Dtype, isDtype } from './dtype.ts';
import { SafetensorsError, show } from './error.ts';
import { JsonCursor } from './json-cursor.ts';

/** Bytes of the header length at the start of a file, a little-endian integer. */
export const LENGTH_BYTES = 8;
/** Longest header accepted; the limit of the reference implementation. */
export const MAX_HEADER_BYTES = 100_000_000;
/** Most tensors per file: ten times those of the largest published one; reading them takes less than a second. */
export const MAX_TENSORS = 100_000;
/** The only key of a header that is not a tensor. */
export const METADATA_KEY = '__metadata__';

/** A tensor as its header describes it; `begin` and `end` are bytes from the start of the data. */
export interface TensorRange {
  dtype: Dtype;
  shape: number[];
  begin: number;
  end: number;
}

/** A checked header; tensors are in the order of their data. */
export interface Header {
  metadata: Record<string, string>;
  tensors: Map<string, TensorRange>;
}

/** Returns the length of the header from the first 8 bytes of a file of `fileBytes` bytes. */
export function parseHeaderLength(first: Uint8Array, fileBytes: number, path: string): number {
  if (fileBytes < LENGTH_BYTES) {
    throw new SafetensorsError(
      `${path}: too short for a safetensors file, got ${fileBytes} bytes, expected 8 or more`,
    );
  }
  const length = new DataView(first.buffer, first.byteOffset).getBigUint64(0, true);
  if (new TextDecoder('latin1').decode(first) === 'version ') {
    throw new SafetensorsError(
      `${path}: is a Git LFS pointer, expected the file itself; fetch it with git lfs pull`,
    );
  }
  if (length > MAX_HEADER_BYTES || LENGTH_BYTES + Number(length) > fileBytes) {
    throw new SafetensorsError(
      `${path}: header length does not fit, got ${length}, expected at most ` +
        `${Math.min(MAX_HEADER_BYTES, fileBytes - LENGTH_BYTES)}; the file is damaged or of another format`,
    );
  }
  return Number(length);
}

/** Parses and checks a header whose file holds `dataBytes` bytes after it. */
export function parseHeader(bytes: Uint8Array, dataBytes: number, path: string): Header {
  const cursor = new JsonCursor(bytes, `${path}: header`);
  if (bytes[0] !== 0x7b) cursor.fail('does not start with "{"');
  let metadata: Record<string, string> = {};
  const found: [string, TensorRange][] = [];
  cursor.object('the header', (name) => {
    if (name === METADATA_KEY) metadata = readStringMap(cursor, METADATA_KEY);
    else if (found.push([name, readRange(cursor, name)]) > MAX_TENSORS) {
      cursor.fail(`more than ${MAX_TENSORS} tensors, expected fewer; split them into several files`);
    }
  });
  cursor.end();
  // An empty tensor may begin where the next one does; it comes first.
  found.sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  checkRangesFillData(found, dataBytes, path);
  return { metadata, tensors: new Map(found) };
}

/** Reads an object whose values are all strings. */
export function readStringMap(cursor: JsonCursor, what: string): Record<string, string> {
  const entries: [string, string][] = [];
  cursor.object(what, (key) => entries.push([key, cursor.string(`a string in ${what}`)]));
  // Unlike assignment, fromEntries treats the key __proto__ like any other.
  return Object.fromEntries(entries);
}

function readRange(cursor: JsonCursor, name: string): TensorRange {
  const quoted = show(name);
  let dtype: string | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  const integers = (what: string) => {
    const values: number[] = [];
    cursor.array(`${what} of ${quoted}`, () => values.push(cursor.integer(`${what} of ${quoted}`)));
    return values;
  };
  cursor.object(`the entry of ${quoted}`, (field) => {
    if (field === 'dtype') dtype = cursor.string(`dtype of ${quoted}`);
    else if (field === 'shape') shape = integers('shape');
    else if (field === 'data_offsets') offsets = integers('data_offsets');
    else cursor.fail(`tensor ${quoted} has an unknown field, got ${show(field)}`);
  });
  if (dtype === undefined || shape === undefined || offsets?.length !== 2) {
    return cursor.fail(`tensor ${quoted} is incomplete, expected dtype, shape and two data_offsets`);
  }
  if (!isDtype(dtype)) return cursor.fail(`tensor ${quoted} has an unknown dtype, got ${show(dtype)}`);
  const [begin, end] = offsets;
  const bytes = countBytes(dtype, shape);
  if (bytes === undefined) return cursor.fail(`tensor ${quoted} is too large, got ${dtype} ${show(shape)}`);
  if (end - begin !== bytes) {
    cursor.fail(
      `tensor ${quoted} has the wrong size, got data_offsets [${offsets}] of ${end - begin} bytes, ` +
        `expected ${bytes} for ${dtype} ${show(shape)}`,
    );
  }
  return { dtype, shape, begin, end };
}

function checkRangesFillData(ranges: [string, TensorRange][], dataBytes: number, path: string): void {
  let reached = 0;
  for (const [name, { begin, end }] of ranges) {
    if (begin !== reached) {
      throw new SafetensorsError(
        `${path}: header: tensor ${show(name)} ${begin < reached ? 'overlaps another' : 'leaves a gap'}, ` +
          `got data from byte ${begin}, expected from ${reached}`,
      );
    }
    reached = end;
  }
  if (reached !== dataBytes) {
    throw new SafetensorsError(
      `${path}: ${reached < dataBytes ? 'bytes follow the last tensor' : 'the file is cut short'}, ` +
        `got ${dataBytes} bytes of data, expected ${reached}`,
    );
  }
}
