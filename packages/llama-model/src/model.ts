/**
 * LLaMA, the whole forward pass from top to bottom. What to know before reading:
 *
 * - Parameters are `tf.Variable`s in a flat map under their Hugging Face names; the code below is the mapping.
 * - Pre-norm RMSNorm, rotary positions in the half-split layout, grouped-query attention, SwiGLU, no biases, the
 *   output head untied unless the config ties it.
 * - `loss` returns a sum and a token count, never a mean: rows with different masks can then be accumulated.
 * - Logits of a whole batch are never formed in training: the head is fused with the cross-entropy.
 * - With `recompute`, a block keeps only its input for the backward pass and runs its forward again.
 * - Weights and activations are float32; cos and sin tables come from the host.
 *
 * Shape suffixes: B batch, T tokens in this call, S tokens seen (T plus the cache), E hidden size, F feed-forward
 * size, H query heads, G key/value heads, D head size, N = B·T, V vocabulary. `q_BTHD` is [B, T, H, D].
 */
import {
  attention,
  embedding,
  linear,
  linearCrossEntropy,
  recompute,
  rmsNorm,
  rotaryEmbedding,
  swiGlu,
} from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import type { LlamaConfig } from './config.ts';
import { CheckpointError, ContextLengthError, TokenInputError } from './errors.ts';
import { initialValues } from './initialization.ts';
import type { KeyValueCache } from './key-value-cache.ts';
import { BLOCK_WEIGHTS, blockParameter, EMBEDDING, FINAL_NORM, HEAD, parameterShapes } from './parameters.ts';
import { type RotaryTables, rotaryTables } from './rotary-tables.ts';

/** What a forward pass may be told besides the ids. */
export interface ForwardOptions {
  /** int32 `[B, T]`, each token's position; by default 0, 1, 2, … after what the cache holds. */
  positions?: tf.Tensor2D;
  /** int32 `[B, T]`; a token sees only tokens of its own segment. Give `positions` too where they restart. */
  segmentIds?: tf.Tensor2D;
  /** Read from and added to; not together with `segmentIds`, and not differentiable. */
  cache?: KeyValueCache;
  /** Keep only block inputs for the backward pass: less memory for one more forward. Same gradients. */
  recompute?: boolean;
}

/** A loss that can be accumulated over micro-batches: divide the total sum by the total count. */
export interface LossSum {
  /** Sum of the negative log-likelihoods, in nats. */
  sum: tf.Scalar;
  /** Number of tokens in the sum. */
  count: number;
}

/** Makes a model with fresh weights, a function of the seed and the config alone. */
export function createLlama(config: LlamaConfig, { seed }: { seed: number }): Llama {
  const parameters = new Map<string, tf.Variable>();
  for (const [name, shape] of parameterShapes(config)) {
    parameters.set(name, variable(initialValues(config, name, seed), shape));
  }
  return new Llama(config, parameters);
}

/** A LLaMA on the current TensorFlow.js backend. */
export class Llama {
  readonly config: LlamaConfig;
  /** Trainable weights by Hugging Face name, in the order of the forward pass. */
  readonly parameters: ReadonlyMap<string, tf.Variable>;
  // By number of positions: with the frozen config, all that a table depends on.
  readonly #tables = new Map<number, RotaryTables>();

  /**
   * @param parameters one variable for each of `parameterShapes(config)`; the model owns them from here on
   * @throws CheckpointError when a parameter is missing, unexpected or of another shape
   */
  constructor(config: LlamaConfig, parameters: ReadonlyMap<string, tf.Variable>) {
    requireParameters(config, parameters);
    this.config = config;
    this.parameters = parameters;
  }

