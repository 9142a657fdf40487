import { totalmem } from 'node:os';
import { countParameters, type LlamaConfig } from '@meap/llama-model';

/** Bytes of memory by purpose, from shapes, and what this machine has. */
export interface MemoryPlan {
  weights: number;
  gradients: number;
  /** AdamW's two moments of what is trained. */
  moments: number;
  activations: number;
  total: number;
  /** Memory of the machine, or the limit of the container that this process is in. */
  available: number;
  fits: boolean;
}

/** What decides a run's memory besides the model's shape. */
export interface TrainedShape {
  /** Parameters that are trained: the adapter's, or the model's. */
  trained: number;
  /** Places of the largest micro-batch, padding included. */
  places: number;
  /** Whether more than one micro-batch makes a step: its gradients then stand beside their sum. */
  accumulates: boolean;
  recompute: boolean;
}

/** Node.js, TensorFlow.js, the compiled code and the tokenized data, before anything is computed. */
const BASE_BYTES = 250 * 1024 * 1024;

/** Buffers are handed out in sizes of which a tensor fills most: measured against resident memory. */
const POOL_OVERHEAD = 1.15;

/**
 * Estimates the memory of fine-tuning, before any weight is loaded.
 *
 * Weights are float32 in memory. The forward pass of a block makes, per token, nine tensors of the residual's width,
 * three of the keys' and three of the feed-forward's; the gradient of each is held until the pass ends, hence twice.
 * With recomputation a block holds its input, and one block at a time the rest.
 */
export function planMemory(model: LlamaConfig, shape: TrainedShape): MemoryPlan {
  const { trained, places, accumulates, recompute } = shape;
  const { hidden_size: hidden, num_hidden_layers: layers } = model;
  const keyValueWidth = model.num_key_value_heads * model.head_dim;
  const block = 9 * hidden + 3 * keyValueWidth + 3 * model.intermediate_size;
  const kept = recompute ? layers * hidden + block : layers * block;
  const parts = {
    weights: 4 * countParameters(model),
    gradients: 4 * trained * (accumulates ? 2 : 1),
    moments: 8 * trained,
    activations: Math.round(4 * places * (2 * kept + 3 * hidden) * POOL_OVERHEAD),
  };
  const total = BASE_BYTES + Object.values(parts).reduce((sum, bytes) => sum + bytes, 0);
  const available = availableMemory();
  return { ...parts, total, available, fits: total <= available };
}

function availableMemory(): number {
  // 0 or a number beyond any machine where nothing limits the process.
  const limit = process.constrainedMemory?.() ?? 0;
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

/** Values in the thin matrices of an adapter. */
export function countLoraParameters(
  model: LlamaConfig,
  { rank, target_modules: targets }: { rank: number; target_modules?: readonly string[] },
): number {
  const { hidden_size: hidden, intermediate_size: feedForward } = model;
  const query = model.num_attention_heads * model.head_dim;
  const keyValue = model.num_key_value_heads * model.head_dim;
  const sizes: Record<string, number> = {
    q_proj: hidden + query,
    k_proj: hidden + keyValue,
    v_proj: hidden + keyValue,
    o_proj: query + hidden,
    gate_proj: hidden + feedForward,
    up_proj: hidden + feedForward,
    down_proj: feedForward + hidden,
  };
  const chosen = targets ?? Object.keys(sizes);
  const block = [...new Set(chosen)].reduce((sum, target) => sum + sizes[target], 0);
  return model.num_hidden_layers * rank * block;
}
