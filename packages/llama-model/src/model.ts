/**
 * LLaMA, Mistral, Qwen, SmolLM and OLMo 2, the forward pass from ids to loss; block.ts is one block. Overview:
 *
 * - Parameters are `tf.Variable`s in a flat map under their Hugging Face names; this file and block-execution.ts are the mapping.
 * - Pre-norm RMSNorm, rotary positions in the half-split layout, grouped-query attention, SwiGLU, the output head
 *   untied unless the config ties it. Mistral and Qwen2 add windows of attention, Qwen2 biases on q, k and v, Qwen3
 *   QK-norm, SmolLM3 layers without RoPE; OLMo 2 norms outputs instead of inputs.
 * - With an adapter (LoRA) only its low-rank matrices are trained, and the rows of the embedding table or whole tables that
 *   it has; frozen weights get no gradient.
 * - `loss` returns a sum and a token count, not a mean, so that rows with different masks can be accumulated.
 * - Training never forms the logits of a whole batch: the head is fused with the cross-entropy.
 * - With `recompute`, a block keeps only its input for the backward pass and runs again there. For long rows it also keeps
 *   the output of attention, the most expensive part to recompute, and processes the rest in pieces.
 * - Dropout, off by default, is that of GPT-2: of the embeddings and of what a block adds to its input. No mask is stored:
 *   the backward pass draws it again from its key.
 * - Weights and activations are float32; the host computes cos and sin tables.
 *
 * Shape suffixes: B batch, T tokens in this call, E hidden size, F feed-forward size, H query heads, G key/value
 * heads, D head size, N = B·T, V vocabulary. `q_BTHD` is [B, T, H, D].
 */
import {
  embedding,
  linear,
  linearCrossEntropy,
  linearCrossEntropyWithZLoss,
  rmsNorm,
  scoreTokens,
  type TokenScores,
} from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';
import { type BlockTensors, runBlock } from './block-execution.ts';
import type { LlamaConfig } from './config.ts';
import { dropoutAt } from './dropout.ts';
import { AdapterError } from './errors.ts';
import { initialValues } from './initialization.ts';
import {
  countMask,
  type ForwardOptions,
  requireCaches,
  requireDropout,
  requireIds,
  requireNoZLoss,
  requireParameters,
  requireSameShape,
  requireTokens,
} from './input-checks.ts';
import type { LoraAdapter } from './lora-adapter.ts';
import {
  blockParameter,
  blockShapes,
  EMBEDDING,
  FINAL_NORM,
  HEAD,
  MAGNITUDE,
  parameterShapes,
  ROW_SQUARES,
  shardParameters,
  variable,
} from './parameters.ts';
import { RotaryAngles } from './rotary-tables.ts';
import { correctLogits, replaceRows, type TokenRows, tiedCrossEntropy, withTokenRows } from './token-rows.ts';

/** A loss that can be accumulated over micro-batches: divide the total sum by the total count. */
export interface LossSum {
  /** Sum of the negative log-likelihoods, in nats, plus the z-loss if there is one. */
  sum: tf.Scalar;
  /** The z-loss in `sum`, if the option has a factor. */
  zLoss?: tf.Scalar;
  /** Number of tokens in the sum. */
  count: number;
}

/** Creates a model with initial weights, a function of the seed and the config alone. */
export function createLlama(config: LlamaConfig, { seed }: { seed: number }): Llama {
  const parameters = new Map<string, tf.Variable>();
  for (const [name, shape] of parameterShapes(config)) {
    parameters.set(name, variable(initialValues(config, name, seed), shape));
  }
  return new Llama(config, parameters);
}

/** A LLaMA, Mistral, Qwen, SmolLM or OLMo 2 on the current TensorFlow.js backend. */
export class Llama {
  readonly config: LlamaConfig;
  /** The model's weights by Hugging Face name, in the order of the forward pass; frozen with an adapter. */
  readonly parameters: ReadonlyMap<string, tf.Variable>;
  #adapter: LoraAdapter | undefined;
  /** Of the tensors of a block, such as `self_attn.q_proj.weight`. */
  readonly #blockNames: readonly string[];
  readonly #angles: RotaryAngles;
  /** Whether another model owns the parameters. */
  #borrows = false;

  /**
   * @param parameters one variable for each of `parameterShapes(config)`, which the model then owns
   * @throws CheckpointError if a parameter is missing, unexpected or of another shape
   */
  constructor(config: LlamaConfig, parameters: ReadonlyMap<string, tf.Variable>) {
    requireParameters(config, parameters);
    this.config = config;
    this.#angles = new RotaryAngles(config);
    this.#blockNames = [...blockShapes(config).keys()];
    this.parameters = parameters;
    shardParameters(parameters);
  }

