/**
 * Gradients of all parameters as a few long rows of numbers, so that one operation sends many of them: "buckets", as
 * PyTorch's DistributedDataParallel has them (Li et al. 2020, arXiv 2006.15704).
 */
import type { Collectives } from '@meap/collectives';
import { copyInto, memoryOf, type StagedVector, stageVector } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';
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
export const MOST_ON_THEIR_WAY = 2;

/** The parameter that has a bucket to itself and fills it, so that its memory is the bucket's: most of a large model's. */
export function onlySlot({ slots, size }: Bucket): Slot | undefined {
  return slots.length === 1 && slots[0].size === size ? slots[0] : undefined;
}

interface OnItsWay {
  bucket: Bucket;
  /** The sum: of the whole bucket, or of this rank's part. */
  sum: StagedVector;
  done: Promise<void>;
}

/**
 * Adds up the gradients of one backward pass over all ranks, bucket by bucket as they fill.
 *
 * With `scatter` a rank gets the sums of its own parts only.
 */
export class GradientExchange {
  readonly #buckets: readonly Bucket[];
  readonly #ranks: Collectives;
  readonly #scatter: boolean;
  readonly #gradients = new Map<string, tf.Tensor>();
  readonly #sent: OnItsWay[] = [];

  constructor(buckets: readonly Bucket[], ranks: Collectives, { scatter }: { scatter: boolean }) {
    this.#buckets = buckets;
    this.#ranks = ranks;
    this.#scatter = scatter;
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
      const flat = sum.toTensor();
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

  /** Frees what has not been sent, and what is on its way when it has come. */
  dispose(): void {
    tf.dispose([...this.#gradients.values()]);
    this.#gradients.clear();
    for (const { sum, done } of this.#sent.splice(0)) done.then(() => sum.dispose()).catch(() => {});
  }

  #next(): Bucket | undefined {
    return this.#buckets[this.#sent.length];
  }

  #isFull({ slots }: Bucket): boolean {
    return slots.every(({ name }) => this.#gradients.has(name));
  }

  async #send(bucket: Bucket): Promise<void> {
    const sent = this.#scatter ? await this.#reduceScatter(bucket) : await this.#allReduce(bucket);
    // Whoever waits for it later hears of a failure; until then it is not unhandled.
    sent.done.catch(() => {});
    this.#sent.push(sent);
  }

  async #allReduce(bucket: Bucket): Promise<OnItsWay> {
    const sum = await this.#collect(bucket);
    return { bucket, sum, done: this.#ranks.allReduce(sum.values) };
  }

  async #reduceScatter(bucket: Bucket): Promise<OnItsWay> {
    await this.#sent.at(-MOST_ON_THEIR_WAY)?.done;
    const send = this.#takeOnly(bucket) ?? (await this.#collect(bucket));
    const sum = stageVector(bucket.size / this.#ranks.size);
    // Not freed where it fails: MPI may still read it.
    const done = this.#ranks.reduceScatter(send.values, sum.values).then(() => send.dispose());
    return { bucket, sum, done };
  }

  /** The only gradient of a bucket where it lies; it is only read. */
  #takeOnly(bucket: Bucket): Pick<StagedVector, 'values' | 'dispose'> | undefined {
    const name = onlySlot(bucket)?.name;
    const gradient = name && this.#gradients.get(name);
    const values = gradient && memoryOf(gradient);
    if (!values) return undefined;
    this.#gradients.delete(name);
    return { values, dispose: () => gradient.dispose() };
  }

  /** A bucket's gradients in memory that is nobody else's. */
  async #collect({ slots, size }: Bucket): Promise<StagedVector> {
    const staged = stageVector(size);
    const { values } = staged;
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
    return staged;
  }
}
