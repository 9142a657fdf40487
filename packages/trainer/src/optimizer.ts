import { adamW, muon, shardLike } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';
import type { Parameters } from './types.ts';

/** The state of an optimizer; stored in checkpoints. */
export interface OptimizerState {
  /** Updates applied so far, without skipped steps. */
  step: number;
  /** Named tensors, such as the moments of AdamW. */
  readonly tensors: ReadonlyMap<string, tf.Variable>;
}

/** Arguments of an update. */
export interface OptimizerUpdate {
  parameters: Parameters;
  /** Gradients by parameter name; a parameter without one is not updated, as in PyTorch. */
  gradients: ReadonlyMap<string, tf.Tensor>;
  /** Rate of this step, before group multipliers. */
  learningRate: number;
  /**
   * Factor on every gradient: clipping and division by the token count. With `takesDeviceScale` it may be a tensor computed
   * on the device; 0 then skips the update.
   */
  gradientScale: number | tf.Tensor;
}

/** An optimizer as a pair of functions over explicit state, as in optax. */
export interface Optimizer {
  /** Creates the state for these parameters. */
  init(parameters: Parameters): OptimizerState;
  /** Updates parameters and state in place. */
  update(state: OptimizerState, update: OptimizerUpdate): void;
  /** Whether an update needs all of a parameter, so that ZeRO cannot give it a part. */
  readonly needsWholeParameters?: boolean;
  /** Whether `gradientScale` may be a tensor, so that an update does not wait for the GPU. */
  readonly takesDeviceScale?: boolean;
}

/** Settings for parameters whose names match a pattern; the first matching group applies. */
export interface ParameterGroup {
  /** A regular expression, or its source, that matches part of the name. */
  pattern: RegExp | string;
  weightDecay?: number;
  learningRateMultiplier?: number;
}

/** Options of {@link adamWOptimizer}; the defaults are the paper's (MEAP A.1). */
export interface AdamWOptions {
  beta1?: number;
  beta2?: number;
  epsilon?: number;
  /** Decoupled weight decay of parameters without a group's setting, embeddings and norms included. */
  weightDecay?: number;
  groups?: readonly ParameterGroup[];
}

const DEFAULT_WEIGHT_DECAY = 0.05;

/**
 * AdamW with decoupled weight decay and bias correction, in place (Loshchilov & Hutter, arXiv 1711.05101).
 *
 * State tensors are named `exp_avg.<name>` and `exp_avg_sq.<name>` as in PyTorch. Throws RangeError for a group whose pattern
 * matches no parameter.
 */
export function adamWOptimizer(options: AdamWOptions = {}): Optimizer {
  const { beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weightDecay = DEFAULT_WEIGHT_DECAY } = options;
  const groups = (options.groups ?? []).map((group) => ({ ...group, regex: new RegExp(group.pattern) }));
  return {
    takesDeviceScale: true,
    init(parameters) {
      for (const { pattern, regex } of groups) {
        if ([...parameters.keys()].some((name) => regex.test(name))) continue;
        throw new RangeError(
          `adamWOptimizer: group pattern ${pattern} matches none of ${parameters.size} parameters`,
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

/** Options of {@link muonOptimizer}; those of AdamW are for the other parameters, the weight decay for all. */
export interface MuonOptimizerOptions extends Omit<AdamWOptions, 'groups'> {
  /** Matches the names of the matrices that Muon updates, those of the blocks: not embeddings and head. */
  matrices: RegExp;
  /** Share of the momentum buffer that a step keeps; 0.95 by default. */
  momentum?: number;
}

/**
 * Muon for matrices (Jordan et al. 2024) and AdamW for the other parameters, in place. Updates have the root mean square of
 * AdamW's, so that one learning rate and one weight decay serve both (Liu et al. 2025, arXiv 2502.16982, §2.2).
 *
 * State tensors are named as in PyTorch: `momentum_buffer.<name>` of `torch.optim.Muon`, and those of {@link adamWOptimizer}.
 * Throws RangeError if no parameter matches, or one that is not a matrix.
 */
export function muonOptimizer({ matrices, momentum = 0.95, ...options }: MuonOptimizerOptions): Optimizer {
  const others = adamWOptimizer(options);
  const { weightDecay = DEFAULT_WEIGHT_DECAY } = options;
  // Unlike test, search keeps no position of a global pattern.
  const isMatrix = ([name]: readonly [string, unknown]) => name.search(matrices) >= 0;
  return {
    takesDeviceScale: true,
    needsWholeParameters: true,
    init(parameters) {
      const own = [...parameters].filter(isMatrix);
      if (own.length === 0) {
        throw new RangeError(
          `muonOptimizer: matrices ${matrices} match none of ${parameters.size} parameters`,
        );
      }
      for (const [name, { shape }] of own) {
        if (shape.length === 2) continue;
        throw new RangeError(
          `muonOptimizer: ${name} matches ${matrices}, got the shape [${shape}], expected a matrix`,
        );
      }
      const buffers = own.map(
        ([name, parameter]) => [`momentum_buffer.${name}`, zerosLike(parameter)] as const,
      );
      const rest = others.init(new Map([...parameters].filter((entry) => !isMatrix(entry))));
      return { step: 0, tensors: new Map([...buffers, ...rest.tensors]) };
    },
    update(state, update) {
      const { parameters, gradients, learningRate, gradientScale } = update;
      others.update(state, {
        ...update,
        gradients: new Map([...gradients].filter((entry) => !isMatrix(entry))),
      });
      for (const [name, gradient] of [...gradients].filter(isMatrix)) {
        const momentumBuffer = state.tensors.get(`momentum_buffer.${name}`)!;
        const parameter = parameters.get(name)!;
        const rates = { learningRate, momentum, weightDecay, gradientScale };
        muon({ parameter, gradient, momentumBuffer, ...rates });
      }
    },
  };
}

function zerosLike(parameter: tf.Variable): tf.Variable {
  const zeros = tf.zeros(parameter.shape);
  shardLike(zeros, parameter);
  const variable = tf.variable(zeros, false);
  zeros.dispose();
  return variable;
}
