import * as tf from '@tensorflow/tfjs-core';
import { readOptimizerTensors } from './checkpoint.ts';
import { type AccumulateOptions, accumulateGradients, type StepSums } from './gradients.ts';
import type { Optimizer, OptimizerState } from './optimizer.ts';
import { assign, tensorBytes } from './tensor-bytes.ts';

/** How a step's gradients are computed and its sums are read. */
export type StepReading = Pick<AccumulateOptions<never>, 'lossScale' | 'leaveUnread'>;

/** The parts of a training step, for a single process or one of several ranks. */
export interface TrainingStep {
  /** The optimizer's state; with ZeRO this rank's part of it. */
  readonly state: OptimizerState;
  /** Computes gradients and sums of a step over all ranks; undefined if the step was aborted. */
  accumulate(step: number, reading?: StepReading): Promise<StepSums | undefined>;
  /** Applies the gradients of `sums`. */
  update(sums: StepSums, learningRate: number, gradientScale: number | tf.Tensor): Promise<void>;
  /** The optimizer's tensors, unsharded. */
  readonly tensors: readonly { name: string; shape: number[] }[];
  /** Returns the bytes of a tensor on rank 0; all ranks call it. Only one tensor is gathered at a time. */
  readTensor(index: number): Promise<Uint8Array>;
  /** Reads the optimizer's tensors from a checkpoint. */
  load(path: string): Promise<void>;
}

/** Options of {@link singleProcessStep}. */
export interface StepOptions<Batch> extends Omit<AccumulateOptions<Batch>, 'step' | keyof StepReading> {
  optimizer: Optimizer;
}

/** Creates a step of a single process. */
export function singleProcessStep<Batch>(options: StepOptions<Batch>): TrainingStep {
  const { parameters, optimizer } = options;
  const state = optimizer.init(parameters);
  return {
    state,
    accumulate: (step, reading) => accumulateGradients({ ...options, ...reading, step }),
    async update({ gradients }, learningRate, gradientScale) {
      optimizer.update(state, { parameters, gradients, learningRate, gradientScale });
    },
    ...unshardedTensors(state),
  };
}

/** Reads and loads an optimizer's tensors that this process holds unsharded. */
export function unshardedTensors(
  state: OptimizerState,
): Pick<TrainingStep, 'tensors' | 'readTensor' | 'load'> {
  const variables = [...state.tensors.values()];
  const tensors = Array.from(state.tensors, ([name, { shape }]) => ({ name, shape }));
  return {
    tensors,
    readTensor: (index) => tensorBytes(variables[index]),
    load: (path) => readOptimizerTensors(path, tensors, (index, values) => assign(variables[index], values)),
  };
}

/** Frees a step's optimizer state. */
export function disposeStep({ state }: TrainingStep): void {
  tf.dispose([...state.tensors.values()]);
}
