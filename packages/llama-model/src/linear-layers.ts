/**
 * Linear layers with a frozen weight or a low-rank adapter, and sums. Each op saves for the backward pass only what its
 * gradients need.
 *
 * Shape suffixes: I inputs, O outputs, R rank, N tokens.
 */
import { linear } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';

/** A low-rank adapter of one linear layer: x goes through `drop`, A, B and a factor. */
export interface LowRank {
  readonly a_RI: tf.Tensor2D;
  readonly b_OR: tf.Tensor2D;
  /** α / R. */
  readonly scaling: number;
  /** A linear map, the same in the forward and the backward pass; the identity by default. */
  readonly drop?: (x: tf.Tensor) => tf.Tensor;
}

/** What DoRA adds to a low-rank adapter. */
export interface Magnitudes {
  /** Trained norms of the rows of the adapted weight. */
  readonly magnitude_O: tf.Tensor1D;
  /** ‖W‖² of each row of the frozen weight. */
  readonly squares_O: tf.Tensor1D;
}

/** Sum of two tensors of one shape, or of rows and a bias; unlike `tf.add` it saves neither of them. */
export function add(x: tf.Tensor, y: tf.Tensor): tf.Tensor {
  const [isBias, yShape] = [y.rank < x.rank, y.shape];
  const op = tf.customGrad(() => ({
    value: tf.add(x, y),
    // Clones: the tape may dispose a gradient that it has added to another.
    gradFunc: (dy: tf.Tensor) => [dy.clone(), isBias ? columnSums(rows(dy)).reshape(yShape) : dy.clone()],
  }));
  return op(x, y);
}

/** x·Wᵀ (+ b) with a gradient for x alone, which does not need x: saves no activations. */
export function frozenLinear(x: tf.Tensor, weight_OI: tf.Tensor2D, bias_O?: tf.Tensor1D): tf.Tensor {
  const op = tf.customGrad((_, save) => {
    (save as tf.GradSaveFunc)([weight_OI]);
    return {
      value: output(x, weight_OI, bias_O),
      gradFunc: (dy: tf.Tensor, [weight]: tf.Tensor[]) => inputGradient(dy, weight as tf.Tensor2D),
    };
  });
  return op(x);
}

/**
 * x·Wᵀ (+ b) + scaling · drop(x)·Aᵀ·Bᵀ, with gradients for x, A and B (LoRA, Hu et al. 2021, equation 3).
 *
 * Never forms W + scaling · B·A; recomputes drop(x) in the backward pass.
 *
 * @param x float32 `[..., I]`
 * @returns float32 `[..., O]`
 */
export function adaptedLinear(
  x: tf.Tensor,
  weight_OI: tf.Tensor2D,
  bias_O: tf.Tensor1D | undefined,
  { a_RI, b_OR, scaling, drop = (x) => x }: LowRank,
): tf.Tensor {
  const op = tf.customGrad((_x, _a, _b, save) => {
    const h_NR = tf.matMul(rows(drop(x)), a_RI, false, true);
    const update_NO = tf.matMul(tf.mul(h_NR, scaling), b_OR, false, true);
    (save as tf.GradSaveFunc)([x, a_RI, b_OR, h_NR, weight_OI]);
    const base = output(x, weight_OI, bias_O);
    return {
      value: tf.add(base, update_NO.reshape(base.shape)),
      // The tape would free intermediate tensors only at the end of the backward pass.
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) =>
        tf.tidy(() => {
          const [x, a_RI, b_OR, h_NR, weight_OI] = saved as [tf.Tensor, ...tf.Tensor2D[]];
          const dy_NO = rows(dy);
          const dh_NR = tf.mul(tf.matMul(dy_NO, b_OR), scaling) as tf.Tensor2D;
          const dA_RI = tf.matMul(dh_NR, rows(drop(x)), true, false);
          const dB_OR = tf.mul(tf.matMul(dy_NO, h_NR, true, false), scaling);
          const throughAdapter = drop(tf.matMul(dh_NR, a_RI).reshape(x.shape));
          return [tf.add(inputGradient(dy, weight_OI), throughAdapter), dA_RI, dB_OR];
        }),
    };
  });
  return op(x, a_RI, b_OR);
}

/**
 * magnitude / ‖W + scaling · B·A‖ on the rows of W + scaling · B·A, with gradients for x, A, B and the magnitudes (DoRA,
 * Liu et al. 2024, arXiv 2402.09353, equation 5).
 *
 * The norms are constants in the backward pass (§4.3). As in PEFT, dropout is of the change that the adapter makes: W·x
 * stays. Never forms W + scaling · B·A; keeps the product with it, from which the gradient of the magnitudes follows.
 *
 * @param x float32 `[..., I]`
 * @returns float32 `[..., O]`
 */