  /** The low-rank adapter, if there is one. */
  get adapter(): LoraAdapter | undefined {
    return this.#adapter;
  }

  /** The parameters to train: those of the adapter if there is one, else the model's. */
  get trainable(): ReadonlyMap<string, tf.Variable> {
    return this.#adapter?.parameters ?? this.parameters;
  }

  /**
   * Returns a model on the same weights, for another adapter: several adapters then share one base in memory. This model
   * keeps the weights, and must outlive it.
   */
  share(): Llama {
    const model = new Llama(this.config, this.parameters);
    model.#borrows = true;
    return model;
  }

  /**
   * Attaches an adapter, which the model then owns, and freezes the model's weights.
   *
   * @throws AdapterError if there is one already
   */
  attach(adapter: LoraAdapter): void {
    if (this.#adapter) throw new AdapterError('the model has an adapter already, merge and remove it first');
    this.#adapter = adapter;
    for (const parameter of this.parameters.values()) parameter.trainable = false;
  }

  /** Detaches and returns the adapter, if there is one, and makes the model's weights trainable. */
  detach(): LoraAdapter | undefined {
    const adapter = this.#adapter;
    this.#adapter = undefined;
    for (const parameter of this.parameters.values()) parameter.trainable = true;
    return adapter;
  }

  /**
   * Final hidden states, normalised and ready for the head.
   *
   * @param ids_BT int32 `[B, T]`
   * @returns float32 `[B, T, E]`
   * @throws TokenInputError for an id outside the vocabulary, ContextLengthError for a position beyond the context
   */
  hidden(ids_BT: tf.Tensor, options: ForwardOptions = {}): tf.Tensor3D {
    const { segmentIds, prefixIds } = options;
    const { num_hidden_layers: numLayers, rms_norm_eps: epsilon } = this.config;
    requireIds('ids', ids_BT, this.config.vocab_size);
    if (segmentIds) requireSameShape('segmentIds', segmentIds, ids_BT);
    if (prefixIds) requireSameShape('prefixIds', prefixIds, ids_BT);
    const caches = requireCaches(ids_BT, options);
    const adapter = this.#unmerged();
    requireDropout(adapter, options);

    return tf.tidy(() => {
      const [cos, sin] = this.#angles.of(ids_BT, options.positions, caches);
      let x_BTE = embedding(ids_BT, this.#learned(EMBEDDING) as tf.Tensor2D) as tf.Tensor3D;
      if (adapter?.tokenRows) x_BTE = withTokenRows(x_BTE, ids_BT, adapter.tokenRows);
      const drop = dropoutAt(options.dropout || undefined, EMBEDDING);
      if (drop) x_BTE = drop(x_BTE) as tf.Tensor3D;
      for (let layer = 0; layer < numLayers; layer++) {
        const tensors = this.#blockTensors(layer, adapter, { cos, sin, segmentIds, prefixIds });
        const settings = {
          config: this.config,
          layer,
          adapter,
          frozen: this.#adapter !== undefined,
          dropout: options.dropout || undefined,
          caches,
          onAttention: options.onAttention,
        };
        x_BTE = runBlock(x_BTE, tensors, settings, options.recompute ?? false);
      }
      for (const cache of caches) cache.commit(ids_BT.shape[1]);
      return rmsNorm(x_BTE, this.#learned(FINAL_NORM) as tf.Tensor1D, epsilon);
    });
  }

  /** Applies the output head: hidden states `[..., E]` to logits `[..., V]`. */
  unembed(hidden: tf.Tensor): tf.Tensor {
    const [head, rows] = [this.#head(), this.#headRows()];
    if (!rows) return linear(hidden, head);
    return tf.tidy(() => correctLogits(linear(hidden, head), hidden, head, rows));
  }

  /**
   * Log-probabilities of targets after hidden states `[N, E]`, and the most probable tokens, without holding logits.
   *
   * @param targets_N int32 `[N]`
   */
  logProbabilities(hidden_NE: tf.Tensor, targets_N: tf.Tensor): TokenScores {
    const [head, rows] = [this.#head(), this.#headRows()];
    return tf.tidy(() => ({ ...scoreTokens(hidden_NE, rows ? replaceRows(head, rows) : head, targets_N) }));
  }

  /** Logits `[B, T, V]` of ids `[B, T]`; for training use `loss`, which does not hold them. */
  logits(ids_BT: tf.Tensor, options: ForwardOptions = {}): tf.Tensor3D {
    return tf.tidy(() => this.unembed(this.hidden(ids_BT, options)) as tf.Tensor3D);
  }

  /**
   * Sum of the negative log-likelihoods of the targets, and their number. With the option `zLoss` the sum contains the z-loss,
   * which is also returned apart.
   *
   * Call it inside `tf.variableGrads` (or any gradient function) to train.
   *
   * @param inputs_BT int32 `[B, T]`, possibly masked
   * @param targets_BT int32 `[B, T]`, the token that follows each input
   * @param mask_BT `[B, T]` of 1 where the loss counts and 0 elsewhere; everywhere by default
   */
  loss(
    inputs_BT: tf.Tensor,
    targets_BT: tf.Tensor,
    mask_BT?: tf.Tensor,
    options: ForwardOptions = {},
  ): LossSum {
    requireTokens('inputs', inputs_BT);
    requireIds('targets', targets_BT, this.config.vocab_size);
    requireSameShape('targets', targets_BT, inputs_BT);
    const count = mask_BT ? countMask(mask_BT, inputs_BT) : targets_BT.size;
    return tf.tidy(() => {
      const x_NE = this.hidden(inputs_BT, options).reshape([-1, this.config.hidden_size]) as tf.Tensor2D;
      const mask_N = mask_BT?.toFloat().as1D();
      const [head, rows, targets_N] = [this.#head(), this.#headRows(), targets_BT.as1D()];
      const { zLoss = 0 } = options;
      if (rows) {
        requireNoZLoss(zLoss);
        return { sum: tiedCrossEntropy(x_NE, head, rows, targets_N, mask_N), count };
      }
      const frozenWeight = this.adapter !== undefined && head === this.#weight(this.#headName());
      if (zLoss === 0)
        return { sum: linearCrossEntropy(x_NE, head, targets_N, mask_N, { frozenWeight }), count };
      return {
        ...linearCrossEntropyWithZLoss(x_NE, head, targets_N, mask_N, { frozenWeight, zLoss }),
        count,
      };
    });
  }

  /** Frees the parameters, unless they are those of a model that shares them, the adapter and the rotary tables. */
  dispose(): void {
    if (!this.#borrows) tf.dispose([...this.parameters.values()]);
    this.#adapter?.dispose();
    this.#angles.dispose();
  }

  /** A block's tensors by their names within the block; `others` are not the model's. */
  #blockTensors(
    layer: number,
    adapter: LoraAdapter | undefined,
    others: Record<string, tf.Tensor | undefined>,
  ): BlockTensors {
    const own = new Map<string, tf.Tensor>();
    const adapters = new Map<string, tf.Tensor>();
    for (const name of this.#blockNames) {
      const weight = blockParameter(layer, name);
      // A norm that the adapter trains replaces the model's.
      if (!adapter?.parameters.has(weight)) own.set(name, this.#weight(weight));
      for (const part of ['weight', 'lora_A.weight', 'lora_B.weight', MAGNITUDE]) {
        const short = name.replace(/weight$/, part);
        const tensor = adapter?.parameters.get(blockParameter(layer, short));
        if (tensor) adapters.set(short, tensor);
      }
      const squares_O = adapter?.rowSquares.get(weight);
      if (squares_O) own.set(name.replace(/weight$/, ROW_SQUARES), squares_O);
    }
    const [learning, fixed] = this.#adapter ? [adapters, own] : [own, adapters];
    for (const [name, tensor] of Object.entries(others)) if (tensor) fixed.set(name, tensor);
    return { learning, fixed };
  }

  #weight(name: string): tf.Variable {
    return this.parameters.get(name)!;
  }

  /** A table or norm, that of the adapter if it trains all of it. */
  #learned(name: string): tf.Tensor {
    return this.#unmerged()?.parameters.get(name) ?? this.#weight(name);
  }

  #head(): tf.Tensor2D {
    return this.#learned(this.#headName()) as tf.Tensor2D;
  }

  #headName(): string {
    return this.config.tie_word_embeddings ? EMBEDDING : HEAD;
  }

  /** Trained rows of the head: as in PEFT, those of the embeddings if the head is tied to them. */
  #headRows(): TokenRows | undefined {
    return this.config.tie_word_embeddings ? this.#unmerged()?.tokenRows : undefined;
  }

  /** The adapter, unless it is merged into the weights. */
  #unmerged(): LoraAdapter | undefined {
    return this.#adapter?.merged ? undefined : this.#adapter;
  }
}
