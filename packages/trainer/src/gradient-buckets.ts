/**
 * Gradients of all parameters as a few long rows of numbers, so that one operation sends many of them: "buckets", as
 * PyTorch's DistributedDataParallel has them (Li et al. 2020, arXiv 2006.15704).
 */
import type { Collectives } from '@meap/collectives';
import { copyInto } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import type { Parameters } from './types.ts';

/** A parameter's place in a bucket, in elements. */
interface Slot {
  name: string;
  offset: number;
  size: number;
  shape: number[];
}

/** Parameters that travel together; `size` is a multiple of the number of ranks, each of which has an equal part. */
export interface Bucket {
  slots: Slot[];
  size: number;
}

/** The part of a parameter that a rank owns, in elements: `length` of them, from `start` of the parameter on. */
export interface Part {
  name: string;
  start: number;
  length: number;
  /** Where it begins in the rank's part of the bucket. */
  at: number;
}

/** Elements of a bucket: 25 MiB, as in PyTorch. */
const BUCKET_SIZE = (25 * 2 ** 20) / 4;

/** Puts parameters into buckets, the last first: in this order a backward pass is done with them. */
export function planBuckets(parameters: Parameters, numRanks: number, bucketSize = BUCKET_SIZE): Bucket[] {
  const buckets: Bucket[] = [];
  let slots: Slot[] = [];
  let end = 0;
  const close = () => {
    if (slots.length > 0) buckets.push({ slots, size: Math.ceil(end / numRanks) * numRanks });
    slots = [];
    end = 0;
  };
  for (const [name, { size, shape }] of [...parameters].reverse()) {
    if (end + size > bucketSize) close();
    slots.push({ name, offset: end, size, shape });
    end += size;
  }
  close();
  return buckets;
}

/** The parts of a bucket's parameters that lie in the part of a rank. */
export function partsOf({ slots, size }: Bucket, rank: number, numRanks: number): Part[] {
  const width = size / numRanks;
  const first = rank * width;
  return slots.flatMap(({ name, offset, size }) => {
    const from = Math.max(offset, first);
    const to = Math.min(offset + size, first + width);
    return from < to ? [{ name, start: from - offset, length: to - from, at: from - first }] : [];
  });
}

/** Buckets on their way at a time where only parts of their sums are kept: their memory is what ZeRO saves. */
export const MOST_ON_THEIR_WAY = 4;

/** Memory for buckets on their way, used again in every step: large arrays are dear to make and to collect. */
export class BucketMemory {
  readonly #arrays: Float32Array[] = [];

  /** An array of `size` elements with unspecified content, the last one of this place. */
  take(place: number, size: number): Float32Array {
    const known = this.#arrays[place];
    if (known && known.length >= size) return known.subarray(0, size);
    this.#arrays[place] = new Float32Array(size);
    return this.#arrays[place];
  }
}

interface OnItsWay {
  bucket: Bucket;
  /** The sum: of the whole bucket, or of this rank's part. */
  sum: Float32Array;
  done: Promise<void>;
}

/**
 * Adds up the gradients of one backward pass over all ranks, bucket by bucket as they fill.
 *
 * With `scatter` a rank gets the sums of its own parts only. Without, the sums lie in `memory` until the next exchange.
 */
export class GradientExchange {
  readonly #buckets: readonly Bucket[];
  readonly #ranks: Collectives;
  readonly #scatter: boolean;
  readonly #memory: BucketMemory;
  readonly #gradients = new Map<string, tf.Tensor>();
  readonly #sent: OnItsWay[] = [];

  constructor(
    buckets: readonly Bucket[],
    ranks: Collectives,
    { scatter, memory }: { scatter: boolean; memory: BucketMemory },
  ) {
    this.#buckets = buckets;
    this.#ranks = ranks;
    this.#scatter = scatter;
    this.#memory = memory;
  }

  /** Takes a gradient, owns it, and sends what is complete; buckets in order, so that all ranks send the same. */
  async add(name: string, gradient: tf.Tensor): Promise<void> {
    this.#gradients.set(name, gradient);
    for (let next = this.#next(); next && this.#isFull(next); next = this.#next()) await this.#send(next);
  }

  /**
   * Sends the rest, with zeros for parameters without a gradient here, and waits for all sums.
   *
   * @returns by parameter a gradient of its shape, or with `scatter` this rank's part of it, flat; the caller's
   */
  async finish(): Promise<Map<string, tf.Tensor>> {
    for (let next = this.#next(); next; next = this.#next()) await this.#send(next);
    await Promise.all(this.#sent.map(({ done }) => done));
    const sums = new Map<string, tf.Tensor>();
    const { rank, size } = this.#ranks;
    for (const { bucket, sum } of this.#sent.splice(0)) {
      const flat = tf.tensor1d(sum);
      if (this.#scatter) {
        for (const { name, at, length } of partsOf(bucket, rank, size))
          sums.set(name, tf.slice(flat, at, length));
      } else {
        for (const { name, offset, size, shape } of bucket.slots) {
          sums.set(
            name,
            tf.tidy(() => tf.slice(flat, offset, size).reshape(shape)),
          );
        }
      }
      flat.dispose();
    }
    return sums;
  }

  /** Frees what has not been sent. */
  dispose(): void {
    tf.dispose([...this.#gradients.values()]);
    this.#gradients.clear();
  }

  #next(): Bucket | undefined {
    return this.#buckets[this.#sent.length];
  }

  #isFull({ slots }: Bucket): boolean {
    return slots.every(({ name }) => this.#gradients.has(name));
  }

  async #send(bucket: Bucket): Promise<void> {
    const values = await this.#collect(bucket);
    const sum = this.#scatter ? new Float32Array(bucket.size / this.#ranks.size) : values;
    const done = this.#scatter ? this.#ranks.reduceScatter(values, sum) : this.#ranks.allReduce(values);
    // Whoever waits for it later hears of a failure; until then it is not unhandled.
    done.catch(() => {});
    this.#sent.push({ bucket, sum, done });
  }

  /** A bucket's gradients in memory that is nobody else's. */
  async #collect({ slots, size }: Bucket): Promise<Float32Array> {
    let place = this.#sent.length;
    if (this.#scatter) {
      place %= MOST_ON_THEIR_WAY;
      // Who had this place last.
      await this.#sent.at(-MOST_ON_THEIR_WAY)?.done;
    }
    const values = this.#memory.take(place, size);
    const last = slots.at(-1)!;
    values.fill(0, last.offset + last.size);
    for (const { name, offset, size } of slots) {
      const part = values.subarray(offset, offset + size);
      const gradient = this.#gradients.get(name);
      if (!gradient) {
        part.fill(0);
        continue;
      }
      await copyInto(gradient, part);
      gradient.dispose();
      this.#gradients.delete(name);
    }
    return values;
  }
}
