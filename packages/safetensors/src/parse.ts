import { LENGTH_BYTES, parseHeader, parseHeaderLength } from './header.ts';
import type { SafetensorsTensor } from './tensor.ts';

/**
 * Reads a .safetensors file from memory, also in a browser, with the checks of `openSafetensors`.
 *
 * Tensors are copied, since in a file they may begin at any byte.
 *
 * @param name name of the file in errors.
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
