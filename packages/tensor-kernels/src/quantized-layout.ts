/** The memory of quantised numbers, as native/arguments.h reads it: header, absmax, NF4's codes of absmax, codes. */
import type { QuantizedFormat } from './native-interface.ts';

const BITS = { int8: 8, nf4: 4 } as const satisfies Record<QuantizedFormat, number>;

/** Bits as int32, NF4's offset as float32, count as float64. */
const HEADER_BYTES = 16;
/** Numbers that share an absmax. */
const BLOCK = 64;
/** Values of absmax that share a scale in NF4. */
const ABSMAX_BLOCK = 256;

/** Returns the bytes of a number of weights: 1.0625 for each in int8, 0.516 in NF4. */
export function quantizedBytes(size: number, format: QuantizedFormat): number {
  const blocks = Math.ceil(size / BLOCK);
  if (format === 'int8') return HEADER_BYTES + 4 * blocks + size;
  return HEADER_BYTES + 4 * Math.ceil(blocks / ABSMAX_BLOCK) + blocks + Math.ceil(size / 2);
}

/** Writes the header of quantised numbers, without NF4's offset. */
export function writeQuantizedHeader(bytes: Uint8Array, size: number, format: QuantizedFormat): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setInt32(0, BITS[format], true);
  view.setFloat64(8, size, true);
}

/** Returns how many numbers are stored. */
export function quantizedSize(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getFloat64(8, true);
}

/** Returns the format of stored numbers. */
export function quantizedFormatOf(bytes: Uint8Array): QuantizedFormat {
  return new DataView(bytes.buffer, bytes.byteOffset).getInt32(0, true) === BITS.int8 ? 'int8' : 'nf4';
}
