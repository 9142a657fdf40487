import { createLlama, flopsPerToken, type LlamaConfig, parseConfig } from '@meap/llama-model';
import * as tf from '@tensorflow/tfjs-core';

/** Tokens of the timed batch. */
const TIMED_TOKENS = 1024;
/** FLOP of a pass up to which the whole model is timed. */
const MAX_WHOLE_MODEL_FLOP = 200e9;

/**
 * Measures the rate of forward and backward of this shape in FLOP/s, on 1024 tokens.
 *
 * A large model is timed with a single layer, whose matrix products have the same shapes.
 */
export async function measureRate(
  model: LlamaConfig,
  sequenceLength: number,
  { recompute, dropout: rate }: { recompute: boolean; dropout: number },
): Promise<number> {
  const length = Math.min(sequenceLength, TIMED_TOKENS);
  const rows = Math.max(1, Math.floor(TIMED_TOKENS / length));
  const isSmall = flopsPerToken(model, length) * rows * length < MAX_WHOLE_MODEL_FLOP;
  const timed = isSmall ? model : parseConfig({ ...model, num_hidden_layers: 1 });
  const llama = createLlama(timed, { seed: 0 });
  const ids = Int32Array.from({ length: rows * length }, (_, i) => i % timed.vocab_size);
  const options = { recompute, dropout: rate > 0 && { rate, seed: 0, step: 0 } };
  const pass = async () => {
    const { value, grads } = tf.variableGrads(() => {
      const ids_BT = tf.tensor2d(ids, [rows, length], 'int32');
      return llama.loss(ids_BT, ids_BT, undefined, options).sum;
    }, [...llama.parameters.values()]);
    await value.data();
    tf.dispose(grads);
    value.dispose();
  };
  try {
    // The first pass is warm-up.
    await pass();
    const began = performance.now();
    await pass();
    return (flopsPerToken(timed, length) * rows * length) / ((performance.now() - began) / 1000);
  } finally {
    llama.dispose();
  }
}