export function doraLinear(
  x: tf.Tensor,
  weight_OI: tf.Tensor2D,
  bias_O: tf.Tensor1D | undefined,
  lowRank: LowRank,
  { magnitude_O, squares_O }: Magnitudes,
): tf.Tensor {
  const { a_RI, b_OR, scaling, drop } = lowRank;
  const op = tf.customGrad((_x, _a, _b, _magnitude, save) => {
    const norm_O = adaptedNorms(weight_OI, lowRank, squares_O);
    const factor_O = tf.div(magnitude_O, norm_O) as tf.Tensor1D;
    const dropped = drop ? drop(x) : x;
    const h_NR = tf.matMul(rows(dropped), a_RI, false, true);
    const update_NO = tf.matMul(tf.mul(h_NR, scaling), b_OR, false, true);
    const base = linear(dropped, weight_OI);
    const z_NO = tf.add(rows(base), update_NO);
    (save as tf.GradSaveFunc)([x, a_RI, b_OR, h_NR, z_NO, norm_O, factor_O, weight_OI]);
    const y = tf.mul(z_NO, factor_O).reshape(base.shape);
    const whole = drop ? tf.add(y, linear(tf.sub(x, dropped), weight_OI)) : y;
    return {
      value: bias_O ? tf.add(whole, bias_O) : whole,
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) =>
        tf.tidy(() => {
          const [x, a_RI, b_OR, h_NR, z_NO, norm_O, factor_O, weight_OI] = saved as [
            tf.Tensor,
            ...tf.Tensor2D[],
          ];
          const dy_NO = rows(dy);
          const dMagnitude_O = tf.div(columnSums(tf.mul(dy_NO, z_NO)), norm_O);
          const dz_NO = tf.mul(dy_NO, factor_O) as tf.Tensor2D;
          const dh_NR = tf.mul(tf.matMul(dz_NO, b_OR), scaling) as tf.Tensor2D;
          const dA_RI = tf.matMul(dh_NR, rows(drop ? drop(x) : x), true, false);
          const dB_OR = tf.mul(tf.matMul(dz_NO, h_NR, true, false), scaling);
          // Without dropout dy and dz − dy go the same way.
          const dChanged_NO = drop ? (tf.sub(dz_NO, dy_NO) as tf.Tensor2D) : dz_NO;
          const through_NI = tf.add(inputGradient(dChanged_NO, weight_OI), tf.matMul(dh_NR, a_RI));
          const through = through_NI.reshape(x.shape);
          const dx = drop ? tf.add(inputGradient(dy, weight_OI), drop(through)) : through;
          return [dx, dA_RI, dB_OR, dMagnitude_O];
        }),
    };
  });
  return op(x, a_RI, b_OR, magnitude_O);
}

/**
 * ‖W + scaling · B·A‖ of each row, `[O]`: with w and b rows of W and B, ‖w‖² + 2 · scaling · (wAᵀ)·b + scaling² · bAAᵀbᵀ.
 * Never forms the sum.
 */
export function adaptedNorms(
  weight_OI: tf.Tensor2D,
  { a_RI, b_OR, scaling }: LowRank,
  squares_O: tf.Tensor1D,
): tf.Tensor1D {
  return tf.tidy(() => {
    const wA_OR = tf.transpose(linear(a_RI, weight_OI));
    const bAA_OR = tf.matMul(b_OR, tf.matMul(a_RI, a_RI, false, true));
    const added_OR = tf.add(tf.mul(wA_OR, 2 * scaling), tf.mul(bAA_OR, scaling ** 2));
    return rowNorms(tf.add(squares_O, tf.sum(tf.mul(added_OR, b_OR), 1)));
  });
}

/** Norms of rows from their squares, `[O]`; never 0, since they divide the magnitudes of rows of zeros too. */
export function rowNorms(squares_O: tf.Tensor1D): tf.Tensor1D {
  return tf.tidy(() => tf.sqrt(tf.maximum(squares_O, 1e-30)));
}

function output(x: tf.Tensor, weight_OI: tf.Tensor2D, bias_O?: tf.Tensor1D): tf.Tensor {
  const y = linear(x, weight_OI);
  return bias_O ? tf.add(y, bias_O) : y;
}

function inputGradient(dy: tf.Tensor, weight_OI: tf.Tensor2D): tf.Tensor {
  return tf.matMul(rows(dy), weight_OI).reshape([...dy.shape.slice(0, -1), weight_OI.shape[1]]);
}

function rows(x: tf.Tensor): tf.Tensor2D {
  return x.reshape([-1, x.shape[x.rank - 1]]);
}

/** A matrix product, for which every backend has a fast kernel. */
function columnSums(x_NO: tf.Tensor2D): tf.Tensor1D {
  return tf.matMul(tf.ones([1, x_NO.shape[0]]), x_NO).as1D();
}
