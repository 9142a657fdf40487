import { adamW } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';
import type { Parameters } from './types.ts';

/** What an optimizer remembers between steps; a checkpoint stores exactly this. */
export interface OptimizerState {
  /** Updates applied so far; skipped steps do not count. */
  step: number;
  /** Named tensors, such as the moments of AdamW. */
  readonly tensors: ReadonlyMap<string, tf.Variable>;
}

/** What one update needs. */
export interface OptimizerUpdate {
  parameters: Parameters;
  /** Gradients by parameter name; a parameter without one is left alone, as in PyTorch. */
  gradients: ReadonlyMap<string, tf.Tensor>;
  /** Rate of this step, before group multipliers. */
  learningRate: number;
  /**
   * Factor applied to every gradient: clipping and the division by the token count in one. A tensor, which the device
   * decided on and in which 0 leaves everything as it is, only where the optimizer says `takesDeviceScale`.
   */
  gradientScale: number | tf.Tensor;
}

/** An optimizer as a pair of functions over explicit state, as in optax. */
export interface Optimizer {
  /** Fresh state for these parameters. */
  init(parameters: Parameters): OptimizerState;
  /** Applies one step in place to the parameters and the state. */
  update(state: OptimizerState, update: OptimizerUpdate): void;
  /** Whether `gradientScale` may be a tensor, so that a GPU need not be waited for before the update. */
  readonly takesDeviceScale?: boolean;
}

/** Settings for the parameters whose names a pattern finds; the first group that matches a name holds. */
export interface ParameterGroup {
  /** A regular expression (or its source) searched in the parameter's name. */
  pattern: RegExp | string;
  weightDecay?: number;
  learningRateMultiplier?: number;
}

/** Options of {@link adamWOptimizer}; the defaults are the paper's (MEAP A.1). */
export interface AdamWOptions {
  beta1?: number;
  beta2?: number;
  epsilon?: number;
  /** Decoupled weight decay of every parameter that no group names, embeddings and norms included. */
  weightDecay?: number;
  groups?: readonly ParameterGroup[];
}

/**
 * AdamW with decoupled weight decay and bias correction, in place (Loshchilov & Hutter, arXiv 1711.05101).
 *
 * State tensors are `exp_avg.<name>` and `exp_avg_sq.<name>`, PyTorch's words. A group whose pattern finds no
 * parameter throws a RangeError, so that a misspelt pattern cannot pass for a setting.
 */
export function adamWOptimizer(options: AdamWOptions = {}): Optimizer {
  const { beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weightDecay = 0.05 } = options;
  const groups = (options.groups ?? []).map((group) => ({ ...group, regex: new RegExp(group.pattern) }));
  return {
    takesDeviceScale: true,
    init(parameters) {
      for (const { pattern, regex } of groups) {
        if ([...parameters.keys()].some((name) => regex.test(name))) continue;
        throw new RangeError(
          `adamWOptimizer: group pattern ${pattern} finds none of ${parameters.size} parameters`,
        );
      }
      const tensors = new Map<string, tf.Variable>();
      for (const moment of ['exp_avg', 'exp_avg_sq']) {
        for (const [name, parameter] of parameters) tensors.set(`${moment}.${name}`, zerosLike(parameter));
      }
      return { step: 0, tensors };
    },
    update(state, { parameters, gradients, learningRate, gradientScale }) {
      state.step += 1;
      for (const [name, gradient] of gradients) {
        const group = groups.find(({ regex }) => regex.test(name));
        adamW({
          parameter: parameters.get(name)!,
          gradient,
          firstMoment: state.tensors.get(`exp_avg.${name}`)!,
          secondMoment: state.tensors.get(`exp_avg_sq.${name}`)!,
          learningRate: learningRate * (group?.learningRateMultiplier ?? 1),
          beta1,
          beta2,
          epsilon,
          weightDecay: group?.weightDecay ?? weightDecay,
          step: state.step,
          gradientScale,
        });
      }
    },
  };
}

function zerosLike(parameter: tf.Variable): tf.Variable {
  const zeros = tf.zeros(parameter.shape);
  const variable = tf.variable(zeros, false);
  zeros.dispose();
  return variable;
}
