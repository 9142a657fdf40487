import type * as tf from '@tensorflow/tfjs-core';

/** A value that JSON can hold. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Trainable variables by the names that checkpoints and parameter groups use. */
export type Parameters = ReadonlyMap<string, tf.Variable>;

/** The position of a micro-batch in a run, from 0: the key of counter-based random numbers. */
export interface Position {
  /** Optimizer steps completed before this one. */
  step: number;
  /** Index of the micro-batch within its step, below `microBatches`. */
  microBatch: number;
}

/**
 * Returns the micro-batch at a position; a pure function, so that resumed runs and ranks get the same batches.
 *
 * A batch is plain data (typed arrays); the loss creates the tensors, so that they are freed with the tape.
 */
export type BatchSource<Batch> = (position: Position) => Batch | Promise<Batch>;

/** The result of a loss: a sum and its token count, so that micro-batches are weighted by tokens. */
export interface LossSum {
  /** Sum of the negative log-likelihoods (nats) over the counted targets, a scalar on the tape. */
  sum: tf.Tensor;
  /** The z-loss that `sum` contains, a scalar; logged apart from the loss. */
  zLoss?: tf.Tensor;
  /** Number of targets in `sum`. */
  count: number;
  /** Tokens the model processed, for throughput and the `tokens` counter; `count` by default. */
  tokens?: number;
}

/** The loss to minimise. Runs inside a tape, so it must be synchronous and must not keep tensors. */
export type Loss<Batch> = (batch: Batch, position: Position) => LossSum;

/** The result of a validation loss: next-token prediction. */
export interface ValidationSum extends LossSum {
  /** UTF-8 bytes of the targets, if they are text. */
  bytes?: number;
  /** Further losses by name, such as that of masked tokens; each has its own count. */
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
  /** Mean negative log-likelihood over the step's targets, nats; null if not finite. */
  loss: number | null;
  /** Mean z-loss over the targets, which the step minimises beside `loss`; null if not finite. */
  zLoss?: number | null;
  /** Learning rate of this step, before group multipliers. */
  lr: number;
  /** Global L2 norm of the mean gradient before clipping; null if not finite. */
  gradNorm: number | null;
  /** Wall-clock throughput of this step. */
  tokensPerSecond: number;
  /** Model FLOP utilisation, 0 to 1; null without `utilisation`. */
  mfu: number | null;
  /** Resident set of this process (rank 0) after the step, bytes. */
  residentBytes: number;
  /** Memory of the TensorFlow.js backend after the step, in use or kept for reuse, bytes. */
  backendBytes: number;
  /** Present when the guard found the step anomalous. */
  anomaly?: 'non-finite' | 'spike';
  /** Loss scale of this step, if scaled. */
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
  /** Negative log-likelihood in bits per UTF-8 byte of text: comparable between tokenizers. Absent if data have no bytes. */
  bitsPerByte?: number;
  /** Mean losses of the parts of the validation loss, if any. */
  parts?: Readonly<Record<string, number>>;
}

/** One line of `metrics.jsonl` for the probes of a step. */
export interface ProbeMetrics {
  step: number;
  tokens: number;
  /** Values by `PROBE/NAME`; null if not finite. */
  probes: Readonly<Record<string, number | null>>;
  /** Duration of the measurements. */
  seconds: number;
}

/** Events of `train`. */
export type TrainEvent =
  | { type: 'resume'; step: number; path: string }
  /** The run directory is locked and checked; the caller may write its own files. */
  | { type: 'start'; step: number }
  | ({ type: 'step' } & StepMetrics)
  | ({ type: 'validation' } & ValidationMetrics)
  | ({ type: 'probe' } & ProbeMetrics)
  /** A rule of `stopWhen` ends the run with this step. */
  | { type: 'stop'; step: number; reason: string }
  | { type: 'sample'; step: number; sample: { [key: string]: Json } }
  | { type: 'checkpoint'; step: number; path: string }
  | { type: 'warning'; message: string };
