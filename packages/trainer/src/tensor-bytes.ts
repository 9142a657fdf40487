import { createHash } from 'node:crypto';
import { shardLike } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';
import type { Parameters } from './types.ts';

/** Returns the little-endian bytes of a float32 tensor, as a view if the backend supports it. */
export async function tensorBytes(tensor: tf.Tensor): Promise<Uint8Array> {
  const values = await tensor.data();
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** Assigns values to a variable; on a CPU without a copy. */
export function assign(variable: tf.Variable, values: Float32Array): void {
  const value = tf.tensor(values, variable.shape, 'float32');
  shardLike(value, variable);
  variable.assign(value);
  value.dispose();
}

/** Returns the SHA-256 of the names and bytes of parameters, in the order of their names. */
export async function parametersSha256(parameters: Parameters): Promise<string> {
  const hash = createHash('sha256');
  for (const name of [...parameters.keys()].sort()) {
    hash.update(`${name}\0`);
    hash.update(await tensorBytes(parameters.get(name)!));
  }
  return hash.digest('hex');
}
