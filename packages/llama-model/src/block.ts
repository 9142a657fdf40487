/**
 * One transformer block. Shape suffixes as in model.ts.
 */
import {
  attention,
  cachedAttention,
  describeBackend,
  type Keep,
  linear,
  residualAttention,
  residualFeedForward,
  rmsNorm,
  rotaryEmbedding,
  swiGlu,
} from '@meap/tensor-kernels';
import type * as tf from '@tensorflow/tfjs';
import type { LlamaConfig } from './config.ts';
import { type DropoutKey, dropout } from './dropout.ts';
import type { KeyValueCache } from './key-value-cache.ts';
import { adaptedLinear, add, frozenLinear } from './linear-layers.ts';
import { perToken } from './long-rows.ts';
import type { LoraAdapter } from './lora.ts';
import type { ForwardOptions } from './model.ts';
import { blockParameter, type Projection } from './parameters.ts';
import { attentionWindow } from './windows.ts';

/** What a block needs besides its hidden states. */
export interface BlockContext {
  /** Weights, biases and adapters by their names within the block, such as `mlp.up_proj.weight`; segment ids. */
  readonly tensors: ReadonlyMap<string, tf.Tensor>;
  readonly config: LlamaConfig;
  readonly rotary: readonly tf.Tensor[];
  readonly adapter?: LoraAdapter;
  /** Whether the model's own weights get no gradient. */
  readonly frozen: boolean;
  readonly dropout?: DropoutKey;
  /** One a row, or none. */
  readonly caches: readonly KeyValueCache[];
  readonly layer: number;
  readonly onAttention?: ForwardOptions['onAttention'];
  /** Names of the tensors that gradients flow to. */
  readonly learning: { has(name: string): boolean };
  /** Given where rows are long: keeps what is not to be computed again, and the rest goes piece by piece. */
  readonly keep?: Keep;
  /** Where a piece begins in its rows. */
  readonly firstToken?: number;
}

/** One transformer block: what comes before attention and after it looks at one token at a time. */
export function block(x_BTE: tf.Tensor, context: BlockContext): tf.Tensor3D {
  if (isPlain(context)) return plainBlock(x_BTE as tf.Tensor3D, context);
  const out_BTHD = selfAttention(x_BTE, context);
  const [B, T, H, D] = out_BTHD.shape;
  const rows = [x_BTE, out_BTHD.reshape([B, T, H * D])];
  return perToken(afterAttention, rows, ['self_attn.o_proj', 'post_attention_layernorm', 'mlp'], context);
}

/** Whether a block is the weights' own, without adapters, biases, caches, onlookers or pieces: what pre-training runs. */
function isPlain({ tensors, adapter, frozen, caches, onAttention, keep }: BlockContext): boolean {
  const isAlone = !adapter && !frozen && caches.length === 0 && !onAttention && !keep;
  return isAlone && !tensors.has('self_attn.q_proj.bias');
}

/**
 * Whether training all weights of such a model runs blocks of fused ops on the current backend, which hold about half of
 * what single ops hold.
 */
export function fusesBlocks({ model_type }: Pick<LlamaConfig, 'model_type'>): boolean {
  // Qwen2's biases stand between the products that are one op otherwise.
  return describeBackend().name === 'native' && model_type !== 'qwen2';
}

/** The same block of two fused ops, whose gradients are faster and keep less. */
function plainBlock(x_BTE: tf.Tensor3D, { tensors, config, rotary, layer }: BlockContext): tf.Tensor3D {
  const weight = (name: string) => tensors.get(`${name}.weight`) as tf.Tensor2D;
  const normWeight = (name: string) => tensors.get(`${name}.weight`) as tf.Tensor1D;
  const attentionWeights = {
    norm_E: normWeight('input_layernorm'),
    q_OE: weight('self_attn.q_proj'),
    k_OE: weight('self_attn.k_proj'),
    v_OE: weight('self_attn.v_proj'),
    o_EO: weight('self_attn.o_proj'),
  };
  const h_BTE = residualAttention(x_BTE, attentionWeights, {
    epsilon: config.rms_norm_eps,
    cos: rotary[0],
    sin: rotary[1],
    headSize: config.head_dim,
    segmentIds: tensors.get('segmentIds') as tf.Tensor2D | undefined,
    prefixIds: tensors.get('prefixIds') as tf.Tensor2D | undefined,
    window: attentionWindow(config, layer),
  });
  const feedForwardWeights = {
    norm_E: normWeight('post_attention_layernorm'),
    gate_FE: weight('mlp.gate_proj'),
    up_FE: weight('mlp.up_proj'),
    down_EF: weight('mlp.down_proj'),
  };
  return residualFeedForward(h_BTE, feedForwardWeights, config.rms_norm_eps);
}

