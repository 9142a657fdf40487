/**
 * Executes a block; block.ts defines what it computes. Three ways:
 *
 * - op by op: with an adapter, frozen weights, or a backend without fused ops;
 * - fused: each half is one op with one gradient, which is faster and keeps half the memory;
 * - in pieces: with `recompute` and rows longer than PIECE_TOKENS, everything but attention runs piece by piece.
 *
 * Shape suffixes as in model.ts.
 */
import {
  attention,
  cachedAttention,
  describeBackend,
  type Keep,
  linear,
  recompute,
  recomputeInPieces,
  residualAttention,
  residualFeedForward,
  rmsNorm,
  rotaryEmbedding,
} from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';
import { attentionOutput, type BlockLayers, block, feedForward, key, query, value } from './block.ts';
import type { LlamaConfig } from './config.ts';
import { type DropoutOptions, dropout, dropoutAt, PIECE_TOKENS } from './dropout.ts';
import { familyOf } from './families.ts';
import type { KeyValueCache } from './key-value-cache.ts';
import { adaptedLinear, add, doraLinear, frozenLinear } from './linear-layers.ts';
import type { LoraAdapter } from './lora-adapter.ts';
import {
  blockParameter,
  type Half,
  type HeadNorm,
  MAGNITUDE,
  normOf,
  type Projection,
  ROW_SQUARES,
} from './parameters.ts';
import { rotatesLayer } from './rope-layers.ts';
import { attentionWindow } from './windows.ts';

/** Tensors of a block by their names within it. */
export interface BlockTensors {
  /** Tensors that gradients flow to. */
  readonly learning: ReadonlyMap<string, tf.Tensor>;
  /** Frozen weights, `cos` and `sin`, and optionally `segmentIds` and `prefixIds`. */
  readonly fixed: ReadonlyMap<string, tf.Tensor>;
}

/** Arguments of a block besides tensors. */
export interface BlockSettings {
  readonly config: LlamaConfig;
  readonly layer: number;
  readonly adapter?: LoraAdapter;
  /** Whether the model's weights are frozen. */
  readonly frozen: boolean;
  readonly dropout?: DropoutOptions;
  /** One for each row, or none. */
  readonly caches: readonly KeyValueCache[];
  readonly onAttention?: (layer: number, q_BTHD: tf.Tensor4D, k_BTGD: tf.Tensor4D) => void;
}

/**
 * Runs a block; frees all tensors but those that the caches and the backward pass keep.
 *
 * @param recomputes whether to keep only the block's input and run the block again in the backward pass
 */
export function runBlock(
  x_BTE: tf.Tensor3D,
  { learning, fixed }: BlockTensors,
  settings: BlockSettings,
  recomputes: boolean,
): tf.Tensor3D {
  const names = [...learning.keys(), ...fixed.keys()];
  const run = ([x_BTE, ...first]: tf.Tensor[], second: tf.Tensor[], keep?: Keep): tf.Tensor3D => {
    const tensors = byName(names, [...first, ...second]);
    if (keep && x_BTE.shape[1]! > PIECE_TOKENS)
      return blockInPieces(x_BTE, tensors, settings, learning, keep);
    const layers = new NamedLayers(tensors, settings);
    const isFused = !settings.adapter && !settings.frozen && fusesBlocks(settings.config);
    return isFused ? fusedBlock(x_BTE as tf.Tensor3D, tensors, settings, layers) : block(x_BTE, layers);
  };
  const [inputs, constants] = [[x_BTE, ...learning.values()], [...fixed.values()]];
  return recomputes ? recompute(run, inputs, constants) : tf.tidy(() => run(inputs, constants));
}

/**
 * Returns whether training all weights of a model uses fused ops on the current backend, as for all but OLMo 2 on `native` and `xla`, which take about half the memory
 * of single ops.
 */
export function fusesBlocks(config: Pick<LlamaConfig, 'model_type'>): boolean {
  return ['native', 'xla'].includes(describeBackend().name) && !familyOf(config).normsOutputs;
}

/** Pairs names with tensors, in order. */
function byName(names: readonly string[], tensors: readonly tf.Tensor[]): Map<string, tf.Tensor> {
  return new Map(names.map((name, i) => [name, tensors[i]]));
}

/** The layers of a block, which look up its tensors by name. */
class NamedLayers implements BlockLayers {
  readonly #tensors: ReadonlyMap<string, tf.Tensor>;
  readonly #settings: BlockSettings;
  readonly #keep?: Keep;
  readonly #firstToken?: number;

  /** @param options `firstToken`: the first token of a piece; `keep`: keeps the result of attention */
  constructor(
    tensors: ReadonlyMap<string, tf.Tensor>,
    settings: BlockSettings,
    options: { keep?: Keep; firstToken?: number } = {},
  ) {
    this.#tensors = tensors;
    this.#settings = settings;
    this.#keep = options.keep;
    this.#firstToken = options.firstToken;
  }