  /**
   * Final hidden states, normalised and ready for the head.
   *
   * @param ids_BT int32 `[B, T]`
   * @returns float32 `[B, T, E]`
   * @throws TokenInputError for an id outside the vocabulary, ContextLengthError for a position beyond the context
   */
  hidden(ids_BT: tf.Tensor2D, options: ForwardOptions = {}): tf.Tensor3D {
    const { cache } = options;
    const { num_hidden_layers: numLayers, rms_norm_eps: epsilon } = this.config;
    if (cache && options.segmentIds)
      throw new TokenInputError('hidden: a cache and segmentIds exclude each other');
    requireIds('ids', ids_BT, this.config.vocab_size);

    return tf.tidy(() => {
      const constants = [
        ...this.#rotary(ids_BT, options),
        ...(options.segmentIds ? [options.segmentIds] : []),
      ];
      let x_BTE = embedding(ids_BT, this.#matrix(EMBEDDING)) as tf.Tensor3D;
      for (let layer = 0; layer < numLayers; layer++) {
        const weights = BLOCK_WEIGHTS.map((weight) => this.#weight(blockParameter(layer, weight)));
        const run = (inputs: tf.Tensor[], [cos, sin, segmentIds]: tf.Tensor[]) =>
          block(inputs, {
            config: this.config,
            rotary: [cos, sin],
            segmentIds: segmentIds as tf.Tensor2D | undefined,
            cache,
            layer,
          });
        const inputs = [x_BTE, ...weights];
        x_BTE = options.recompute ? recompute(run, inputs, constants) : run(inputs, constants);
      }
      cache?.commit(ids_BT.shape[1]);
      return rmsNorm(x_BTE, this.#weight(FINAL_NORM) as tf.Tensor1D, epsilon);
    });
  }

  /** Applies the output head: hidden states `[..., E]` to logits `[..., V]`. */
  unembed(hidden: tf.Tensor): tf.Tensor {
    return linear(hidden, this.#head());
  }

  /** Logits `[B, T, V]` of ids `[B, T]`; in training use `loss`, which never holds them. */
  logits(ids_BT: tf.Tensor2D, options: ForwardOptions = {}): tf.Tensor3D {
    return tf.tidy(() => this.unembed(this.hidden(ids_BT, options)) as tf.Tensor3D);
  }

  /**
   * Sum of the negative log-likelihoods of the targets, and how many there are.
   *
   * Call it inside `tf.variableGrads` (or any gradient function) to train.
   *
   * @param inputs_BT int32 `[B, T]`, possibly masked
   * @param targets_BT int32 `[B, T]`, the token that follows each input
   * @param mask_BT `[B, T]` of 1 where the loss counts and 0 elsewhere; everywhere by default
   */
  loss(
    inputs_BT: tf.Tensor2D,
    targets_BT: tf.Tensor2D,
    mask_BT?: tf.Tensor2D,
    options: ForwardOptions = {},
  ): LossSum {
    requireIds('targets', targets_BT, this.config.vocab_size);
    requireSameShape('targets', targets_BT, inputs_BT);
    const count = mask_BT ? countMask(mask_BT, inputs_BT) : targets_BT.size;
    const sum = tf.tidy(() => {
      const x_NE = this.hidden(inputs_BT, options).reshape([-1, this.config.hidden_size]) as tf.Tensor2D;
      return linearCrossEntropy(x_NE, this.#head(), targets_BT.as1D(), mask_BT?.toFloat().as1D());
    });
    return { sum, count };
  }

  /** Frees the parameters and tables. */
  dispose(): void {
    tf.dispose([...this.parameters.values()]);
    for (const { cos, sin } of this.#tables.values()) tf.dispose([cos, sin]);
    this.#tables.clear();
  }

  #weight(name: string): tf.Variable {
    return this.parameters.get(name)!;
  }

  #matrix(name: string): tf.Tensor2D {
    return this.#weight(name) as tf.Tensor as tf.Tensor2D;
  }

  #head(): tf.Tensor2D {
    return this.#matrix(this.config.tie_word_embeddings ? EMBEDDING : HEAD);
  }

  /** cos and sin of the tokens' positions: [T, D/2], or [B, T, D/2] where positions are given. */
  #rotary(ids_BT: tf.Tensor2D, { positions, cache }: ForwardOptions): [cos: tf.Tensor, sin: tf.Tensor] {
    const { max_position_embeddings: limit, head_dim, rope_theta } = this.config;
    const start = cache?.length ?? 0;
    let end = start + ids_BT.shape[1];
    if (positions) {
      requireSameShape('positions', positions, ids_BT);
      end = 0;
      for (const position of positions.dataSync()) {
        if (position < 0) throw new TokenInputError(`positions: negative, got ${position}`);
        end = Math.max(end, position + 1);
      }
    }
    if (end > limit) {
      throw new ContextLengthError(
        `position ${end - 1} is beyond the context, max_position_embeddings is ${limit}; use shorter rows`,
      );
    }
    const rows = Math.min(limit, Math.max(256, 2 ** Math.ceil(Math.log2(end))));
    let tables = this.#tables.get(rows);
    if (!tables) {
      tables = rotaryTables(rows, head_dim, rope_theta);
      tf.keep(tables.cos);
      tf.keep(tables.sin);
      this.#tables.set(rows, tables);
    }
    const { cos, sin } = tables;
    if (positions) return [tf.gather(cos, positions), tf.gather(sin, positions)];
    return [cos.slice(start, end - start), sin.slice(start, end - start)];
  }
}

/** What a block needs besides the tensors that gradients flow to. */
interface BlockContext {
  readonly config: LlamaConfig;
  readonly rotary: readonly tf.Tensor[];
  readonly segmentIds?: tf.Tensor2D;
  readonly cache?: KeyValueCache;
  readonly layer: number;
}

/** One transformer block; inputs are its hidden states and weights in the order of `BLOCK_WEIGHTS`. */
function block(inputs: tf.Tensor[], context: BlockContext): tf.Tensor3D {
  const [x_BTE, attentionNorm_E, wq, wk, wv, wo, mlpNorm_E, wGate_FE, wUp_FE, wDown_EF] = inputs;
  const { rms_norm_eps: epsilon } = context.config;

  const a_BTE = rmsNorm(x_BTE, attentionNorm_E as tf.Tensor1D, epsilon);
  const h_BTE = tf.add(x_BTE, selfAttention(a_BTE, [wq, wk, wv, wo] as tf.Tensor2D[], context));

  const m_BTE = rmsNorm(h_BTE, mlpNorm_E as tf.Tensor1D, epsilon);
  const gate_BTF = linear(m_BTE, wGate_FE as tf.Tensor2D);
  const up_BTF = linear(m_BTE, wUp_FE as tf.Tensor2D);
  return tf.add(h_BTE, linear(swiGlu(gate_BTF, up_BTF), wDown_EF as tf.Tensor2D));
}

/** Grouped-query causal attention with rotary positions, through the cache if there is one. */
function selfAttention(x_BTE: tf.Tensor, [wq, wk, wv, wo]: tf.Tensor2D[], context: BlockContext): tf.Tensor {
  const { num_attention_heads: H, num_key_value_heads: G, head_dim: D } = context.config;
  const { cache, layer, segmentIds } = context;
  const [cos, sin] = context.rotary;
  const [B, T] = x_BTE.shape;

  const q_BTHD = rotaryEmbedding(linear(x_BTE, wq).reshape([B, T, H, D]), cos, sin);
  const k_BTGD = rotaryEmbedding(linear(x_BTE, wk).reshape([B, T, G, D]), cos, sin);
  const v_BTGD = linear(x_BTE, wv).reshape([B, T, G, D]) as tf.Tensor4D;

  const { k_BSGD, v_BSGD } = cache?.extend(layer, k_BTGD, v_BTGD) ?? { k_BSGD: k_BTGD, v_BSGD: v_BTGD };
  const out_BTHD = attention(q_BTHD, k_BSGD, v_BSGD, { segmentIds });
  return linear(out_BTHD.reshape([B, T, H * D]), wo);
}

/** A variable that owns its values; unnamed, since TensorFlow.js allows one variable of a name in a process. */
export function variable(values: Float32Array, shape: number[]): tf.Variable {
  const initial = tf.tensor(values, shape, 'float32');
  const result = tf.variable(initial);
  initial.dispose();
  return result;
}

function requireParameters(config: LlamaConfig, parameters: ReadonlyMap<string, tf.Variable>): void {
  const shapes = parameterShapes(config);
  const missing = [...shapes.keys()].filter((name) => !parameters.has(name));
  if (missing.length > 0) {
    throw new CheckpointError(`parameters missing from the model: ${missing.join(', ')}`, missing);
  }
  for (const [name, { shape }] of parameters) {
    const expected = shapes.get(name);
    if (!expected) throw new CheckpointError(`${name}: not a parameter of this model`, [name]);
    if (shape.join() !== expected.join()) {
      throw new CheckpointError(`${name}: wrong shape, got [${shape}], expected [${expected}]`, [name]);
    }
  }
}

function requireIds(what: string, ids: tf.Tensor, vocabularySize: number): void {
  if (ids.dtype !== 'int32' || ids.rank !== 2) {
    throw new TokenInputError(`${what}: got ${ids.dtype} [${ids.shape}], expected int32 [batch, tokens]`);
  }
  // Batches come from the host, so this reads what is still there and waits for nothing.
  const values = ids.dataSync();
  for (let i = 0; i < values.length; i++) {
    if (values[i] >= 0 && values[i] < vocabularySize) continue;
    const [row, column] = [Math.floor(i / ids.shape[1]!), i % ids.shape[1]!];
    throw new TokenInputError(
      `${what}: id ${values[i]} at row ${row}, position ${column} is outside the vocabulary of ${vocabularySize}; ` +
        'tokenize with the model’s tokenizer or enlarge vocab_size',
    );
  }
}

function requireSameShape(what: string, tensor: tf.Tensor, ids: tf.Tensor): void {
  if (tensor.shape.join() !== ids.shape.join()) {
    throw new TokenInputError(
      `${what}: got shape [${tensor.shape}], expected that of the ids, [${ids.shape}]`,
    );
  }
}

function countMask(mask: tf.Tensor2D, ids: tf.Tensor2D): number {
  requireSameShape('mask', mask, ids);
  let count = 0;
  for (const value of mask.dataSync()) {
    if (value !== 0 && value !== 1) throw new TokenInputError(`mask: got ${value}, expected 0 or 1`);
    count += value;
  }
  return count;
}
