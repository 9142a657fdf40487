/** What each kernel takes: the one source of the names that ops pass and that every backend's kernels read. */
import type * as tf from '@tensorflow/tfjs-core';

type Inputs<Name extends string, Optional extends string = never> = { [N in Name]: tf.TensorInfo } & {
  [N in Optional]?: tf.TensorInfo;
};
/** As many tensors as the call has. */
type AnyInputs = Record<string, tf.TensorInfo>;

/** `window` 0 is none. */
type AttentionAttributes = Record<'window' | 'scale', number>;

type AdamWAttributes = Record<
  'learningRate' | 'beta1' | 'beta2' | 'epsilon' | 'weightDecay' | 'step' | 'gradientScale',
  number
>;

/** Inputs and attributes by the name of the kernel; ops.ts and optimizer.ts say what each computes, and the shapes. */
export interface KernelSignatures {
  Attention: { inputs: Inputs<'q' | 'k' | 'v', 'segmentIds' | 'prefixIds'>; attrs: AttentionAttributes };
  AttentionGrad: {
    inputs: Inputs<'dy' | 'q' | 'k' | 'v' | 'out' | 'logSumExp', 'segmentIds' | 'prefixIds'>;
    attrs: AttentionAttributes;
  };
  /** Also `keys0`, `values0`, …: the caches, whose first `lengths[b]` rows are filled. */
  CachedAttention: {
    inputs: Inputs<'q' | 'k' | 'v'> & AnyInputs;
    attrs: AttentionAttributes & { lengths: readonly number[] };
  };
  RmsNorm: { inputs: Inputs<'x' | 'weight'>; attrs: { epsilon: number } };
  /** `plus` is added to the gradient of x. */
  RmsNormGrad: { inputs: Inputs<'dy' | 'x' | 'weight', 'plus'>; attrs: { epsilon: number } };
  /** op(a) · op(b) + plus, leading axes folded. */
  Product: { inputs: Inputs<'a' | 'b', 'plus'>; attrs: { transposeA: boolean; transposeB: boolean } };
  RotaryEmbedding: { inputs: Inputs<'x' | 'cos' | 'sin'>; attrs: { inverse: boolean } };
  SwiGlu: { inputs: Inputs<'gate' | 'up'>; attrs: object };
  SwiGluGrad: { inputs: Inputs<'dy' | 'gate' | 'up'>; attrs: object };
  Dropout: { inputs: Inputs<'x'>; attrs: { rowKeys: Int32Array; dropBelow: number } };
  Embedding: { inputs: Inputs<'ids' | 'table'>; attrs: object };
  EmbeddingGrad: { inputs: Inputs<'dy' | 'ids'>; attrs: { numRows: number } };
  /**
   * Losses `[N]`, with `zLoss` above 0 the squares of log Σ exp of the logits `[N]`, then the gradients asked for: of the
   * losses + zLoss · squares.
   */
  LinearCrossEntropy: {
    inputs: Inputs<'x' | 'weight' | 'targets', 'mask'>;
    attrs: { gradients: 'none' | 'x' | 'both'; zLoss: number };
  };
  /** Losses `[N]` and the most probable ids. */
  ScoreTokens: { inputs: Inputs<'x' | 'weight' | 'targets'>; attrs: object };
  /** Changes all but gradient and scale, which replaces `gradientScale` where it is given. */
  AdamW: {
    inputs: Inputs<'parameter' | 'gradient' | 'firstMoment' | 'secondMoment', 'scale'>;
    attrs: AdamWAttributes;
  };
  /** Changes parameter and momentum buffer; `scale` as in AdamW. */
  Muon: {
    inputs: Inputs<'parameter' | 'gradient' | 'momentumBuffer', 'scale'>;
    attrs: Record<'momentum' | 'decay' | 'stepSize' | 'gradientScale', number>;
  };
  GradientScale: {
    inputs: Inputs<'values', 'previous'>;
    attrs: { numLosses: number; numTargets: number; clipNorm: number };
  };
  /** The inputs, computed before any is used: a compiler then does not take a recomputation for what it has computed. */
  OptimizationBarrier: { inputs: AnyInputs; attrs: object };
  /** A float32 tensor held as bfloat16. */
  StoreBfloat16: { inputs: Inputs<'x'>; attrs: object };
  /** A float32 tensor held in 8 or 4 bits. */
  StoreQuantized: { inputs: Inputs<'x'>; attrs: { format: 'int8' | 'nf4' } };
  /** One row for each input. */
  SumsOfSquares: { inputs: AnyInputs; attrs: object };
  // TensorFlow.js's own, of which a backend may take the common cases.
  Add: { inputs: Inputs<'a' | 'b'>; attrs: object };
  BatchMatMul: { inputs: Inputs<'a' | 'b'>; attrs: tf.BatchMatMulAttrs };
  Cast: { inputs: Inputs<'x'>; attrs: tf.CastAttrs };
  Multiply: { inputs: Inputs<'a' | 'b'>; attrs: object };
}

/** The name of a kernel. */
export type KernelName = keyof KernelSignatures;

/** What TensorFlow.js calls a kernel with. */
export interface KernelCall<Backend, Name extends KernelName> {
  backend: Backend;
  inputs: KernelSignatures[Name]['inputs'];
  attrs: KernelSignatures[Name]['attrs'];
}

/** A backend's kernels by name. */
export type Kernels<Backend, Result = tf.TensorInfo | tf.TensorInfo[]> = {
  readonly [Name in KernelName]?: (call: KernelCall<Backend, Name>) => Result;
};
