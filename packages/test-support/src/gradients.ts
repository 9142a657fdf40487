import * as tf from '@tensorflow/tfjs';

/**
 * Compares the gradient of a scalar function with a central difference in one random direction over all inputs
 * at once, after JAX's `check_grads`. Float32 sums make a step near ε^⅓ best.
 */
export function checkGradients(
  f: (...inputs: tf.Tensor[]) => tf.Scalar,
  inputs: tf.Tensor[],
  { step = 1e-2, tolerance = 5e-3, seed = 1 }: { step?: number; tolerance?: number; seed?: number } = {},
): void {
  tf.tidy(() => {
    const directions = inputs.map((x, i) => tf.randomNormal(x.shape, 0, 1, 'float32', seed + i));
    const length = Math.sqrt(directions.reduce((sum, d) => sum + tf.sum(tf.square(d)).dataSync()[0], 0));
    const at = (distance: number) =>
      f(...inputs.map((x, i) => tf.add(x, tf.mul(directions[i], distance / length)))).dataSync()[0];
    // Fourth order: a plain difference would need a step below float32's resolution.
    const numeric = (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step);
    const gradients = tf.grads(f)(inputs);
    const analytic =
      gradients.reduce((sum, g, i) => sum + tf.sum(tf.mul(g, directions[i])).dataSync()[0], 0) / length;
    const scale = Math.max(Math.abs(numeric), Math.abs(analytic), 1e-2);
    if (!(Math.abs(numeric - analytic) <= tolerance * scale)) {
      throw new Error(`checkGradients: got slope ${analytic}, central difference ${numeric}`);
    }
  });
}

/**
 * Compares the gradient of a scalar with respect to variables with a central difference along that gradient, where the
 * slope is well above float32's noise. The variables keep their values.
 */
export function checkVariableGradients(
  f: () => tf.Tensor,
  variables: readonly tf.Variable[],
  { step = 1e-2, tolerance = 1e-2 }: { step?: number; tolerance?: number } = {},
): void {
  tf.tidy(() => {
    const { grads } = tf.variableGrads(f as () => tf.Scalar, [...variables]);
    const gradients = variables.map(({ name }) => grads[name]);
    const norm = Math.hypot(...gradients.map((gradient) => tf.norm(gradient).dataSync()[0]));
    const starts = variables.map((variable) => tf.tensor(variable.dataSync().slice(), variable.shape));
    const at = (distance: number) => {
      for (const [i, variable] of variables.entries()) {
        variable.assign(tf.add(starts[i], tf.mul(gradients[i], distance / norm)));
      }
      return f().dataSync()[0];
    };
    const difference = (at(step) - at(-step)) / (2 * step);
    at(0);
    if (!(Math.abs(difference / norm - 1) < tolerance)) {
      throw new Error(`checkVariableGradients: got norm ${norm}, central difference ${difference}`);
    }
  });
}
