import { compilesShapes, gradientScale } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';
import { splitLoss } from './gradients.ts';

/** A step whose update was queued on the device and whose metrics have not been read. */
export interface PendingStep {
  step: number;
  /** Tokens of the run up to and with this step. */
  tokens: number;
  /** Tokens of this step alone. */
  stepTokens: number;
  lr: number;
  /** Targets counted. */
  count: number;
  /** Losses of the micro-batches, their z-losses, then sums of squares of the gradients, on the device. */
  values: tf.Tensor1D;
  numLosses: number;
  numZLosses: number;
}

/** A step whose metrics were read. */
export interface ReadStep extends PendingStep {
  /** Sum of the negative log-likelihoods, without z-loss. */
  loss: number;
  /** Sum of the z-loss, if the loss has one. */
  zLoss?: number;
  squaredNorm: number;
  /** Throughput of the steps that were read together. */
  tokensPerSecond: number;
}

/** Most steps read together, and the longest delay of the metrics of short steps. */
const MAX_STEPS = 16;
const MILLISECONDS = 250;

/**
 * Steps queued on a device, whose metrics are read asynchronously: long steps one step late, short steps several at once.
 * The time of reading does not affect results.
 */
export class PendingSteps {
  #unread: PendingStep[] = [];
  #reading: Promise<ReadStep[]> | undefined;
  #together = 1;
  /** Start of the unread steps: the last read, or the start of the first step after all had been read. */
  #since = 0;
  #scale: tf.Tensor | undefined;
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Adds a step that began at `started`. */
  push(step: PendingStep, started: number): void {
    if (!this.#reading && this.#unread.length === 0) this.#since = started;
    this.#unread.push(step);
  }

  /** Returns the device tensor that scales a step's gradients; 0 from the first non-finite step. */
  scaleOf({ values, numLosses, numZLosses, count }: PendingStep, clipNorm: number): tf.Tensor {
    const previous = this.#scale;
    const sums = { values, numLosses: numLosses + numZLosses };
    this.#scale = gradientScale({ ...sums, numTargets: count, clipNorm, previous });
    previous?.dispose();
    return this.#scale;
  }

  /** Returns steps read since the last call; starts reading further ones when there are enough. */
  async take(): Promise<ReadStep[]> {
    if (this.#unread.length < this.#together) return [];
    const done = await this.#take();
    this.#reading = this.#read(this.#unread.splice(0));
    // The next call receives a rejection; until then it must not count as unhandled.
    this.#reading.catch(() => {});
    return this.#measure(done);
  }

  /** Reads all steps. */
  async settle(): Promise<ReadStep[]> {
    const done = await this.#take();
    if (this.#unread.length === 0) return this.#measure(done);
    return this.#measure([...done, ...(await this.#read(this.#unread.splice(0)))]);
  }

  /** Discards unread steps. */
  dispose(): void {
    tf.dispose(this.#unread.splice(0).map(({ values }) => values));
    this.#scale?.dispose();
  }

  async #take(): Promise<ReadStep[]> {
    const steps = (await this.#reading) ?? [];
    this.#reading = undefined;
    return steps;
  }

  #measure(steps: ReadStep[]): ReadStep[] {
    if (steps.length === 0) return [];
    const now = this.#now();
    const milliseconds = now - this.#since;
    this.#since = now;
    this.#together = Math.max(
      1,
      Math.min(MAX_STEPS, Math.floor((MILLISECONDS * steps.length) / milliseconds)),
    );
    const tokens = steps.reduce((sum, { stepTokens }) => sum + stepTokens, 0);
    return steps.map((step) => ({ ...step, tokensPerSecond: tokens / (milliseconds / 1000) }));
  }

  async #read(steps: PendingStep[]): Promise<ReadStep[]> {
    const values = steps.map((step) => step.values);
    // A backend that compiles would compile a concatenation for each number of steps.
    const tensors = steps.length === 1 || compilesShapes() ? values : [tf.concat1d(values)];
    try {
      const numbers = (await Promise.all(tensors.map((tensor) => tensor.data<'float32'>()))).flatMap(
        (all) => [...all],
      );
      let at = 0;
      return steps.map((step) => {
        const own = numbers.slice(at, at + step.values.size);
        at += step.values.size;
        const sum = (part: number[]) => part.reduce((total, value) => total + value, 0);
        const first = step.numLosses + step.numZLosses;
        const losses = splitLoss(own, step.numLosses, first);
        return { ...step, ...losses, squaredNorm: sum(own.slice(first)), tokensPerSecond: Number.NaN };
      });
    } finally {
      tf.dispose([...tensors, ...values]);
    }
  }
}
