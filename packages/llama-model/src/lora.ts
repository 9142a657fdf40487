/**
 * LoRA (Hu et al. 2021): a frozen weight W of a linear layer learns W + (α / R)·B·A through two thin matrices.
 *
 * The forward pass applies adapters in `src/model.ts` without forming the sum; here they are made, merged into the
 * weights and taken out again. A `[R, inputs]` starts uniform, B `[outputs, R]` at zero, so a fresh adapter changes
 * nothing. An adapter can also learn rows of the frozen embedding table, in `src/token-rows.ts`, or whole tables, which
 * then stand in for the model's own.
 */
import { bfloat16Bits, embedding, isStoredAsBfloat16, storeAsBfloat16 } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';
import type { LlamaConfig } from './config.ts';
import { AdapterError } from './errors.ts';
import { type Llama, variable } from './model.ts';
import {
  blockParameter,
  blockShapes,
  EMBEDDING,
  HEAD,
  PROJECTIONS,
  type Projection,
  TOKEN_ROWS,
} from './parameters.ts';
import { randomKey, uniforms } from './random.ts';
import { replaceRows, type TokenRows } from './token-rows.ts';

/** A linear layer of a block by the last part of its name, as PEFT's `target_modules`. */
export type LoraTarget = 'q_proj' | 'k_proj' | 'v_proj' | 'o_proj' | 'gate_proj' | 'up_proj' | 'down_proj';

const TABLE_NAMES: Readonly<Record<LearnedTable, string>> = { embed_tokens: EMBEDDING, lm_head: HEAD };

/** The linear layers of a block, all of which are adapted unless told otherwise. */
export const LORA_TARGETS: readonly LoraTarget[] = Object.freeze(PROJECTIONS.map(targetOf));

/** A table that an adapter may learn in full, as PEFT's `modules_to_save`. */
export type LearnedTable = 'embed_tokens' | 'lm_head';

/** The tables that an adapter may learn in full. */
export const LEARNED_TABLES: readonly LearnedTable[] = Object.freeze(['embed_tokens', 'lm_head']);

/** Shape and strength of an adapter. */
export interface LoraOptions {
  /** Columns of A and rows of B, R. */
  rank: number;
  /** The update is scaled by `alpha / rank`; 2 · rank by default. */
  alpha?: number;
  /** Scales the update by `alpha / √rank` instead, so that a high rank learns as fast (Kalajdzievski 2023, rsLoRA). */
  useRslora?: boolean;
  /** Share of a layer's inputs that the adapter does not see in training; 0 by default. */
  dropout?: number;
  /**
   * Layers that get an adapter; `all-linear`, the seven of a block, by default, which at equal size learns better than
   * attention alone (Dettmers et al. 2023, QLoRA, §4).
   */
  targetModules?: 'all-linear' | readonly LoraTarget[];
  /**
   * Tables that are learned in full beside the thin matrices: as much memory as training them without an adapter.
   * Where the head is tied to the embeddings, either name is the one table of both. None by default.
   */
  modulesToSave?: readonly LearnedTable[];
  /**
   * Ids whose embeddings are learned too, such as that of a new `[MASK]`; none by default. Where the head is tied to
   * the embeddings, its rows are these. PEFT's `trainable_token_indices`.
   */
  trainableTokens?: readonly number[];
}

/** {@link LoraOptions} with nothing left open. */
export type CompleteLoraOptions = Required<LoraOptions> & { targetModules: readonly LoraTarget[] };

