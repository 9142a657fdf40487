/** The number formats of GGUF that this package reads and writes, equal to those of ggml's reference code. */
import { fromFloat32, toFloat32 } from '@meap/safetensors';

/** A number format: float32, float16, bfloat16, or blocks of 32 numbers of 8 or 4 bits with one float16 scale. */
export type GgufType = 'f32' | 'f16' | 'bf16' | 'q8_0' | 'q4_0';

/** The size of a block of numbers and the codes of a format in a file. */
interface TypeLayout {
  /** ggml's code of a tensor's type. */
  readonly code: number;
  /** `general.file_type` of a file that is mostly of this type. */
  readonly fileType: number;
  readonly blockSize: number;
  readonly blockBytes: number;
}

export const GGUF_TYPES: Readonly<Record<GgufType, TypeLayout>> = {
  f32: { code: 0, fileType: 0, blockSize: 1, blockBytes: 4 },
  f16: { code: 1, fileType: 1, blockSize: 1, blockBytes: 2 },
  bf16: { code: 30, fileType: 32, blockSize: 1, blockBytes: 2 },
  q8_0: { code: 8, fileType: 7, blockSize: 32, blockBytes: 34 },
  q4_0: { code: 2, fileType: 2, blockSize: 32, blockBytes: 18 },
};

const STORED = { f32: 'F32', f16: 'F16', bf16: 'BF16' } as const;

/** Bytes of `count` numbers; their rows must be whole blocks. */
export function bytesOf(type: GgufType, count: number): number {
  const { blockSize, blockBytes } = GGUF_TYPES[type];
  return (count / blockSize) * blockBytes;
}

/** Converts numbers to a format; those of the quantised ones are a multiple of 32. */
export function encodeNumbers(values: Float32Array, type: GgufType): Uint8Array {
  if (type === 'q8_0') return encodeBlocks(values, type, q8Scale, writeQ8);
  if (type === 'q4_0') return encodeBlocks(values, type, q4Scale, writeQ4);
  return fromFloat32(values, STORED[type], [values.length]).data;
}

/** Converts `count` numbers of a format to float32. */
export function decodeNumbers(bytes: Uint8Array, type: GgufType, count: number): Float32Array {
  if (type !== 'q8_0' && type !== 'q4_0') {
    return toFloat32({ dtype: STORED[type], shape: [count], data: bytes });
  }
  const { blockSize, blockBytes } = GGUF_TYPES[type];
  const values = new Float32Array(count);
  const scales = new Uint8Array((2 * count) / blockSize);
  for (let block = 0; block < count / blockSize; block++) {
    scales.set(bytes.subarray(block * blockBytes, block * blockBytes + 2), 2 * block);
  }
  const scale = toFloat32({ dtype: 'F16', shape: [count / blockSize], data: scales });
  for (let block = 0; block < scale.length; block++) {
    const from = block * blockBytes + 2;
    const to = block * blockSize;
    for (let i = 0; i < blockBytes - 2; i++) {
      const byte = bytes[from + i];
      if (type === 'q8_0') values[to + i] = ((byte << 24) >> 24) * scale[block];
      else {
        values[to + i] = ((byte & 15) - 8) * scale[block];
        values[to + i + 16] = ((byte >> 4) - 8) * scale[block];
      }
    }
  }
  return values;
}

/** Writes blocks of 32 numbers: a float16 scale, then the rounded quotients by the exact scale. */
function encodeBlocks(
  values: Float32Array,
  type: 'q8_0' | 'q4_0',
  scaleOf: (block: Float32Array) => number,
  write: (block: Float32Array, inverse: number, to: Uint8Array) => void,
): Uint8Array {
  const { blockSize, blockBytes } = GGUF_TYPES[type];
  const scales = new Float32Array(values.length / blockSize);
  const bytes = new Uint8Array(scales.length * blockBytes);
  for (let b = 0; b < scales.length; b++) {
    const block = values.subarray(b * blockSize, (b + 1) * blockSize);
    scales[b] = scaleOf(block);
    const inverse = scales[b] === 0 ? 0 : Math.fround(1 / scales[b]);
    write(block, inverse, bytes.subarray(b * blockBytes + 2, (b + 1) * blockBytes));
  }
  const rounded = fromFloat32(scales, 'F16', [scales.length]).data;
  for (let b = 0; b < scales.length; b++) bytes.set(rounded.subarray(2 * b, 2 * b + 2), b * blockBytes);
  return bytes;
}

function q8Scale(block: Float32Array): number {
  let largest = 0;
  for (const x of block) largest = Math.max(largest, Math.abs(x));
  return Math.fround(largest / 127);
}

function writeQ8(block: Float32Array, inverse: number, to: Uint8Array): void {
  for (let i = 0; i < block.length; i++) {
    const quotient = Math.fround(block[i] * inverse);
    // Half away from zero, as C's roundf.
    to[i] = Math.sign(quotient) * Math.floor(Math.abs(quotient) + 0.5);
  }
}

/** The value of the largest magnitude becomes −8. */
function q4Scale(block: Float32Array): number {
  let extreme = 0;
  for (const x of block) if (Math.abs(x) > Math.abs(extreme)) extreme = x;
  return Math.fround(extreme / -8);
}

function writeQ4(block: Float32Array, inverse: number, to: Uint8Array): void {
  const level = (x: number) => Math.min(15, Math.trunc(Math.fround(Math.fround(x * inverse) + 8.5)));
  for (let i = 0; i < 16; i++) to[i] = level(block[i]) | (level(block[i + 16]) << 4);
}
