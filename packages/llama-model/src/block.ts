/**
 * One transformer block of LLaMA (Touvron et al. 2023, §2.2): pre-norm attention and feed-forward layer, each added to
 * its input. Layers that an architecture lacks are the identity. block-execution.ts executes it: fused, with adapters, with a cache, in pieces of long rows.
 *
 * Shape suffixes as in model.ts.
 */
import { swiGlu } from '@meap/tensor-kernels';
import type * as tf from '@tensorflow/tfjs-core';
import { add } from './linear-layers.ts';
import type { Half, HeadNorm, Projection } from './parameters.ts';

/** The layers of a block, by the Hugging Face names of their weights within it. */
export interface BlockLayers {
  /** The norm of what a half reads: of all architectures but OLMo 2. */
  normInput(x_BTE: tf.Tensor, half: Half): tf.Tensor;
  /** The norm of what a half returns: of OLMo 2. */
  normOutput(y_BTE: tf.Tensor, half: Half): tf.Tensor;
  /** A linear layer with its bias and low-rank adapter, if any. */
  linear(x: tf.Tensor, name: Projection): tf.Tensor;
  /** Dropout of the output of a half of the block. */
  drop(y_BTE: tf.Tensor, half: Half): tf.Tensor;
  /** `[B, T, heads · D]` to `[B, T, heads, D]`. */
  splitHeads(x: tf.Tensor): tf.Tensor4D;
  /** QK-norm of Qwen3 and OLMo 2. */
  normHeads(x_BTHD: tf.Tensor4D, name: HeadNorm): tf.Tensor4D;
  /** Rotary positions (Su et al. 2021); SmolLM3 has layers without. */
  rotate(x_BTHD: tf.Tensor4D): tf.Tensor4D;
  /** Causal grouped-query attention. */
  attend(q_BTHD: tf.Tensor4D, k_BTGD: tf.Tensor4D, v_BTGD: tf.Tensor4D): tf.Tensor4D;
}

/** A block: hidden states `[B, T, E]` to hidden states. */
export function block(x_BTE: tf.Tensor, layers: BlockLayers): tf.Tensor3D {
  const a_BTE = layers.normInput(x_BTE, 'self_attn');
  const [q_BTHD, k_BTGD, v_BTGD] = [query(a_BTE, layers), key(a_BTE, layers), value(a_BTE, layers)];
  const h_BTE = attentionOutput(x_BTE, layers.attend(q_BTHD, k_BTGD, v_BTGD), layers);
  return feedForward(h_BTE, layers);
}

export function query(a_BTE: tf.Tensor, layers: BlockLayers): tf.Tensor4D {
  const q_BTHD = layers.splitHeads(layers.linear(a_BTE, 'self_attn.q_proj'));
  return layers.rotate(layers.normHeads(q_BTHD, 'self_attn.q_norm'));
}

export function key(a_BTE: tf.Tensor, layers: BlockLayers): tf.Tensor4D {
  const k_BTGD = layers.splitHeads(layers.linear(a_BTE, 'self_attn.k_proj'));
  return layers.rotate(layers.normHeads(k_BTGD, 'self_attn.k_norm'));
}

export function value(a_BTE: tf.Tensor, layers: BlockLayers): tf.Tensor4D {
  return layers.splitHeads(layers.linear(a_BTE, 'self_attn.v_proj'));
}

/** Output projection of attention, added to the block's input. */
export function attentionOutput(x_BTE: tf.Tensor, out_BTHD: tf.Tensor, layers: BlockLayers): tf.Tensor3D {
  const [B, T] = out_BTHD.shape;
  const y_BTE = layers.linear(out_BTHD.reshape([B, T!, -1]), 'self_attn.o_proj');
  return add(x_BTE, layers.drop(layers.normOutput(y_BTE, 'self_attn'), 'self_attn')) as tf.Tensor3D;
}

/** Feed-forward layer (SwiGLU, Shazeer 2020), added to its input. */
export function feedForward(h_BTE: tf.Tensor, layers: BlockLayers): tf.Tensor3D {
  const m_BTE = layers.normInput(h_BTE, 'mlp');
  const gate_BTF = layers.linear(m_BTE, 'mlp.gate_proj');
  const up_BTF = layers.linear(m_BTE, 'mlp.up_proj');
  const y_BTE = layers.linear(swiGlu(gate_BTF, up_BTF), 'mlp.down_proj');
  return add(h_BTE, layers.drop(layers.normOutput(y_BTE, 'mlp'), 'mlp')) as tf.Tensor3D;
}