/** Low-rank adapters of a model's linear layers; `model.adapter` once attached. */
export class LoraAdapter {
  readonly rank: number;
  readonly alpha: number;
  readonly useRslora: boolean;
  readonly dropout: number;
  readonly targetModules: readonly LoraTarget[];
  readonly modulesToSave: readonly LearnedTable[];
  readonly trainableTokens: readonly number[];
  /** Variables by the names of PEFT, such as `model.layers.0.self_attn.q_proj.lora_A.weight`. */
  readonly parameters: ReadonlyMap<string, tf.Variable>;
  /** Whether the model's weights hold the update; the forward pass then leaves the adapter out. */
  merged = false;
  /** What a merge replaced in the embedding table, for the way back; the adapter owns it. */
  replacedRows: tf.Tensor2D | undefined;
  /** What a merge replaced of whole tables, by name; the adapter owns it. */
  readonly replacedTables = new Map<string, tf.Tensor>();

  /** @param parameters one variable for each of `loraShapes`; the adapter owns them from here on */
  constructor(options: CompleteLoraOptions, parameters: ReadonlyMap<string, tf.Variable>) {
    this.rank = options.rank;
    this.alpha = options.alpha;
    this.useRslora = options.useRslora;
    this.dropout = options.dropout;
    this.targetModules = options.targetModules;
    this.modulesToSave = options.modulesToSave;
    this.trainableTokens = options.trainableTokens;
    this.parameters = parameters;
  }

  /** Factor on B·A. */
  get scaling(): number {
    return this.alpha / (this.useRslora ? Math.sqrt(this.rank) : this.rank);
  }

  /**
   * The embeddings that are learned, in the order of `trainableTokens`, if there are any.
   *
   * @internal
   */
  get tokenRows(): TokenRows | undefined {
    const rows_KE = this.parameters.get(TOKEN_ROWS) as tf.Tensor | undefined;
    return rows_KE && { ids: this.trainableTokens, rows_KE: rows_KE as tf.Tensor2D };
  }

  /** Frees the parameters. */
  dispose(): void {
    tf.dispose([...this.parameters.values(), ...this.replacedTables.values()]);
    this.replacedRows?.dispose();
  }
}

/**
 * Adds fresh adapters to a model, whose own weights are frozen from here on.
 *
 * A is drawn from U(−1/√inputs, 1/√inputs), as PEFT does, by (seed, name) alone; B is zero, and what is learned of
 * tables starts as it is: the model computes what it did, to the bit. Train `model.trainable`.
 *
 * @throws AdapterError for impossible options, an id outside the vocabulary among them, or when the model has an adapter already
 */
export function addLora(model: Llama, options: LoraOptions & { seed: number }): LoraAdapter {
  const { seed, ...shape } = options;
  const complete = completeLoraOptions(shape, model.config);
  const parameters = new Map<string, tf.Variable>();
  for (const [name, [rows, columns]] of loraShapes(model.config, complete)) {
    if (name === TOKEN_ROWS) {
      parameters.set(
        name,
        tf.tidy(() => tf.variable(rowsOf(model, complete.trainableTokens))),
      );
      continue;
    }
    const table = model.parameters.get(name);
    if (table) {
      parameters.set(
        name,
        tf.tidy(() => tf.variable(copyOf(table))),
      );
      continue;
    }
    const values = new Float32Array(rows * columns);
    if (name.endsWith('lora_A.weight')) {
      const limit = 1 / Math.sqrt(columns);
      uniforms(randomKey(seed, name), values);
      for (let i = 0; i < values.length; i++) values[i] = limit * (2 * values[i] - 1);
    }
    parameters.set(name, variable(values, [rows, columns]));
  }
  const adapter = new LoraAdapter(complete, parameters);
  try {
    model.attach(adapter);
  } catch (error) {
    adapter.dispose();
    throw error;
  }
  return adapter;
}

/**
 * Adds the update to the model's weights, W + scaling·B·A, so that it runs and is saved as if it had no adapter.
 * Learned tables, and rows of the embedding table, take their places.
 *
 * One weight at a time; `unmergeLora` is the way back, to float32 rounding. Weights stored as bfloat16 round the sum
 * and stay so.
 *
 * @throws AdapterError when the model has no adapter, or a merged one
 */
export function mergeLora(model: Llama): void {
  shiftWeights(model, 'merge');
}

