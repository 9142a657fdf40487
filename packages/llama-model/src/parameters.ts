import * as tf from '@tensorflow/tfjs-core';
import type { LlamaConfig } from './config.ts';
import { FAMILIES } from './families.ts';

/** The seven matrices and two norms of a block, by their names after `model.layers.N.`. */
export const BLOCK_WEIGHTS = [
  'input_layernorm',
  'self_attn.q_proj',
  'self_attn.k_proj',
  'self_attn.v_proj',
  'self_attn.o_proj',
  'post_attention_layernorm',
  'mlp.gate_proj',
  'mlp.up_proj',
  'mlp.down_proj',
] as const;

/** A weight of a block, such as `self_attn.q_proj`. */
type BlockWeight = (typeof BLOCK_WEIGHTS)[number];

/** A norm of a block. */
export type Norm = 'input_layernorm' | 'post_attention_layernorm';

/** A matrix of a block. */
export type Projection = Exclude<BlockWeight, Norm>;

/** The seven linear layers of a block. */
export const PROJECTIONS = BLOCK_WEIGHTS.filter((name): name is Projection => !name.endsWith('layernorm'));

// The weights that have a bias in a model with biases.
const BIASED = new Set<BlockWeight>(['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj']);

export const EMBEDDING = 'model.embed_tokens.weight';
/** PEFT's name of the trained rows of the embedding table. */
export const TOKEN_ROWS = 'model.embed_tokens.token_adapter.trainable_tokens_delta';
export const FINAL_NORM = 'model.norm.weight';
export const HEAD = 'lm_head.weight';

/** The Hugging Face name of a block's tensor, such as `self_attn.q_proj.weight`. */
export function blockParameter(layer: number, name: string): string {
  return `model.layers.${layer}.${name}`;
}

/** Names within a block, such as `self_attn.q_proj.weight`, and shapes; biases behind their weights. */
export function blockShapes(config: LlamaConfig): Map<string, number[]> {
  const { hidden_size: hidden, intermediate_size: feedForward, head_dim } = config;
  const queryWidth = config.num_attention_heads * head_dim;
  const keyValueWidth = config.num_key_value_heads * head_dim;
  const weights: Record<BlockWeight, number[]> = {
    input_layernorm: [hidden],
    'self_attn.q_proj': [queryWidth, hidden],
    'self_attn.k_proj': [keyValueWidth, hidden],
    'self_attn.v_proj': [keyValueWidth, hidden],
    'self_attn.o_proj': [hidden, queryWidth],
    post_attention_layernorm: [hidden],
    'mlp.gate_proj': [feedForward, hidden],
    'mlp.up_proj': [feedForward, hidden],
    'mlp.down_proj': [hidden, feedForward],
  };
  const { queryKeyValueBias } = FAMILIES[config.model_type ?? 'llama'];
  const shapes = new Map<string, number[]>();
  for (const weight of BLOCK_WEIGHTS) {
    shapes.set(`${weight}.weight`, weights[weight]);
    if (queryKeyValueBias && BIASED.has(weight)) shapes.set(`${weight}.bias`, [weights[weight][0]]);
  }
  return shapes;
}

/**
 * Names and shapes of a model's parameters, in the order of the forward pass.
 *
 * Names are Hugging Face's; matrices are `[outputs, inputs]`. A tied model has no `lm_head.weight`.
 */
export function parameterShapes(config: LlamaConfig): Map<string, number[]> {
  const { vocab_size, hidden_size: hidden } = config;
  const block = blockShapes(config);
  const shapes = new Map<string, number[]>([[EMBEDDING, [vocab_size, hidden]]]);
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    for (const [name, shape] of block) shapes.set(blockParameter(layer, name), shape);
  }
  shapes.set(FINAL_NORM, [hidden]);
  if (!config.tie_word_embeddings) shapes.set(HEAD, [vocab_size, hidden]);
  return shapes;
}

/** Returns the number of parameters; a tied table counts once. */
export function countParameters(config: LlamaConfig): number {
  let total = 0;
  for (const shape of parameterShapes(config).values()) total += shape.reduce((a, b) => a * b, 1);
  return total;
}

/**
 * Floating-point operations of one training token, forward and backward: 6·n + 6·layers·width·T.
 *
 * n counts all parameters but the embedding table, which is only looked up. Counts the causal half of attention once, and
 * no recomputation.
 *
 * @param sequenceLength tokens in a row, T
 */
export function flopsPerToken(config: LlamaConfig, sequenceLength: number): number {
  const lookUp = config.tie_word_embeddings ? 0 : config.vocab_size * config.hidden_size;
  const attentionWidth = config.num_attention_heads * config.head_dim;
  return (
    6 * (countParameters(config) - lookUp) + 6 * config.num_hidden_layers * attentionWidth * sequenceLength
  );
}

/** Creates a variable that owns its values; unnamed, since TensorFlow.js requires unique names in a process. */
export function variable(values: Float32Array, shape: number[]): tf.Variable {
  const initial = tf.tensor(values, shape, 'float32');
  const result = tf.variable(initial);
  initial.dispose();
  return result;
}
