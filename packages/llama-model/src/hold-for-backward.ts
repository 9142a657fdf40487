import * as tf from '@tensorflow/tfjs';

/**
 * A handle on a tensor that lives until the backward pass is over.
 *
 * Tensors made inside a gradient function are disposed when its forward pass ends, save those on the tape. What
 * the recomputed function takes from its closure is not: it carries no gradient and no op saved it. A tape node
 * without gradient owns the handle, so the engine frees it together with the tape.
 */
export function holdForBackward<T extends tf.Tensor>(tensor: T): T {
  const { state } = tf.engine();
  if (state.gradientDepth === 0) return tensor;
  const held = tf.keep(tensor.clone());
  state.activeTape.push({
    id: state.nextTapeNodeId++,
    kernelName: 'HoldForBackward',
    inputs: {},
    outputs: [],
    saved: [held],
  });
  return held;
}
