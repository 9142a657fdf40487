import { LENGTH_BYTES, parseHeader, parseHeaderLength } from './header.ts';
import type { SafetensorsTensor } from './tensor.ts';

/**
 * Reads a whole .safetensors file from memory, in a browser too; checks it as `openSafetensors` does.
 *
 * Each tensor gets memory of its own, since one in a file may begin at any byte.
 *
 * @param name what errors call the file.
 * @throws SafetensorsError when the bytes are damaged.
 */
export function parseSafetensors(
  bytes: Uint8Array,
  name = 'safetensors',
): { metadata: Record<string, string>; tensors: Map<string, SafetensorsTensor> } {
  const headerBytes = parseHeaderLength(bytes.subarray(0, LENGTH_BYTES), bytes.length, name);
  const dataStart = LENGTH_BYTES + headerBytes;
  const header = parseHeader(bytes.subarray(LENGTH_BYTES, dataStart), bytes.length - dataStart, name);
  const tensors = new Map(
    [...header.tensors].map(([tensor, { dtype, shape, begin, end }]): [string, SafetensorsTensor] => [
      tensor,
      { dtype, shape, data: bytes.slice(dataStart + begin, dataStart + end) },
    ]),
  );
  return { metadata: header.metadata, tensors };
}
