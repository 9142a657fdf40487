import type * as tf from '@tensorflow/tfjs-core';

/** A value that JSON can hold. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Named trainable variables, under the names the checkpoint and the parameter groups use. */
export type Parameters = ReadonlyMap<string, tf.Variable>;

/** Where in the run a micro-batch stands, both counted from 0: all a counter-based generator needs. */
export interface Position {
  /** Optimizer steps completed before this one. */
  step: number;
  /** Index of the micro-batch within its step, below `microBatches`. */
  microBatch: number;
}

/**
 * The micro-batch at a position: a pure function, so that a resumed run and every rank draws exactly its own.
 *
 * A batch is plain data (typed arrays); the loss turns it into tensors, so that they are freed with the tape.
 */
export type BatchSource<Batch> = (position: Position) => Batch | Promise<Batch>;

/** What a loss returns: a sum and its token count, so that unequal micro-batches weigh by their tokens. */
export interface LossSum {
  /** Sum of the negative log-likelihoods (nats) over the counted targets, a scalar on the tape. */
  sum: tf.Tensor;
  /** How many targets `sum` covers. */
  count: number;
  /** Tokens the model processed, for throughput and the `tokens` counter; `count` unless given. */
  tokens?: number;
}

/** The loss to minimise; called inside a tape, so it must be synchronous and keep no tensor. */
export type Loss<Batch> = (batch: Batch, position: Position) => LossSum;

/** What a validation loss returns: plain next-token prediction, with the number of UTF-8 bytes its targets spell. */
export interface ValidationSum extends LossSum {
  bytes: number;
  /** Further losses by name, such as that of masked tokens; each is averaged over its own count. */
  parts?: Readonly<Record<string, LossSum>>;
}

/** The loss of a validation batch. */
export type ValidationLoss<Batch> = (batch: Batch) => ValidationSum;

/** One line of `metrics.jsonl` for a training step. */
export interface StepMetrics {
  /** Optimizer steps completed, this one included. */
  step: number;
  /** Tokens processed since the start of the run. */
  tokens: number;
  /** Mean negative log-likelihood over the step's targets, nats; null when it was not finite. */
  loss: number | null;
  /** Learning rate of this step, before group multipliers. */
  lr: number;
  /** Global L2 norm of the mean gradient before clipping; null when it was not finite. */
  gradNorm: number | null;
  /** Wall-clock throughput of this step. */
  tokensPerSecond: number;
  /** Model FLOP utilisation, 0 to 1; null when `utilisation` was not given. */
  mfu: number | null;
  /** Resident set of this process (rank 0) after the step, bytes. */
  residentBytes: number;
  /** What the TensorFlow.js backend holds after the step for tensors, in use or kept for reuse, bytes. */
  backendBytes: number;
  /** Present when the guard found the step anomalous. */
  anomaly?: 'non-finite' | 'spike';
  /** Factor on the loss in this step, where it is scaled. */
  lossScale?: number;
  /** Present and true when the update was not applied. */
  skipped?: true;
}

/** One line of `metrics.jsonl` for a validation pass. */
export interface ValidationMetrics {
  step: number;
  tokens: number;
  /** Mean negative log-likelihood over the validation targets, nats. */
  valLoss: number;
  /** Negative log-likelihood in bits per UTF-8 byte of text: comparable between tokenizers. */
  bitsPerByte: number;
  /** Mean losses of the parts that the validation loss returns; absent where it returns none. */
  parts?: Readonly<Record<string, number>>;
}

/** What `train` tells its caller while it runs. */
export type TrainEvent =
  | { type: 'resume'; step: number; path: string }
  /** The run directory is this run's: locked, checked, logs open. What belongs into it may be written now. */
  | { type: 'start'; step: number }
  | ({ type: 'step' } & StepMetrics)
  | ({ type: 'validation' } & ValidationMetrics)
  | { type: 'sample'; step: number; sample: { [key: string]: Json } }
  | { type: 'checkpoint'; step: number; path: string }
  | { type: 'warning'; message: string };