/**
 * Subtracts the update from the model's weights again, for further training.
 *
 * @throws AdapterError when the model has no merged adapter, or has weights stored as bfloat16
 */
export function unmergeLora(model: Llama): void {
  shiftWeights(model, 'unmerge');
}

/**
 * Takes the adapter off and frees it; the model's own weights can be trained again.
 *
 * What was merged stays in the weights.
 *
 * @throws AdapterError when the model has no adapter
 */
export function removeLora(model: Llama): void {
  requireAdapter(model, 'removeLora');
  model.detach()!.dispose();
}

/** The model's adapter, or an error that says what was asked of it. */
export function requireAdapter(model: Llama, operation: string): LoraAdapter {
  if (model.adapter) return model.adapter;
  throw new AdapterError(`${operation}: the model has no adapter, expected one of addLora or loadLora`);
}

/** Names and shapes of an adapter's parameters, in the order of the forward pass. */
export function loraShapes(
  config: LlamaConfig,
  { rank, targetModules, modulesToSave, trainableTokens }: CompleteLoraOptions,
): Map<string, [rows: number, columns: number]> {
  const block = blockShapes(config);
  const shapes = new Map<string, [number, number]>();
  for (const table of modulesToSave) shapes.set(TABLE_NAMES[table], [config.vocab_size, config.hidden_size]);
  if (trainableTokens.length > 0) shapes.set(TOKEN_ROWS, [trainableTokens.length, config.hidden_size]);
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    for (const projection of PROJECTIONS) {
      if (!targetModules.includes(targetOf(projection))) continue;
      const [outputs, inputs] = block.get(`${projection}.weight`)!;
      shapes.set(blockParameter(layer, `${projection}.lora_A.weight`), [rank, inputs]);
      shapes.set(blockParameter(layer, `${projection}.lora_B.weight`), [outputs, rank]);
    }
  }
  return shapes;
}

