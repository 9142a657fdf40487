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
  const { adapter, frozen, caches, onAttention, keep } = context;
  // Fused ops, whose gradients are faster and keep less, where the weights are alone and rows not worked through in pieces.
  const fuses = !adapter && !frozen && !keep;
  if (fuses && caches.length === 0 && !onAttention) {
    return fusedFeedForward(fusedAttention(x_BTE as tf.Tensor3D, context), context);
  }
  const out_BTHD = selfAttention(x_BTE, context);
  const [B, T, H, D] = out_BTHD.shape;
  const rows = [x_BTE, out_BTHD.reshape([B, T, H * D])];
  if (fuses) return fusedFeedForward(afterAttention(rows, context), context);
  const toEnd = (rows: tf.Tensor[], context: BlockContext) =>
    feedForward(afterAttention(rows, context), context);
  return perToken(toEnd, rows, ['self_attn.o_proj', 'post_attention_layernorm', 'mlp'], context);
}

/**
 * Whether training all weights of a model runs blocks of fused ops on the current backend, which hold about half of
 * what single ops hold.
 */
export function fusesBlocks(): boolean {
  return describeBackend().name === 'native';
}

function fusedAttention(x_BTE: tf.Tensor3D, { tensors, config, rotary, layer }: BlockContext): tf.Tensor3D {
  const matrix = (name: string) => tensors.get(`self_attn.${name}_proj.weight`) as tf.Tensor2D;
  const bias = (name: string) => tensors.get(`self_attn.${name}_proj.bias`) as tf.Tensor1D | undefined;
  const [q, k, v] = ['q', 'k', 'v'].map(bias);
  const weights = {
    norm_E: tensors.get('input_layernorm.weight') as tf.Tensor1D,
    q_OE: matrix('q'),
    k_OE: matrix('k'),
    v_OE: matrix('v'),
    o_EO: matrix('o'),
    biases: q && k && v && { q, k, v },
  };
  return residualAttention(x_BTE, weights, {
    epsilon: config.rms_norm_eps,
    cos: rotary[0],
    sin: rotary[1],
    headSize: config.head_dim,
    segmentIds: tensors.get('segmentIds') as tf.Tensor2D | undefined,
    prefixIds: tensors.get('prefixIds') as tf.Tensor2D | undefined,
    window: attentionWindow(config, layer),
  });
}

function fusedFeedForward(h_BTE: tf.Tensor3D, { tensors, config }: BlockContext): tf.Tensor3D {
  const matrix = (name: string) => tensors.get(`mlp.${name}_proj.weight`) as tf.Tensor2D;
  const weights = {
    norm_E: tensors.get('post_attention_layernorm.weight') as tf.Tensor1D,
    gate_FE: matrix('gate'),
    up_FE: matrix('up'),
    down_EF: matrix('down'),
  };
  return residualFeedForward(h_BTE, weights, config.rms_norm_eps);
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

/** Output projection of attention with its residual. */
function afterAttention([x_BTE, out_BTE]: tf.Tensor[], context: BlockContext): tf.Tensor3D {
  return add(x_BTE, project(out_BTE, 'self_attn.o_proj', context)) as tf.Tensor3D;
}

/** Feed-forward layer with its residual. */
function feedForward(h_BTE: tf.Tensor3D, context: BlockContext): tf.Tensor3D {
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
