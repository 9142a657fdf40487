/** Sizes that the kernels of several backends derive from shapes. */
import * as tf from '@tensorflow/tfjs-core';

const { sizeFromShape, arraysEqual } = tf.util;

/** Leading axes folded into rows. */
export function rowsOf({ shape }: tf.TensorInfo): [rows: number, columns: number] {
  return [sizeFromShape(shape.slice(0, -1)), shape[shape.length - 1]];
}

/** A batched product `[..., M, K] · [..., K, N]`; a shared operand is one matrix for the whole batch. */
export type MatMul = Record<'M' | 'N' | 'K' | 'batch', number> &
  Record<'transposeA' | 'transposeB' | 'sharedA' | 'sharedB', boolean>;

/** Returns the sizes of a `tf.matMul` and its output's shape; undefined for calls left to TensorFlow.js's own kernel. */
export function matMulOf(
  a: tf.TensorInfo,
  b: tf.TensorInfo,
  { transposeA, transposeB }: { transposeA: boolean; transposeB: boolean },
): { sizes: MatMul; shape: number[] } | undefined {
  if (a.dtype !== 'float32' || b.dtype !== 'float32') return undefined;
  const [rowsA, columnsA] = a.shape.slice(-2);
  const [rowsB, columnsB] = b.shape.slice(-2);
  const [M, K] = transposeA ? [columnsA, rowsA] : [rowsA, columnsA];
  const [innerB, N] = transposeB ? [columnsB, rowsB] : [rowsB, columnsB];
  const [batchA, batchB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const [sharedA, sharedB] = [sizeFromShape(batchA) === 1, sizeFromShape(batchB) === 1];
  if (K !== innerB || (!sharedA && !sharedB && !arraysEqual(batchA, batchB))) return undefined;
  const batchShape = tf.broadcast_util.assertAndGetBroadcastShape(batchA, batchB);
  const batch = sizeFromShape(batchShape);
  return {
    sizes: { M, N, K, transposeA, transposeB, batch, sharedA, sharedB },
    shape: [...batchShape, M, N],
  };
}

/** Returns the scalar and the other operand of a product; undefined if neither is a scalar. */
export function scalarOperand(
  a: tf.TensorInfo,
  b: tf.TensorInfo,
): [scalar: tf.TensorInfo, other: tf.TensorInfo] | undefined {
  const [scalar, other] = sizeFromShape(a.shape) === 1 ? [a, b] : [b, a];
  const isScalar = sizeFromShape(scalar.shape) === 1 && scalar.shape.length <= other.shape.length;
  return isScalar ? [scalar, other] : undefined;
}

/** Returns a tensor as the result of a kernel, with one more reference to its data. */
export function sharing(
  backend: { incRef(dataId: object): void },
  { dataId, shape, dtype }: tf.TensorInfo,
): tf.TensorInfo {
  backend.incRef(dataId);
  return { dataId, shape, dtype };
}
