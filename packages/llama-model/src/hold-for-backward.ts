import * as tf from '@tensorflow/tfjs';

/**
 * A handle on a tensor that lives until the backward pass is over.
 *
 * Tensors made inside a gradient function are disposed when its forward pass ends, save those on the tape. Ids,
 * segment ids and rotary tables carry no gradient, so no op puts them there, yet backward kernels and
 * recomputation read them again. A tape node without gradient owns the handle: the engine frees it with the tape.
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
