/** Whether a run will fit, from shapes alone. */
import { totalmem } from 'node:os';

/** Bytes of memory by purpose. */
export interface MemoryEstimate {
  weights: number;
  gradients: number;
  /** AdamW's two moments of what is trained. */
  moments: number;
  activations: number;
  /** All of these and the base. */
  total: number;
}

/** The sizes of a decoder that decide what its backward pass holds; a `config.json` has them. */
export interface DecoderShape {
  hidden_size: number;
  num_hidden_layers: number;
  num_key_value_heads: number;
  head_dim: number;
  intermediate_size: number;
}

/** What decides a step's memory besides the model's shape. */
export interface StepShape {
  parameters: number;
  /** Bytes of a weight in memory: 4, unless frozen ones are held as bfloat16. */
  weightBytes?: 2 | 4;
  /** Parameters that are trained: an adapter's, or all. */
  trained: number;
  /** Places of the largest micro-batch, padding included. */
  places: number;
  /** Whether more than one micro-batch makes a step: its gradients then stand beside their sum. */
  accumulates: boolean;
  /** Whether blocks keep only their inputs for the backward pass. */
  recompute: boolean;
  /** Bytes of Node.js, TensorFlow.js, compiled code and what the program holds besides. */
  base: number;
}

/** Buffers are handed out in sizes of which a tensor fills most, and kept for the next step: measured. */
const POOL_OVERHEAD = 1.15;

/**
 * Estimates the memory of training: weights, gradients, AdamW's two moments, float32, and what the backward pass holds.
 *
 * The forward pass of a block makes, per token, nine tensors of the residual's width (norms, query before and after
 * rotation, attention, projections, sums), three of the keys' and three of the feed-forward's. TensorFlow.js holds
 * the gradient of each until the pass ends, hence twice. With recomputation a block holds its input, and one block at
 * a time the rest.
 */
export function estimateMemory(shape: DecoderShape, step: StepShape): MemoryEstimate {
  const { parameters, weightBytes = 4, trained, places, accumulates, recompute, base } = step;
  const { hidden_size: hidden, num_hidden_layers: layers } = shape;
  const keyValueWidth = shape.num_key_value_heads * shape.head_dim;
  const block = 9 * hidden + 3 * keyValueWidth + 3 * shape.intermediate_size;
  const kept = recompute ? layers * hidden + block : layers * block;
  const head = 3 * hidden;
  const estimate = {
    weights: weightBytes * parameters,
    gradients: Math.round(4 * trained * (accumulates ? 2 : 1) * POOL_OVERHEAD),
    moments: 8 * trained,
    activations: Math.round(4 * places * (2 * kept + head) * POOL_OVERHEAD),
  };
  const total = base + Object.values(estimate).reduce((sum, bytes) => sum + bytes, 0);
  return { ...estimate, total };
}

/** Memory of the machine in bytes, or the limit of the container that this process is in. */
export function availableMemory(): number {
  // 0 or a number beyond any machine where nothing limits the process.
  const limit = process.constrainedMemory?.() ?? 0;
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}