/** Grouped-query causal attention with rotary positions, through the cache if there is one. */
function selfAttention(x_BTE: tf.Tensor, context: BlockContext): tf.Tensor4D {
  const { num_key_value_heads: G, head_dim: D } = context.config;
  const { caches, layer, tensors, keep } = context;
  const window = attentionWindow(context.config, layer);
  const T = x_BTE.shape[1]!;
  const [q_BTHD, k_BTGD, v_BTGD] = queriesKeysValues(x_BTE, context);

  context.onAttention?.(layer, q_BTHD, k_BTGD);
  const held = caches.map((cache) => cache.reserve(layer, T, [G, D], window));
  if (held.length > 0) return cachedAttention(q_BTHD, k_BTGD, v_BTGD, held, { window });
  return attention(q_BTHD, k_BTGD, v_BTGD, {
    segmentIds: tensors.get('segmentIds') as tf.Tensor2D | undefined,
    prefixIds: tensors.get('prefixIds') as tf.Tensor2D | undefined,
    window,
    keep,
  });
}

/** Heads of the normalised hidden states; queries and keys turned to their positions. */
function queriesKeysValues(x_BTE: tf.Tensor, context: BlockContext): tf.Tensor4D[] {
  const { num_attention_heads: H, num_key_value_heads: G, head_dim: D } = context.config;
  const make =
    (name: Projection, numHeads: number, turned: boolean) => (a_BTE: tf.Tensor, context: BlockContext) => {
      const heads = project(a_BTE, name, context).reshape<tf.Tensor4D>([
        ...a_BTE.shape.slice(0, 2),
        numHeads,
        D,
      ]);
      return turned ? rotaryEmbedding(heads, context.rotary[0], context.rotary[1]) : heads;
    };
  const [q, k, v] = [
    make('self_attn.q_proj', H, true),
    make('self_attn.k_proj', G, true),
    make('self_attn.v_proj', G, false),
  ];
  if (!context.keep) {
    const a_BTE = norm(x_BTE, 'input_layernorm', context);
    return [q, k, v].map((heads) => heads(a_BTE, context));
  }
  // Only one tensor leaves a piece, so each norms for itself.
  return [q, k, v].map((heads, i) =>
    perToken(
      ([x_BTE], piece) => heads(norm(x_BTE, 'input_layernorm', piece), piece),
      [x_BTE],
      ['input_layernorm', `self_attn.${'qkv'[i]}_proj`],
      context,
    ),
  );
}

/** The rest of a block: output projection and feed-forward layer, each with its residual. */
function afterAttention([x_BTE, out_BTE]: tf.Tensor[], context: BlockContext): tf.Tensor3D {
  const h_BTE = add(x_BTE, project(out_BTE, 'self_attn.o_proj', context));
  const m_BTE = norm(h_BTE, 'post_attention_layernorm', context);
  const gate_BTF = project(m_BTE, 'mlp.gate_proj', context);
  const up_BTF = project(m_BTE, 'mlp.up_proj', context);
  return add(h_BTE, project(swiGlu(gate_BTF, up_BTF), 'mlp.down_proj', context)) as tf.Tensor3D;
}

function norm(x_BTE: tf.Tensor, name: string, { tensors, config }: BlockContext): tf.Tensor {
  return rmsNorm(x_BTE, tensors.get(`${name}.weight`) as tf.Tensor1D, config.rms_norm_eps);
}

/** A linear layer, with the bias and the low-rank adapter that it may have. */
function project(x: tf.Tensor, name: Projection, context: BlockContext): tf.Tensor {
  const { tensors, adapter, frozen, dropout: key, layer, firstToken } = context;
  const weight_OI = tensors.get(`${name}.weight`) as tf.Tensor2D;
  const bias_O = tensors.get(`${name}.bias`) as tf.Tensor1D | undefined;
  const a_RI = tensors.get(`${name}.lora_A.weight`) as tf.Tensor2D | undefined;
  const b_OR = tensors.get(`${name}.lora_B.weight`) as tf.Tensor2D | undefined;
  if (adapter && a_RI && b_OR) {
    const { scaling, dropout: rate } = adapter;
    const purpose = blockParameter(layer, name);
    const drop = key && rate > 0 ? (x: tf.Tensor) => dropout(x, rate, key, purpose, firstToken) : undefined;
    return adaptedLinear(x, weight_OI, bias_O, { a_RI, b_OR, scaling, drop });
  }
  if (frozen) return frozenLinear(x, weight_OI, bias_O);
  const y = linear(x, weight_OI);
  return bias_O ? add(y, bias_O) : y;
}
