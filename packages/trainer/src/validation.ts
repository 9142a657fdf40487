import * as tf from '@tensorflow/tfjs';
import type { ValidationLoss, ValidationMetrics } from './types.ts';

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
 * Bits per byte = sum of nll / ln 2 / bytes. With no target at all both are NaN. Parts are means over their own
 * counts; one without any target is left out.
 */
export async function validate<Batch>(
  options: ValidationOptions<Batch>,
  signal?: AbortSignal,
): Promise<Pick<ValidationMetrics, 'valLoss' | 'bitsPerByte' | 'parts'> | undefined> {
  const whole = { nats: 0, count: 0 };
  const parts = new Map<string, typeof whole>();
  let bytes = 0;
  for await (const batch of options.batches()) {
    await new Promise(setImmediate);
    if (signal?.aborted) return undefined;
    const counts = new Map<string, number>();
    const sums = tf.tidy(() => {
      const loss = options.loss(batch);
      whole.count += loss.count;
      bytes += loss.bytes;
      const named = Object.entries(loss.parts ?? {});
      for (const [name, { count }] of named) counts.set(name, count);
      return [loss.sum, ...named.map(([, { sum }]) => sum)];
    });
    const [nats, ...partNats] = await Promise.all(sums.map(async (sum) => (await sum.data())[0]));
    tf.dispose(sums);
    whole.nats += nats;
    for (const [i, [name, count]] of [...counts].entries()) {
      const part = parts.get(name) ?? { nats: 0, count: 0 };
      parts.set(name, { nats: part.nats + partNats[i], count: part.count + count });
    }
  }
  const means = [...parts].filter(([, { count }]) => count > 0).map(([name, p]) => [name, p.nats / p.count]);
  return {
    valLoss: whole.nats / whole.count,
    bitsPerByte: whole.nats / Math.LN2 / bytes,
    ...(means.length > 0 && { parts: Object.fromEntries(means) }),
  };
}
