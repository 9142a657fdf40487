/** A low-rank adapter: options, parameters and their shapes. */
import * as tf from '@tensorflow/tfjs-core';
import type { LlamaConfig } from './config.ts';
import { AdapterError } from './errors.ts';
import {
  blockParameter,
  blockShapes,
  MAGNITUDE,
  PROJECTIONS,
  type Projection,
  parameterShapes,
  TOKEN_ROWS,
} from './parameters.ts';
import type { TokenRows } from './token-rows.ts';

/** A linear layer of a block by the last part of its name, as PEFT's `target_modules`. */
export type LoraTarget = 'q_proj' | 'k_proj' | 'v_proj' | 'o_proj' | 'gate_proj' | 'up_proj' | 'down_proj';

/** The linear layers of a block, the default of `targetModules`. */
export const LORA_TARGETS: readonly LoraTarget[] = Object.freeze(PROJECTIONS.map(targetOf));

/** What an adapter may learn in full, as PEFT's `modules_to_save`: a table, or all norms. */
export type LearnedModule = 'embed_tokens' | 'lm_head' | 'norm';

/** What an adapter may learn in full. */
export const LEARNED_MODULES: readonly LearnedModule[] = Object.freeze(['embed_tokens', 'lm_head', 'norm']);

/** Options of an adapter. */
export interface LoraOptions {
  /** Columns of A and rows of B, R. */
  rank: number;
  /** The update is scaled by `alpha / rank`; 2 · rank by default. */
  alpha?: number;
  /** Scales the update by `alpha / √rank`, so that a high rank learns as fast (rsLoRA, Kalajdzievski 2023). */
  useRslora?: boolean;
  /** Also trains the norm of each row of the adapted weights (DoRA, Liu et al. 2024, arXiv 2402.09353). */
  useDora?: boolean;
  /** Dropout rate of the inputs of the adapter in training; 0 by default. */
  dropout?: number;
  /** Layers with an adapter; by default `all-linear`, the seven of a block (QLoRA, Dettmers et al. 2023, §4). */
  targetModules?: 'all-linear' | readonly LoraTarget[];
  /**
   * Tables, and `norm` for all norms, that are trained in full; either name is that of a tied table. None by default.
   */
  modulesToSave?: readonly LearnedModule[];
  /** Ids whose embeddings, and rows of a tied head, are trained too (PEFT's `trainable_token_indices`). None by default. */
  trainableTokens?: readonly number[];
}

/** {@link LoraOptions} with all defaults filled in. */
export type CompleteLoraOptions = Required<LoraOptions> & { targetModules: readonly LoraTarget[] };

/** Low-rank adapters of a model's linear layers; `model.adapter` once attached. */
export class LoraAdapter {
  readonly rank: number;
  readonly alpha: number;
  readonly useRslora: boolean;
  readonly useDora: boolean;
  readonly dropout: number;
  readonly targetModules: readonly LoraTarget[];
  readonly modulesToSave: readonly LearnedModule[];
  readonly trainableTokens: readonly number[];
  /** Variables by the names of PEFT, such as `model.layers.0.self_attn.q_proj.lora_A.weight`. */
  readonly parameters: ReadonlyMap<string, tf.Variable>;
  /** With DoRA, squared norms `[outputs]` of the rows of the model's weights, by their names; the adapter owns them. */
  readonly rowSquares: ReadonlyMap<string, tf.Tensor1D>;
  /** Whether the update is merged into the model's weights; the forward pass then skips the adapter. */
  merged = false;
  /** Rows of the embedding table that a merge replaced; the adapter owns them. */
  replacedRows: tf.Tensor2D | undefined;
  /** Tables and norms that a merge replaced, by name; the adapter owns them. */
  readonly replacedTables = new Map<string, tf.Tensor>();
  /** With DoRA, factors `[outputs, 1]` on the rows of weights that a merge applied, by name; the adapter owns them. */
  readonly mergedFactors = new Map<string, tf.Tensor>();

  /**
   * @param parameters one variable for each of `loraShapes`, which the adapter then owns
   * @param rowSquares with `useDora`, one tensor for each adapted weight, which the adapter then owns
   */
  constructor(
    options: CompleteLoraOptions,
    parameters: ReadonlyMap<string, tf.Variable>,
    rowSquares: ReadonlyMap<string, tf.Tensor1D> = new Map(),
  ) {
    this.rank = options.rank;
    this.alpha = options.alpha;
    this.useRslora = options.useRslora;
    this.useDora = options.useDora;
    this.dropout = options.dropout;
    this.targetModules = options.targetModules;
    this.modulesToSave = options.modulesToSave;
    this.trainableTokens = options.trainableTokens;
    this.parameters = parameters;
    this.rowSquares = rowSquares;
  }

  /** Factor on B·A. */
  get scaling(): number {
    return this.alpha / (this.useRslora ? Math.sqrt(this.rank) : this.rank);
  }

