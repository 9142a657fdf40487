/**
 * The typed array that holds elements of each type on the host. `float16` and `bfloat16` are held as their bits, `bool` as
 * bytes of 0 and 1.
 */
export interface HostArrays {
  bool: Uint8Array;
  int8: Int8Array;
  int16: Int16Array;
  int32: Int32Array;
  int64: BigInt64Array;
  uint8: Uint8Array;
  uint16: Uint16Array;
  uint32: Uint32Array;
  uint64: BigUint64Array;
  float16: Uint16Array;
  float32: Float32Array;
  float64: Float64Array;
  bfloat16: Uint16Array;
}

/** The type of a tensor's elements. */
export type ElementType = keyof HostArrays;

/** The typed array that holds elements of a type on the host. */
export type HostArray<T extends ElementType = ElementType> = HostArrays[T];

/** PJRT's number of each type, its name in StableHLO, and the class of its typed array. */
export const ELEMENT_TYPES = {
  bool: { pjrt: 1, stablehlo: 'i1', array: Uint8Array },
  int8: { pjrt: 2, stablehlo: 'i8', array: Int8Array },
  int16: { pjrt: 3, stablehlo: 'i16', array: Int16Array },
  int32: { pjrt: 4, stablehlo: 'i32', array: Int32Array },
  int64: { pjrt: 5, stablehlo: 'i64', array: BigInt64Array },
  uint8: { pjrt: 6, stablehlo: 'ui8', array: Uint8Array },
  uint16: { pjrt: 7, stablehlo: 'ui16', array: Uint16Array },
  uint32: { pjrt: 8, stablehlo: 'ui32', array: Uint32Array },
  uint64: { pjrt: 9, stablehlo: 'ui64', array: BigUint64Array },
  float16: { pjrt: 10, stablehlo: 'f16', array: Uint16Array },
  float32: { pjrt: 11, stablehlo: 'f32', array: Float32Array },
  float64: { pjrt: 12, stablehlo: 'f64', array: Float64Array },
  bfloat16: { pjrt: 13, stablehlo: 'bf16', array: Uint16Array },
} as const satisfies Record<ElementType, object>;

/** Element type and shape of a tensor. */
export interface TensorType<T extends ElementType = ElementType> {
  readonly type: T;
  readonly shape: readonly number[];
}

/** Returns the number of elements of a shape. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, length) => size * length, 1);
}

/** Returns the element type with PJRT's number; undefined for types that this package does not transfer. */
export function elementTypeOf(pjrt: number): ElementType | undefined {
  return (Object.keys(ELEMENT_TYPES) as ElementType[]).find((name) => ELEMENT_TYPES[name].pjrt === pjrt);
}

/** Returns the element type that a typed array has if nothing else is said. */
export function defaultTypeOf(array: HostArray): ElementType {
  const names = Object.keys(ELEMENT_TYPES) as ElementType[];
  // `bool` and the 16-bit floats have to be selected: their arrays are those of unsigned integers.
  const plain = names.filter((name) => !['bool', 'float16', 'bfloat16'].includes(name));
  return plain.find((name) => array.constructor === ELEMENT_TYPES[name].array) ?? 'uint8';
}

/** Writes a type as in errors: `float32[2,3]`. */
export function describeType({ type, shape }: TensorType): string {
  return `${type}[${shape}]`;
}
