/**
 * Buckets of gradients, so that one operation sends many of them, as in PyTorch's DistributedDataParallel (Li et al. 2020,
 * arXiv 2006.15704).
 */
import type { Collectives } from '@meap/collectives';
import { copyInto, memoryOf, type StagedVector, stageVector } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';
import type { Parameters } from './types.ts';

/** A parameter's position in a bucket, in elements. */
interface Slot {
  name: string;
  offset: number;
  size: number;
  shape: number[];
}

/** Parameters that are sent together; `size` is a multiple of the number of ranks, so that all have equal parts. */
export interface Bucket {
  slots: Slot[];
  size: number;
}

/** The part of a parameter that a rank owns: `length` elements from `start`. */
export interface Part {
  name: string;
  start: number;
  length: number;
  /** Its offset in the rank's part of the bucket. */
  at: number;
}

/** Elements of a bucket: 25 MiB, as in PyTorch. */
const BUCKET_SIZE = (25 * 2 ** 20) / 4;

/** Assigns parameters to buckets in reverse, the order in which the backward pass completes them. */
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

/** Returns the parts of a bucket's parameters that a rank owns. */
export function partsOf({ slots, size }: Bucket, rank: number, numRanks: number): Part[] {
  const width = size / numRanks;
  const first = rank * width;
  return slots.flatMap(({ name, offset, size }) => {
    const from = Math.max(offset, first);
    const to = Math.min(offset + size, first + width);
    return from < to ? [{ name, start: from - offset, length: to - from, at: from - first }] : [];
  });
}

/** Most buckets in transit with sharded sums, where the memory of buckets is what ZeRO saves. */
export const MAX_IN_TRANSIT = 2;

/** Returns the only parameter of a bucket if it fills it, so that its memory can be sent directly. */
export function onlySlot({ slots, size }: Bucket): Slot | undefined {
  return slots.length === 1 && slots[0].size === size ? slots[0] : undefined;
}

interface InTransit {
  bucket: Bucket;
  /** The sum of the whole bucket, or of this rank's part. */
  sum: StagedVector;
  done: Promise<void>;
}

/**
 * Sums the gradients of one backward pass over all ranks, bucket by bucket as they fill.
 *
 * With `scatter`, a rank gets only the sums of its own parts.
 */
export class GradientExchange {
  readonly #buckets: readonly Bucket[];
  readonly #ranks: Collectives;
  readonly #scatter: boolean;
  readonly #gradients = new Map<string, tf.Tensor>();
  readonly #sent: InTransit[] = [];

  constructor(buckets: readonly Bucket[], ranks: Collectives, { scatter }: { scatter: boolean }) {
    this.#buckets = buckets;
    this.#ranks = ranks;
    this.#scatter = scatter;
  }

  /** Takes ownership of a gradient and sends full buckets, in order, so that all ranks send the same. */
  async add(name: string, gradient: tf.Tensor): Promise<void> {
    this.#gradients.set(name, gradient);
    for (let next = this.#next(); next && this.#isFull(next); next = this.#next()) await this.#send(next);
  }

  /**
   * Sends the remaining buckets, with zeros for parameters without a gradient on this rank, and waits for all sums.
   *
   * @returns the gradient of each parameter, or with `scatter` this rank's flat part; owned by the caller
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

  /** Frees unsent gradients, and pending sums when they complete. */
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
    // A later await receives the rejection; until then it must not count as unhandled.
    sent.done.catch(() => {});
    this.#sent.push(sent);
  }

  async #allReduce(bucket: Bucket): Promise<InTransit> {
    const sum = await this.#collect(bucket);
    return { bucket, sum, done: this.#ranks.allReduce(sum.values) };
  }

  async #reduceScatter(bucket: Bucket): Promise<InTransit> {
    await this.#sent.at(-MAX_IN_TRANSIT)?.done;
    const send = this.#takeOnly(bucket) ?? (await this.#collect(bucket));
    const sum = stageVector(bucket.size / this.#ranks.size);
    // Not freed on failure: MPI may still read it.
    const done = this.#ranks.reduceScatter(send.values, sum.values).then(() => send.dispose());
    return { bucket, sum, done };
  }

  /** Returns the memory of a bucket's only gradient, for reading. */
  #takeOnly(bucket: Bucket): Pick<StagedVector, 'values' | 'dispose'> | undefined {
    const name = onlySlot(bucket)?.name;
    const gradient = name && this.#gradients.get(name);
    const values = gradient && memoryOf(gradient);
    if (!values) return undefined;
    this.#gradients.delete(name);
    return { values, dispose: () => gradient.dispose() };
  }

  /** Copies a bucket's gradients into new memory. */
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
