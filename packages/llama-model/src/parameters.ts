import { type Mesh, shardTensor, type TensorSharding } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';
import type { LlamaConfig } from './config.ts';
import { familyOf } from './families.ts';

/** The seven linear layers of a block, by their names after `model.layers.N.`. */
export const PROJECTIONS = [
  'self_attn.q_proj',
  'self_attn.k_proj',
  'self_attn.v_proj',
  'self_attn.o_proj',
  'mlp.gate_proj',
  'mlp.up_proj',
  'mlp.down_proj',
] as const;

/** A matrix of a block. */
export type Projection = (typeof PROJECTIONS)[number];

/** Attention or feed-forward layer. */
export type Half = 'self_attn' | 'mlp';

/** The norm of the queries or keys of a block, QK-norm. */
export type HeadNorm = 'self_attn.q_norm' | 'self_attn.k_norm';

// Hugging Face gives one name two meanings.
const INPUT_NORMS = { self_attn: 'input_layernorm', mlp: 'post_attention_layernorm' } as const;
const OUTPUT_NORMS = { self_attn: 'post_attention_layernorm', mlp: 'post_feedforward_layernorm' } as const;

export const EMBEDDING = 'model.embed_tokens.weight';
/** PEFT's name of the trained rows of the embedding table. */
export const TOKEN_ROWS = 'model.embed_tokens.token_adapter.trainable_tokens_delta';
/** PEFT's name of the norms of rows that DoRA trains, behind the name of a layer. */
export const MAGNITUDE = 'lora_magnitude_vector';
/** Our name of the squared norms of the rows of a layer's frozen weight, in place of `weight`. */
export const ROW_SQUARES = 'row_squares';
export const FINAL_NORM = 'model.norm.weight';
export const HEAD = 'lm_head.weight';

/** The Hugging Face name of a block's tensor, such as `self_attn.q_proj.weight`. */
export function blockParameter(layer: number, name: string): string {
  return `model.layers.${layer}.${name}`;
}

/** Whether a name is that of a tensor of a block. */
export function isBlockParameter(name: string): boolean {
  return name.startsWith('model.layers.');
}

/** Returns the name of the norm of what a half of a block reads or returns, if the architecture has it. */
export function normOf(config: LlamaConfig, half: Half, of: 'input' | 'output') {
  const { normsOutputs = false } = familyOf(config);
  if (normsOutputs !== (of === 'output')) return undefined;
  return (of === 'input' ? INPUT_NORMS : OUTPUT_NORMS)[half];
}

/** Names within a block, such as `self_attn.q_proj.weight`, and shapes; biases behind their weights. */
export function blockShapes(config: LlamaConfig): Map<string, number[]> {
  const { hidden_size: hidden, intermediate_size: feedForward, head_dim } = config;
  const queryWidth = config.num_attention_heads * head_dim;
  const keyValueWidth = config.num_key_value_heads * head_dim;
  const { queryKeyValueBias, queryKeyNorm } = familyOf(config);
  const shapes = new Map<string, number[]>();
  const norm = (name: string | undefined, width: number) => name && shapes.set(`${name}.weight`, [width]);
  const matrix = (name: Projection, outputs: number, inputs: number) =>
    shapes.set(`${name}.weight`, [outputs, inputs]);
  const head = (letter: 'q' | 'k' | 'v', width: number) => {
    matrix(`self_attn.${letter}_proj`, width, hidden);
    if (queryKeyValueBias) shapes.set(`self_attn.${letter}_proj.bias`, [width]);
    if (queryKeyNorm && letter !== 'v') {
      norm(`self_attn.${letter}_norm` satisfies HeadNorm, queryKeyNorm === 'head' ? head_dim : width);
    }
  };
  norm(normOf(config, 'self_attn', 'input'), hidden);
  head('q', queryWidth);
  head('k', keyValueWidth);
  head('v', keyValueWidth);
  matrix('self_attn.o_proj', hidden, queryWidth);
  norm(normOf(config, 'self_attn', 'output'), hidden);
  norm(normOf(config, 'mlp', 'input'), hidden);
  matrix('mlp.gate_proj', feedForward, hidden);
  matrix('mlp.up_proj', feedForward, hidden);
  matrix('mlp.down_proj', hidden, feedForward);
  norm(normOf(config, 'mlp', 'output'), hidden);
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

/**
 * Returns how a mesh splits a parameter: matrices over `fsdp`, and heads, feed-forward channels and the vocabulary over
 * `tensor` (Shoeybi et al. 2019, arXiv 1909.08053, §3). Norms and biases are whole on every device.
 */
function parameterSharding(name: string, rank: number): TensorSharding {
  if (rank !== 2) return Array.from({ length: rank }, () => []);
  const readsSplit = /\b(o_proj|down_proj)\.weight$/.test(name);
  return readsSplit ? [['fsdp'], ['tensor']] : [['tensor'], ['fsdp']];
}

/** Splits a model's parameters over the mesh of the backend, if it has one. */
export function shardParameters(parameters: ReadonlyMap<string, tf.Variable>): void {
  for (const [name, parameter] of parameters) shardTensor(parameter, parameterSharding(name, parameter.rank));
}

/** Sizes of a model that a mesh splits, by key of `config.json`, and the axis that must divide them. */
export const meshAxisOf = {
  num_attention_heads: 'tensor',
  num_key_value_heads: 'tensor',
  intermediate_size: 'tensor',
  hidden_size: 'fsdp',
} as const;

/**
 * Returns why a mesh does not divide a model's shape: the key of config.json, its value, and the axis; undefined if it
 * does.
 */
export function findMeshMisfit(
  shape: Partial<Pick<LlamaConfig, keyof typeof meshAxisOf>>,
  mesh: Mesh,
): { key: keyof typeof meshAxisOf; value: number; axis: 'fsdp' | 'tensor' } | undefined {
  for (const [key, axis] of Object.entries(meshAxisOf) as [keyof typeof meshAxisOf, 'fsdp' | 'tensor'][]) {
    const value = shape[key];
    if (value !== undefined && value % (mesh[axis] ?? 1) !== 0) return { key, value, axis };
  }
  return undefined;
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