  /**
   * The trained embeddings in the order of `trainableTokens`, if there are any.
   *
   * @internal
   */
  get tokenRows(): TokenRows | undefined {
    const rows_KE = this.parameters.get(TOKEN_ROWS) as tf.Tensor | undefined;
    return rows_KE && { ids: this.trainableTokens, rows_KE: rows_KE as tf.Tensor2D };
  }

  /** Frees the parameters. */
  dispose(): void {
    const { parameters, rowSquares, replacedTables, mergedFactors } = this;
    tf.dispose([parameters, rowSquares, replacedTables, mergedFactors].flatMap((held) => [...held.values()]));
    this.replacedRows?.dispose();
  }
}

/** Returns names and shapes of an adapter's parameters in the order of the forward pass. */
export function loraShapes(
  config: LlamaConfig,
  { rank, targetModules, useDora, modulesToSave, trainableTokens }: CompleteLoraOptions,
): Map<string, number[]> {
  const block = blockShapes(config);
  const shapes = new Map<string, number[]>();
  for (const [name, shape] of parameterShapes(config)) {
    if (modulesToSave.some((module) => name.endsWith(`${module}.weight`))) shapes.set(name, shape);
  }
  if (trainableTokens.length > 0) shapes.set(TOKEN_ROWS, [trainableTokens.length, config.hidden_size]);
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    for (const projection of PROJECTIONS) {
      if (!targetModules.includes(targetOf(projection))) continue;
      const [outputs, inputs] = block.get(`${projection}.weight`)!;
      shapes.set(blockParameter(layer, `${projection}.lora_A.weight`), [rank, inputs]);
      shapes.set(blockParameter(layer, `${projection}.lora_B.weight`), [outputs, rank]);
      if (useDora) shapes.set(blockParameter(layer, `${projection}.${MAGNITUDE}`), [outputs]);
    }
  }
  return shapes;
}

/** Fills in defaults. @throws AdapterError for options out of range */
export function completeLoraOptions(
  options: LoraOptions,
  { vocab_size, tie_word_embeddings }: LlamaConfig,
): CompleteLoraOptions {
  const { rank, alpha = 2 * rank, dropout = 0, trainableTokens = [] } = options;
  const { useRslora = false, useDora = false } = options;
  const targetModules =
    options.targetModules === 'all-linear' ? LORA_TARGETS : (options.targetModules ?? LORA_TARGETS);
  const learned = options.modulesToSave ?? [];
  if (!Number.isInteger(rank) || rank < 1) {
    throw new AdapterError(`rank: got ${rank}, expected a positive integer`);
  }
  if (!Number.isFinite(alpha) || alpha <= 0) {
    throw new AdapterError(`alpha: got ${alpha}, expected a positive number`);
  }
  if (!(dropout >= 0 && dropout < 1)) {
    throw new AdapterError(`dropout: got ${dropout}, expected a number from 0 and below 1`);
  }
  const unknown = targetModules.find((target) => !LORA_TARGETS.includes(target));
  if (targetModules.length === 0 || unknown !== undefined) {
    const got = unknown ?? 'none';
    throw new AdapterError(`targetModules: got ${got}, expected some of ${LORA_TARGETS.join(', ')}`);
  }
  const unknownModule = learned.find((module) => !LEARNED_MODULES.includes(module));
  if (unknownModule !== undefined) {
    throw new AdapterError(
      `modulesToSave: got ${unknownModule}, expected some of ${LEARNED_MODULES.join(', ')}`,
    );
  }
  const given = learned.map((module) =>
    module === 'lm_head' && tie_word_embeddings ? 'embed_tokens' : module,
  );
  const modulesToSave = LEARNED_MODULES.filter((module) => given.includes(module));
  if (trainableTokens.length > 0 && modulesToSave.includes('embed_tokens')) {
    throw new AdapterError(
      `trainableTokens: got ${trainableTokens}, expected none with modulesToSave ${learned}, which trains all embeddings`,
    );
  }
  trainableTokens.forEach((id, k) => {
    if (!Number.isInteger(id) || id < 0 || id >= vocab_size) {
      throw new AdapterError(
        `trainableTokens: got ${id}, expected ids of the vocabulary, 0 to ${vocab_size - 1}; ` +
          'growVocabulary adds new ones',
      );
    }
    if (trainableTokens.indexOf(id) < k)
      throw new AdapterError(`trainableTokens: got ${id} twice, expected once`);
  });
  // In the order of the forward pass, each once.
  return {
    rank,
    alpha,
    useRslora,
    useDora,
    dropout,
    modulesToSave,
    targetModules: LORA_TARGETS.filter((target) => targetModules.includes(target)),
    trainableTokens: Object.freeze([...trainableTokens]),
  };
}

function targetOf(projection: Projection): LoraTarget {
  return projection.slice(projection.indexOf('.') + 1) as LoraTarget;
}
