import * as tf from '@tensorflow/tfjs-core';
import type { Interval } from './intervals.ts';
import { requireLossSum } from './loss-sum.ts';
import { RankGroup } from './rank-group.ts';
import type { ValidationLoss, ValidationMetrics } from './types.ts';

/** Validation over a fixed set of batches. */
export interface ValidationOptions<Batch> {
  /** Between two validations; the last step always has one. */
  every: Interval;
  /** Returns the batches, the same each time. */
  batches: () => Iterable<Batch> | AsyncIterable<Batch>;
  /** Next-token prediction without masks. */
  loss: ValidationLoss<Batch>;
}

/**
 * Computes mean loss and bits per byte over the validation batches; undefined if `signal` was aborted.
 *
 * Bits per byte = sum of nll / ln 2 / bytes, absent without bytes. Without targets the loss is NaN. Parts are means over their own counts; parts
 * without targets are omitted. Ranks share the batches and get the same result.
 */
export async function validate<Batch>(
  options: ValidationOptions<Batch>,
  signal?: AbortSignal,
  ranks = new RankGroup(),
): Promise<Pick<ValidationMetrics, 'valLoss' | 'bitsPerByte' | 'parts'> | undefined> {
  const own = await scoreBatches(options, signal, ranks);
  const all = await ranks.exchange(own);
  if (all.some((sums) => sums.aborted)) return undefined;
  const whole = { nats: 0, count: 0 };
  const parts = new Map<string, typeof whole>();
  let bytes = 0;
  for (const sums of all) {
    addTo(whole, sums.whole);
    bytes += sums.bytes;
    for (const [name, part] of sums.parts) {
      if (!parts.has(name)) parts.set(name, { nats: 0, count: 0 });
      addTo(parts.get(name)!, part);
    }
  }
  const means = [...parts].filter(([, { count }]) => count > 0).map(([name, p]) => [name, p.nats / p.count]);
  return {
    valLoss: whole.nats / whole.count,
    ...(bytes > 0 && { bitsPerByte: whole.nats / Math.LN2 / bytes }),
    ...(means.length > 0 && { parts: Object.fromEntries(means) }),
  };
}

/** A loss summed over batches. */
interface Score {
  nats: number;
  count: number;
}

interface Scores {
  aborted: boolean;
  whole: Score;
  bytes: number;
  parts: [name: string, score: Score][];
}

/** Sums the losses of this rank's batches. */
async function scoreBatches<Batch>(
  options: ValidationOptions<Batch>,
  signal: AbortSignal | undefined,
  { rank, size }: RankGroup,
): Promise<Scores> {
  const whole = { nats: 0, count: 0 };
  const parts = new Map<string, Score>();
  const scores = (aborted: boolean) => ({ aborted, whole, bytes, parts: [...parts] });
  let bytes = 0;
  let index = 0;
  for await (const batch of options.batches()) {
    if (index++ % size !== rank) continue;
    await new Promise(setImmediate);
    if (signal?.aborted) return scores(true);
    const counts = new Map<string, number>();
    const sums = tf.tidy(() => {
      const loss = options.loss(batch);
      whole.count += loss.count;
      bytes += loss.bytes ?? 0;
      const named = Object.entries(loss.parts ?? {});
      for (const [name, { count }] of named) counts.set(name, count);
      const parts = named.map(([name, part]) => requireLossSum(`validation loss, part ${name}`, part));
      return [requireLossSum('validation loss', loss), ...parts];
    });
    const [nats, ...partNats] = await Promise.all(sums.map(async (sum) => (await sum.data())[0]));
    tf.dispose(sums);
    whole.nats += nats;
    for (const [i, [name, count]] of [...counts].entries()) {
      const part = parts.get(name) ?? { nats: 0, count: 0 };
      parts.set(name, { nats: part.nats + partNats[i], count: part.count + count });
    }
  }
  return scores(false);
}

function addTo(sum: Score, { nats, count }: Score): void {
  sum.nats += nats;
  sum.count += count;
}
