import {
  countParameters,
  createLlama,
  flopsPerToken,
  type LlamaConfig,
  parseConfig,
} from '@meap/llama-model';
import { measurePeak, type Precision } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';

/** Bytes of memory by purpose; an estimate from shapes. */
export interface MemoryEstimate {
  weights: number;
  gradients: number;
  moments: number;
  activations: number;
  total: number;
}

/** How a step is cut up. */
export interface StepShape {
  /** Tokens of a micro-batch. */
  tokens: number;
  /** Whether more than one micro-batch makes a step: its gradients then stand beside their sum. */
  accumulates: boolean;
  recompute: boolean;
}

/** Node.js, TensorFlow.js and the compiled code, before anything is computed. */
const BASE_BYTES = 150 * 1024 * 1024;

/** Buffers are handed out in sizes of which a tensor fills most: measured against resident memory. */
const POOL_OVERHEAD = 1.15;

/**
 * Estimates the memory of training: float32 weights, gradients, AdamW's two moments and what the backward pass holds.
 *
 * The forward pass of a block makes, per token, nine tensors of the residual's width (norms, query before and after
 * rotation, attention, projections, sums), three of the keys' and three of the feed-forward's. TensorFlow.js holds
 * the gradient of each until the pass ends, hence twice. With recomputation a block holds its input, and one block at
 * a time the rest.
 */
export function estimateMemory(
  model: LlamaConfig,
  { tokens, accumulates, recompute }: StepShape,
): MemoryEstimate {
  const parameters = countParameters(model);
  const { hidden_size: hidden, num_hidden_layers: layers } = model;
  const keyValueWidth = model.num_key_value_heads * model.head_dim;
  const block = 9 * hidden + 3 * keyValueWidth + 3 * model.intermediate_size;
  const kept = recompute ? layers * hidden + block : layers * block;
  const head = 3 * hidden;
  const estimate = {
    weights: 4 * parameters,
    gradients: 4 * parameters * (accumulates ? 2 : 1),
    moments: 8 * parameters,
    activations: Math.round(4 * tokens * (2 * kept + head) * POOL_OVERHEAD),
  };
  const total = BASE_BYTES + Object.values(estimate).reduce((sum, bytes) => sum + bytes, 0);
  return { ...estimate, total };
}

/** Tokens of the timed batch, and the most work that the whole model may be timed with. */
const TIMED_TOKENS = 1024;
const WHOLE_MODEL_FLOP = 200e9;

/**
 * The rate in FLOP/s at which this machine computes forward and backward of this shape, timed on 1024 tokens.
 *
 * A small model is timed whole; of a large one a single layer is, with embedding and head: its matrix products have
 * the same shapes, so they run at the same rate.
 */
export function measureRate(model: LlamaConfig, sequenceLength: number, recompute: boolean): number {
  const length = Math.min(sequenceLength, TIMED_TOKENS);
  const rows = Math.max(1, Math.floor(TIMED_TOKENS / length));
  const isSmall = flopsPerToken(model, length) * rows * length < WHOLE_MODEL_FLOP;
  const timed = isSmall ? model : parseConfig({ ...model, num_hidden_layers: 1 });
  const llama = createLlama(timed, { seed: 0 });
  const ids = Int32Array.from({ length: rows * length }, (_, i) => i % timed.vocab_size);
  const pass = () => {
    const { value, grads } = tf.variableGrads(() => {
      const ids_BT = tf.tensor2d(ids, [rows, length], 'int32');
      return llama.loss(ids_BT, ids_BT, undefined, { recompute }).sum;
    }, [...llama.parameters.values()]);
    value.dataSync();
    tf.dispose(grads);
    value.dispose();
  };
  try {
    // The first pass fills the buffer pool and is compiled on the way.
    pass();
    const began = performance.now();
    pass();
    return (flopsPerToken(timed, length) * rows * length) / ((performance.now() - began) / 1000);
  } finally {
    llama.dispose();
  }
}

/** The machine's peak in GFLOP/s, best of several measurements: other work on the cores only makes it look lower. */
export function machinePeak(precision: Precision): number | null {
  const peaks = Array.from({ length: 5 }, () => measurePeak(precision) ?? 0);
  return Math.max(...peaks) || null;
}