/** @throws AdapterError for options out of range */
export function completeLoraOptions(
  options: LoraOptions,
  { vocab_size, tie_word_embeddings }: LlamaConfig,
): CompleteLoraOptions {
  const { rank, alpha = 2 * rank, useRslora = false, dropout = 0, trainableTokens = [] } = options;
  const targetModules =
    options.targetModules === 'all-linear' ? LORA_TARGETS : (options.targetModules ?? LORA_TARGETS);
  const tables = options.modulesToSave ?? [];
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
  const unknownTable = tables.find((table) => !LEARNED_TABLES.includes(table));
  if (unknownTable !== undefined) {
    throw new AdapterError(
      `modulesToSave: got ${unknownTable}, expected some of ${LEARNED_TABLES.join(', ')}`,
    );
  }
  const isTied = tie_word_embeddings && tables.length > 0;
  const modulesToSave = isTied
    ? (['embed_tokens'] as const)
    : LEARNED_TABLES.filter((table) => tables.includes(table));
  if (trainableTokens.length > 0 && modulesToSave.includes('embed_tokens')) {
    throw new AdapterError(
      `trainableTokens: got ${trainableTokens}, expected none beside modulesToSave ${tables}, which learns all embeddings`,
    );
  }
  trainableTokens.forEach((id, k) => {
    if (!Number.isInteger(id) || id < 0 || id >= vocab_size) {
      throw new AdapterError(
        `trainableTokens: got ${id}, expected ids of the vocabulary, 0 to ${vocab_size - 1}; ` +
          'growVocabulary makes room for new ones',
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
    dropout,
    modulesToSave,
    targetModules: LORA_TARGETS.filter((target) => targetModules.includes(target)),
    trainableTokens: Object.freeze([...trainableTokens]),
  };
}

function shiftWeights(model: Llama, operation: 'merge' | 'unmerge'): void {
  const adapter = requireAdapter(model, `${operation}Lora`);
  if (adapter.merged === (operation === 'merge')) {
    throw new AdapterError(`${operation}Lora: the adapter is ${adapter.merged ? '' : 'not '}merged already`);
  }
  if (operation === 'unmerge' && [...model.parameters.values()].some(isStoredAsBfloat16)) {
    throw new AdapterError(
      'unmergeLora: weights stored as bfloat16 have rounded the update and cannot give it back; load the model again',
    );
  }
  swapTables(model, adapter);
  swapTokenRows(model, adapter);
  const factor = operation === 'merge' ? adapter.scaling : -adapter.scaling;
  for (const [name, a] of adapter.parameters) {
    if (!name.endsWith('lora_A.weight')) continue;
    const b = adapter.parameters.get(name.replace('lora_A', 'lora_B'))!;
    const weight = model.parameters.get(name.replace('lora_A.', ''))!;
    const isHalf = isStoredAsBfloat16(weight);
    tf.tidy(() => {
      const update = tf.matMul(b as tf.Tensor as tf.Tensor2D, a as tf.Tensor as tf.Tensor2D);
      weight.assign(tf.add(weight, tf.mul(update, factor)));
    });
    if (isHalf) storeAsBfloat16(weight);
  }
  adapter.merged = !adapter.merged;
}

/** Exchanges whole tables: learned ones for the model's own in a merge, and back. */
function swapTables(model: Llama, { parameters, modulesToSave, replacedTables }: LoraAdapter): void {
  for (const name of modulesToSave.map((table) => TABLE_NAMES[table])) {
    const table = model.parameters.get(name)!;
    const isHalf = isStoredAsBfloat16(table);
    const before = replacedTables.get(name);
    // A table of bfloat16 has no way back.
    if (!before && !isHalf) replacedTables.set(name, tf.keep(tf.tidy(() => copyOf(table))));
    tf.tidy(() => table.assign(copyOf(before ?? parameters.get(name)!)));
    if (isHalf) storeAsBfloat16(table);
    if (before) {
      before.dispose();
      replacedTables.delete(name);
    }
  }
}

/** A float32 copy that shares no memory, as a clone would, since an optimizer changes what is learned in place. */
function copyOf(table: tf.Tensor): tf.Tensor {
  return tf.sub(table, 0);
}

/** Exchanges rows of the embedding table: learned ones for its own in a merge, and back. */
function swapTokenRows(model: Llama, adapter: LoraAdapter): void {
  const { tokenRows, replacedRows } = adapter;
  if (!tokenRows) return;
  const table = model.parameters.get(EMBEDDING)!;
  const bits = bfloat16Bits(table);
  adapter.replacedRows = replacedRows
    ? undefined
    : tf.keep(tf.tidy(() => rowsOf(model, adapter.trainableTokens)));
  const rows_KE = replacedRows ?? tokenRows.rows_KE;
  if (bits) {
    // In place: the table of a large vocabulary is gigabytes in float32.
    const rounded = tf.tidy(() => tf.variable(rows_KE.clone(), false));
    storeAsBfloat16(rounded);
    const E = table.shape[1]!;
    tokenRows.ids.forEach((id, k) => {
      bits.set(bfloat16Bits(rounded)!.subarray(k * E, (k + 1) * E), id * E);
    });
    rounded.dispose();
  } else {
    tf.tidy(() => {
      table.assign(replaceRows(table as tf.Tensor as tf.Tensor2D, { ids: tokenRows.ids, rows_KE }));
    });
  }
  replacedRows?.dispose();
}

/** Rows of the embedding table, in float32. */
function rowsOf(model: Llama, ids: readonly number[]): tf.Tensor2D {
  const table_VE = model.parameters.get(EMBEDDING)! as tf.Tensor as tf.Tensor2D;
  return embedding(tf.tensor1d([...ids], 'int32'), table_VE) as tf.Tensor2D;
}

function targetOf(projection: Projection): LoraTarget {
  return projection.slice(projection.indexOf('.') + 1) as LoraTarget;
}
