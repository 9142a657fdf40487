import * as tf from '@tensorflow/tfjs-core';
import { readOptimizerTensors } from './checkpoint.ts';
import { type AccumulateOptions, accumulateGradients, type StepSums } from './gradients.ts';
import type { Optimizer, OptimizerState } from './optimizer.ts';
import { assign, tensorBytes } from './tensor-bytes.ts';

/** How a step's gradients are computed and its sums are read. */
export type StepReading = Pick<AccumulateOptions<never>, 'lossScale' | 'leaveUnread'>;

/** What a training step is made of, whoever computes it: one process, or this rank of several. */
export interface TrainingStep {
  /** The optimizer's state; with ZeRO this rank's part of it. */
  readonly state: OptimizerState;
  /** Gradients and sums of the step over all ranks; undefined when it is to be given up for an abort. */
  accumulate(step: number, reading?: StepReading): Promise<StepSums | undefined>;
  /** Applies the gradients of `sums`. */
  update(sums: StepSums, learningRate: number, gradientScale: number | tf.Tensor): Promise<void>;
  /** The optimizer's tensors as one process would hold them. */
  readonly tensors: readonly { name: string; shape: number[] }[];
  /** The bytes of one of them, on rank 0; ranks call it together, and one tensor at a time is whole. */
  readTensor(index: number): Promise<Uint8Array>;
  /** Reads the optimizer's tensors from a checkpoint. */
  load(path: string): Promise<void>;
}

/** What {@link singleProcessStep} and its like need of a run. */
export interface StepOptions<Batch> extends Omit<AccumulateOptions<Batch>, 'step' | keyof StepReading> {
  optimizer: Optimizer;
}

/** A step that one process computes by itself. */
export function singleProcessStep<Batch>(options: StepOptions<Batch>): TrainingStep {
  const { parameters, optimizer } = options;
  const state = optimizer.init(parameters);
  return {
    state,
    accumulate: (step, reading) => accumulateGradients({ ...options, ...reading, step }),
    async update({ gradients }, learningRate, gradientScale) {
      optimizer.update(state, { parameters, gradients, learningRate, gradientScale });
    },
    ...heldWhole(state),
  };
}

/** What a step does with an optimizer's tensors where this process holds all of them. */
export function heldWhole(state: OptimizerState): Pick<TrainingStep, 'tensors' | 'readTensor' | 'load'> {
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
