import * as tf from '@tensorflow/tfjs';
import type { ValidationLoss } from './types.ts';

/** A validation pass over a fixed set of batches. */
export interface ValidationOptions<Batch> {
  /** Steps between two passes; one more follows the last step. */
  every: number;
  /** The batches of one pass, the same each time it is called. */
  batches: () => Iterable<Batch> | AsyncIterable<Batch>;
  /** Plain next-token prediction, without masks. */
  loss: ValidationLoss<Batch>;
}

/**
 * Mean loss and bits per byte over the validation batches; undefined when `signal` is aborted in between.
 *
 * Bits per byte = sum of nll / ln 2 / bytes. With no target at all both are NaN.
 */
export async function validate<Batch>(
  options: ValidationOptions<Batch>,
  signal?: AbortSignal,
): Promise<{ valLoss: number; bitsPerByte: number } | undefined> {
  let nats = 0;
  let count = 0;
  let bytes = 0;
  for await (const batch of options.batches()) {
    await new Promise(setImmediate);
    if (signal?.aborted) return undefined;
    const sum = tf.tidy(() => {
      const loss = options.loss(batch);
      count += loss.count;
      bytes += loss.bytes;
      return loss.sum;
    });
    nats += (await sum.data())[0];
    sum.dispose();
  }
  return { valLoss: nats / count, bitsPerByte: nats / Math.LN2 / bytes };
}
