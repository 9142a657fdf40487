import type * as tf from '@tensorflow/tfjs-core';
import { requireNative } from './bfloat16-storage.ts';
import { nativeBackend, type QuantizedFormat } from './native-interface.ts';
import { runKernel } from './ops.ts';
import { quantizedFormatOf } from './quantized-layout.ts';

export type { QuantizedFormat } from './native-interface.ts';
export { quantizedBytes } from './quantized-layout.ts';

/** Number formats of {@link storeQuantized}. */
export const quantizedFormats = ['int8', 'nf4'] as const satisfies readonly QuantizedFormat[];

/**
 * Rounds a weight to 8 or 4 bits, in blocks of 64 numbers, and stores it in about a quarter or an eighth of the memory;
 * codes and values are those of bitsandbytes.
 *
 * `int8`: round(x / absmax · 127), as LLM.int8() (Dettmers et al. 2022), 8.5 bits a weight. `nf4`: the nearest of 16 normal
 * quantiles, with absmax in 8 bits (QLoRA, Dettmers et al. 2023, arXiv 2305.14314), 4.13 bits.
 *
 * It stays a float32 tensor to every op. `linear`, matrix products with it on the right, `embedding`,
 * `linearCrossEntropy` and `scoreTokens` expand it panel by panel, and a product of one row with `int8` in float32 scales
 * the sum of each block; other ops make a float32 copy at each call. For weights
 * that are not trained: an assignment makes it float32 again.
 *
 * @throws BackendError on a backend other than `native`
 */
export function storeQuantized(weight: tf.Variable, format: QuantizedFormat): void {
  requireNative('storeQuantized');
  const [stored] = runKernel('StoreQuantized', { x: weight }, { format });
  weight.assign(stored as tf.Variable);
  stored.dispose();
}

/** Returns the format of a quantised weight; undefined for other tensors. */
export function quantizedFormat(tensor: tf.Tensor): QuantizedFormat | undefined {
  const stored = tensor.dtype === 'float32' ? nativeBackend()?.stored(tensor) : undefined;
  return stored instanceof Uint8Array ? quantizedFormatOf(stored) : undefined;
}