  normInput(x_BTE: tf.Tensor, half: Half): tf.Tensor {
    return this.#norm(x_BTE, normOf(this.#settings.config, half, 'input'));
  }

  normOutput(y_BTE: tf.Tensor, half: Half): tf.Tensor {
    return this.#norm(y_BTE, normOf(this.#settings.config, half, 'output'));
  }

  normHeads(x_BTHD: tf.Tensor4D, name: HeadNorm): tf.Tensor4D {
    const weight = this.#tensors.get(`${name}.weight`);
    if (!weight) return x_BTHD;
    // As wide as the weight: a head, or all of them.
    const [B, T] = x_BTHD.shape;
    return this.#norm(x_BTHD.reshape([B, T, -1, weight.size]), name).reshape(x_BTHD.shape) as tf.Tensor4D;
  }

  #norm(x: tf.Tensor, name: string | undefined): tf.Tensor {
    if (name === undefined) return x;
    return rmsNorm(x, this.#tensors.get(`${name}.weight`)!, this.#settings.config.rms_norm_eps);
  }

  linear(x: tf.Tensor, name: Projection): tf.Tensor {
    const { adapter, frozen, dropout: key, layer } = this.#settings;
    const weight_OI = this.#tensors.get(`${name}.weight`) as tf.Tensor2D;
    const bias_O = this.#tensors.get(`${name}.bias`) as tf.Tensor1D | undefined;
    const a_RI = this.#tensors.get(`${name}.lora_A.weight`) as tf.Tensor2D | undefined;
    const b_OR = this.#tensors.get(`${name}.lora_B.weight`) as tf.Tensor2D | undefined;
    if (adapter && a_RI && b_OR) {
      const { scaling, dropout: rate } = adapter;
      const purpose = blockParameter(layer, name);
      const drop =
        key && rate > 0 ? (x: tf.Tensor) => dropout(x, rate, key, purpose, this.#firstToken) : undefined;
      const lowRank = { a_RI, b_OR, scaling, drop };
      const magnitude_O = this.#tensors.get(`${name}.${MAGNITUDE}`) as tf.Tensor1D | undefined;
      if (!magnitude_O) return adaptedLinear(x, weight_OI, bias_O, lowRank);
      const squares_O = this.#tensors.get(`${name}.${ROW_SQUARES}`) as tf.Tensor1D;
      return doraLinear(x, weight_OI, bias_O, lowRank, { magnitude_O, squares_O });
    }
    if (frozen) return frozenLinear(x, weight_OI, bias_O);
    const y = linear(x, weight_OI);
    return bias_O ? add(y, bias_O) : y;
  }

  drop(y_BTE: tf.Tensor, half: Half): tf.Tensor {
    const { dropout, layer } = this.#settings;
    return dropoutAt(dropout, blockParameter(layer, half), this.#firstToken)?.(y_BTE) ?? y_BTE;
  }

  splitHeads(x: tf.Tensor): tf.Tensor4D {
    return x.reshape([x.shape[0], x.shape[1]!, -1, this.#settings.config.head_dim]);
  }

  rotate(x_BTHD: tf.Tensor4D): tf.Tensor4D {
    const { config, layer } = this.#settings;
    if (!rotatesLayer(config, layer)) return x_BTHD;
    return rotaryEmbedding(x_BTHD, this.#tensors.get('cos')!, this.#tensors.get('sin')!);
  }

  attend(q_BTHD: tf.Tensor4D, k_BTGD: tf.Tensor4D, v_BTGD: tf.Tensor4D): tf.Tensor4D {
    const { config, layer, caches, onAttention } = this.#settings;
    const window = attentionWindow(config, layer);
    onAttention?.(layer, q_BTHD, k_BTGD);
    const [, T, numGroups, headDim] = k_BTGD.shape;
    const held = caches.map((cache) => cache.reserve(layer, T, [numGroups, headDim], window));
    if (held.length > 0) return cachedAttention(q_BTHD, k_BTGD, v_BTGD, held, { window });
    return attention(q_BTHD, k_BTGD, v_BTGD, { ...segments(this.#tensors), window, keep: this.#keep });
  }
}

/** Both halves as one op each; attention with `onAttention` or a cache as single ops. */
function fusedBlock(
  x_BTE: tf.Tensor3D,
  tensors: ReadonlyMap<string, tf.Tensor>,
  { config, layer, caches, onAttention, dropout }: BlockSettings,
  layers: BlockLayers,
): tf.Tensor3D {
  const vector = (name: string) => tensors.get(name) as tf.Tensor1D;
  const matrix = (name: Projection) => tensors.get(`${name}.weight`) as tf.Tensor2D;
  let h_BTE: tf.Tensor3D;
  if (caches.length > 0 || onAttention) {
    const a_BTE = layers.normInput(x_BTE, 'self_attn');
    const [q_BTHD, k_BTGD, v_BTGD] = [query(a_BTE, layers), key(a_BTE, layers), value(a_BTE, layers)];
    h_BTE = attentionOutput(x_BTE, layers.attend(q_BTHD, k_BTGD, v_BTGD), layers);
  } else {
    const [q, k, v] = ['q', 'k', 'v'].map((name) => vector(`self_attn.${name}_proj.bias`));
    const [qNorm, kNorm] = ['q', 'k'].map((name) => vector(`self_attn.${name}_norm.weight`));
    const weights = {
      norm_E: vector('input_layernorm.weight'),
      q_OE: matrix('self_attn.q_proj'),
      k_OE: matrix('self_attn.k_proj'),
      v_OE: matrix('self_attn.v_proj'),
      o_EO: matrix('self_attn.o_proj'),
      biases: q && k && v && { q, k, v },
      headNorms: qNorm && kNorm && { q: qNorm, k: kNorm },
    };
    h_BTE = residualAttention(x_BTE, weights, {
      epsilon: config.rms_norm_eps,
      rotary: rotatesLayer(config, layer)
        ? { cos: tensors.get('cos')!, sin: tensors.get('sin')! }
        : undefined,
      headSize: config.head_dim,
      ...segments(tensors),
      window: attentionWindow(config, layer),
      drop: dropoutAt(dropout, blockParameter(layer, 'self_attn')),
    });
  }
  const weights = {
    norm_E: vector('post_attention_layernorm.weight'),
    gate_FE: matrix('mlp.gate_proj'),
    up_FE: matrix('mlp.up_proj'),
    down_EF: matrix('mlp.down_proj'),
  };
  const drop = dropoutAt(dropout, blockParameter(layer, 'mlp'));
  return residualFeedForward(h_BTE, weights, config.rms_norm_eps, drop);
}

/** Rows in pieces, attention on whole rows: its result is kept, since it is the most expensive to recompute. */
function blockInPieces(
  x_BTE: tf.Tensor,
  tensors: ReadonlyMap<string, tf.Tensor>,
  settings: BlockSettings,
  learning: { has(name: string): boolean },
  keep: Keep,
): tf.Tensor3D {
  /** Runs a part of the block that processes each token alone; `modules` are those whose tensors it reads. */
  const inPieces = <T extends tf.Tensor>(
    part: (rows: tf.Tensor[], layers: BlockLayers) => T,
    rows: tf.Tensor[],
    modules: string[],
  ): T => {
    const own = [...tensors].filter(([name]) => modules.some((module) => name.startsWith(`${module}.`)));
    const weights = own.filter(([name]) => learning.has(name));
    const constants = own.filter(([name]) => !learning.has(name));
    const names = [...weights, ...constants].map(([name]) => name);
    const valuesOf = (entries: [string, tf.Tensor][]) => entries.map(([, tensor]) => tensor);
    return recomputeInPieces(
      ({ rows, tables, weights, constants, start }) => {
        const pieceTensors = byName(['cos', 'sin', ...names], [...tables, ...weights, ...constants]);
        return part(rows, new NamedLayers(pieceTensors, settings, { firstToken: start }));
      },
      {
        rows,
        tables: [tensors.get('cos')!, tensors.get('sin')!],
        weights: valuesOf(weights),
        constants: valuesOf(constants),
        length: PIECE_TOKENS,
      },
    ) as T;
  };
  // A part returns one tensor, so queries, keys and values each compute the norm.
  const heads = (name: Projection, part: typeof query) =>
    inPieces(
      ([x_BTE], layers) => part(layers.normInput(x_BTE, 'self_attn'), layers),
      [x_BTE],
      ['input_layernorm', name, name.replace('proj', 'norm')],
    );
  const q_BTHD = heads('self_attn.q_proj', query);
  const k_BTGD = heads('self_attn.k_proj', key);
  const v_BTGD = heads('self_attn.v_proj', value);
  const out_BTHD = new NamedLayers(tensors, settings, { keep }).attend(q_BTHD, k_BTGD, v_BTGD);
  return inPieces(
    ([x_BTE, out_BTHD], layers) => feedForward(attentionOutput(x_BTE, out_BTHD, layers), layers),
    [x_BTE, out_BTHD],
    ['self_attn.o_proj', 'post_attention_layernorm', 'post_feedforward_layernorm', 'mlp'],
  );
}

/** Options of attention that separate the documents of a row. */
function segments(tensors: ReadonlyMap<string, tf.Tensor>) {
  return {
    segmentIds: tensors.get('segmentIds') as tf.Tensor2D | undefined,
    prefixIds: tensors.get('prefixIds') as tf.Tensor2D | undefined,
  };
}
