import { countBytes, type Dtype } from './dtype.ts';
import { SafetensorsError, show } from './error.ts';

/** A tensor as stored in a file: row-major, little-endian bytes. */
export interface SafetensorsTensor {
  dtype: Dtype;
  /** Dimensions, outermost first; `[]` is a scalar. */
  shape: number[];
  /** Its length follows from dtype and shape. */
  data: Uint8Array;
}

/** The typed array for each dtype: F16 and BF16 as 16-bit patterns, BOOL and F8 as bytes. */
export interface DtypeArrays {
  BOOL: Uint8Array;
  U8: Uint8Array;
  I8: Int8Array;
  F8_E5M2: Uint8Array;
  F8_E4M3: Uint8Array;
  F8_E8M0: Uint8Array;
  I16: Int16Array;
  U16: Uint16Array;
  F16: Uint16Array;
  BF16: Uint16Array;
  I32: Int32Array;
  U32: Uint32Array;
  F32: Float32Array;
  F64: Float64Array;
  I64: BigInt64Array;
  U64: BigUint64Array;
}

const CONSTRUCTORS = {
  BOOL: Uint8Array,
  U8: Uint8Array,
  I8: Int8Array,
  F8_E5M2: Uint8Array,
  F8_E4M3: Uint8Array,
  F8_E8M0: Uint8Array,
  I16: Int16Array,
  U16: Uint16Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I32: Int32Array,
  U32: Uint32Array,
  F32: Float32Array,
  F64: Float64Array,
  I64: BigInt64Array,
  U64: BigUint64Array,
} as const;

const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/**
 * Returns the elements of a tensor as the typed array of its dtype.
 *
 * Shares memory with `tensor.data` if that is aligned, as tensors read by this package are.
 *
 * @throws SafetensorsError when the length of data differs from what shape and dtype require.
 */
export function toTypedArray<D extends Dtype>(tensor: SafetensorsTensor & { dtype: D }): DtypeArrays[D] {
  const { dtype, shape, data } = tensor;
  checkData('toTypedArray', dtype, shape, data);
  if (!LITTLE_ENDIAN) throw new SafetensorsError('toTypedArray: needs a little-endian machine');
  const ArrayType = CONSTRUCTORS[dtype];
  const aligned = data.byteOffset % ArrayType.BYTES_PER_ELEMENT === 0 ? data : Uint8Array.from(data);
  return new ArrayType(
    aligned.buffer as ArrayBuffer,
    aligned.byteOffset,
    aligned.byteLength / ArrayType.BYTES_PER_ELEMENT,
  ) as unknown as DtypeArrays[D];
}

/**
 * Returns the values of a floating-point tensor (F32, F16, BF16 or F64) as float32.
 *
 * F16 and BF16 are exact; F64 is rounded to nearest even; F32 shares memory with `tensor.data` if that is aligned.
 *
 * @throws SafetensorsError for another dtype, or when the length of data differs from what shape and dtype require.
 */
export function toFloat32(tensor: SafetensorsTensor): Float32Array {
  const { dtype } = tensor;
  if (dtype === 'F32') return toTypedArray({ ...tensor, dtype });
  if (dtype === 'F64') return Float32Array.from(toTypedArray({ ...tensor, dtype }));
  if (dtype !== 'F16' && dtype !== 'BF16') {
    throw new SafetensorsError(
      `toFloat32: not a floating-point tensor, got ${dtype}, expected F32, F16, BF16 or F64`,
    );
  }
  const words = toTypedArray({ ...tensor, dtype });
  // Bits instead of values keep the payload of a NaN.
  const bits = new Uint32Array(words.length);
  if (dtype === 'BF16') {
    for (let i = 0; i < bits.length; i++) bits[i] = words[i] << 16;
  } else {
    for (let i = 0; i < bits.length; i++) bits[i] = float16ToFloat32Bits(words[i]);
  }
  return new Float32Array(bits.buffer);
}

/**
 * Stores float32 values as F32, F16 or BF16, rounded to nearest even; NaN stays NaN.
 *
 * F32 shares memory with `values`. In F16, magnitudes from 65520 become infinity.
 *
 * @throws SafetensorsError when the number of values differs from the size of the shape.
 */
export function fromFloat32(
  values: Float32Array,
  dtype: 'F32' | 'F16' | 'BF16',
  shape: readonly number[],
): SafetensorsTensor {
  if (!LITTLE_ENDIAN) throw new SafetensorsError('fromFloat32: needs a little-endian machine');
  let stored: Float32Array | Uint16Array = values;
  if (dtype !== 'F32') {
    const round = dtype === 'BF16' ? float32BitsToBfloat16 : float32BitsToFloat16;
    const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
    stored = new Uint16Array(values.length);
    for (let i = 0; i < bits.length; i++) stored[i] = round(bits[i]);
  }
  const data = new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
  checkData('fromFloat32', dtype, shape, data);
  return { dtype, shape: [...shape], data };
}

/** @throws SafetensorsError unless `data` has the length that dtype and shape require */
export function checkData(where: string, dtype: Dtype, shape: readonly number[], data: Uint8Array): void {
  const expected = countBytes(dtype, shape);
  if (data.byteLength !== expected) {
    throw new SafetensorsError(
      `${where}: data does not fit, got ${data.byteLength} bytes, expected ${expected ?? 'a possible size'} ` +
        `for ${dtype} ${show(shape)}`,
    );
  }
}

function float16ToFloat32Bits(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >>> 10) & 0x1f;
  let fraction = half & 0x3ff;
  if (exponent === 0x1f) return sign | 0x7f800000 | (fraction << 13);
  if (exponent !== 0) return sign | ((exponent + 112) << 23) | (fraction << 13);
  if (fraction === 0) return sign;
  // Subnormal: shift the leading one to the position of the hidden bit.
  const shift = Math.clz32(fraction) - 21;
  fraction = (fraction << shift) & 0x3ff;
  return sign | ((113 - shift) << 23) | (fraction << 13);
}

function float32BitsToBfloat16(bits: number): number {
  // A NaN with its payload in the low 16 bits would become infinity: set the quiet bit.
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

function float32BitsToFloat16(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00 | ((magnitude >>> 13) & 0x1ff);
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) {
    // Normal: rebias the exponent; a carry out of the fraction correctly increments it.
    return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
  }
  if (magnitude <= 0x33000000) return sign;
  // Subnormal: units of 2^-24.
  const fraction = (magnitude & 0x7fffff) | 0x800000;
  const shift = 126 - (magnitude >>> 23);
  const kept = fraction >>> shift;
  const dropped = fraction & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return sign | (kept + (dropped > half || (dropped === half && kept & 1) ? 1 : 0));
}
