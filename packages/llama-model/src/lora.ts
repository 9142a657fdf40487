/**
 * LoRA (Hu et al. 2021): adapts a frozen weight W of a linear layer to W + (α / R)·B·A with two low-rank matrices.
 *
 * This file creates, merges and removes adapters; block-execution.ts applies them without forming the sum. A `[R, inputs]`
 * starts uniform, B `[outputs, R]` at zero, so a new adapter changes nothing. With DoRA (Liu et al. 2024) it also trains the
 * norms of the rows of W + (α / R)·B·A, which start as those of W. An adapter can also train rows of the frozen embedding
 * table (token-rows.ts), whole tables or norms, which replace the model's.
 */
import {
  bfloat16Bits,
  embedding,
  isStoredAsBfloat16,
  quantizedFormat,
  storeAsBfloat16,
} from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';
import { AdapterError } from './errors.ts';
import { adaptedNorms, type LowRank, rowNorms } from './linear-layers.ts';
import {
  type CompleteLoraOptions,
  completeLoraOptions,
  LoraAdapter,
  type LoraOptions,
  loraShapes,
} from './lora-adapter.ts';
import type { Llama } from './model.ts';
import { EMBEDDING, MAGNITUDE, TOKEN_ROWS, variable } from './parameters.ts';
import { randomKey, uniforms } from './random.ts';
import { replaceRows, type TokenRows } from './token-rows.ts';

/**
 * Adds a new adapter to a model and freezes the model's weights.
 *
 * A is sampled from U(−1/√inputs, 1/√inputs), as in PEFT, by (seed, name) alone; B is zero, and magnitudes, tables, norms
 * and rows start as the model's: its results stay equal to the bit. Train `model.trainable`.
 *
 * @throws AdapterError for invalid options, or if the model already has an adapter
 */
export function addLora(model: Llama, options: LoraOptions & { seed: number }): LoraAdapter {
  const { seed, ...shape } = options;
  const complete = completeLoraOptions(shape, model.config);
  const parameters = new Map<string, tf.Variable>();
  const rowSquares = rowSquaresOf(model, complete);
  for (const [name, [rows, columns]] of loraShapes(model.config, complete)) {
    if (name.endsWith(MAGNITUDE)) {
      const squares_O = rowSquares.get(name.replace(MAGNITUDE, 'weight'))!;
      parameters.set(
        name,
        tf.tidy(() => tf.variable(rowNorms(squares_O))),
      );
      continue;
    }
    const table = model.parameters.get(name);
    if (table || name === TOKEN_ROWS) {
      const initial = () => (table ? copyOf(table) : rowsOf(model, complete.trainableTokens));
      const learned = tf.tidy(() => tf.variable(initial()));
      parameters.set(name, learned);
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
  const adapter = new LoraAdapter(complete, parameters, rowSquares);
  try {
    model.attach(adapter);
  } catch (error) {
    adapter.dispose();
    throw error;
  }
  return adapter;
}

/** With DoRA, squared norms of the rows of the weights that an adapter adapts, by their names; none without. */
export function rowSquaresOf(model: Llama, options: CompleteLoraOptions): Map<string, tf.Tensor1D> {
  const squares = new Map<string, tf.Tensor1D>();
  for (const name of loraShapes(model.config, options).keys()) {
    if (!name.endsWith(MAGNITUDE)) continue;
    const weight = name.replace(MAGNITUDE, 'weight');
    const sum = tf.tidy(() => tf.sum(tf.square(model.parameters.get(weight)!), 1) as tf.Tensor1D);
    squares.set(weight, tf.keep(sum));
  }
  return squares;
}

/**
 * Adds the update to the model's weights, W + scaling·B·A, with DoRA scaled to the trained norms, so that the model runs and is saved as one without an adapter.
 * Trained tables, norms, and rows of the embedding table, replace the model's.
 *
 * Changes one weight at a time; `unmergeLora` reverses it up to float32 rounding. Weights stored as bfloat16 round the sum
 * and stay bfloat16.
 *
 * @throws AdapterError if the model has no adapter or a merged one, or if its weights are quantised, which would round most
 *   of the update away: keep the adapter apart, as QLoRA does, or `saveLlama` with `mergeAdapter`
 */
export function mergeLora(model: Llama): void {
  shiftWeights(model, 'merge');
}

/**
 * Subtracts the update from the model's weights, for further training.
 *
 * @throws AdapterError if the model has no merged adapter or weights stored as bfloat16
 */
export function unmergeLora(model: Llama): void {
  shiftWeights(model, 'unmerge');
}

/**
 * Removes and frees the adapter; the model's weights become trainable. A merged update stays in the weights.
 *
 * @throws AdapterError if the model has no adapter
 */
export function removeLora(model: Llama): void {
  requireAdapter(model, 'removeLora');
  model.detach()!.dispose();
}

/** Returns the model's adapter. @throws AdapterError that names the operation if there is none */
export function requireAdapter(model: Llama, operation: string): LoraAdapter {
  if (model.adapter) return model.adapter;
  throw new AdapterError(`${operation}: the model has no adapter, expected one of addLora or loadLora`);
}

function shiftWeights(model: Llama, operation: 'merge' | 'unmerge'): void {
  const adapter = requireAdapter(model, `${operation}Lora`);
  if (adapter.merged === (operation === 'merge')) {
    throw new AdapterError(`${operation}Lora: the adapter is ${adapter.merged ? '' : 'not '}merged already`);
  }
  const format = [...model.parameters.values()].map(quantizedFormat).find(Boolean);
  if (format) {
    throw new AdapterError(
      `${operation}Lora: weights in ${format} would round the update away, expected float32 or bfloat16; keep the adapter ` +
        'apart, or save the merged model with saveLlama and mergeAdapter',
    );
  }
  if (operation === 'unmerge' && [...model.parameters.values()].some(isStoredAsBfloat16)) {
    throw new AdapterError(
      'unmergeLora: weights stored as bfloat16 have rounded the update, which cannot be reversed; load the model again',
    );
  }
  swapTables(model, adapter);
  swapTokenRows(model, adapter);
  const change = operation === 'merge' ? updatedWeight : restoredWeight;
  for (const [name, weight] of model.parameters) {
    if (!adapter.parameters.has(matrixName(name, 'A'))) continue;
    const isBfloat16 = isStoredAsBfloat16(weight);
    // Norms of the merged weight are other ones.
    if (operation === 'merge' && adapter.useDora) {
      const factor_O1 = tf.keep(tf.tidy(() => rowFactors(weight, adapter, name)));
      adapter.mergedFactors.set(name, factor_O1);
    }
    tf.tidy(() => weight.assign(change(weight, adapter, name) as tf.Variable));
    if (isBfloat16) storeAsBfloat16(weight);
  }
  if (operation === 'unmerge') {
    tf.dispose([...adapter.mergedFactors.values()]);
    adapter.mergedFactors.clear();
  }
  adapter.merged = !adapter.merged;
}

/**
 * The bits of a table in bfloat16 of which an adapter that is not merged changes only rows, in new memory: a float32 copy
 * would take gigabytes. Undefined for other weights.
 */
export function mergedBits(model: Llama, name: string): Uint16Array | undefined {
  const { parameters, tokenRows } = model.adapter!;
  if (name !== EMBEDDING || !tokenRows || parameters.has(name)) return undefined;
  const bits = bfloat16Bits(model.parameters.get(name)!)?.slice();
  if (bits) writeRows(bits, tokenRows);
  return bits;
}

/**
 * A weight with the update of an adapter that is not merged, in float32; the caller frees it. The model's own weight if
 * nothing changes it.
 */
export function mergedWeight(model: Llama, name: string): tf.Tensor {
  const [adapter, weight] = [model.adapter!, model.parameters.get(name)! as tf.Tensor];
  const table = adapter.parameters.get(name);
  const isUpdated = adapter.parameters.has(matrixName(name, 'A'));
  const rows = name === EMBEDDING ? adapter.tokenRows : undefined;
  if (!table && !rows && !isUpdated) return weight;
  return tf.tidy(() => {
    if (table) return copyOf(table);
    if (rows) return replaceRows(weight as tf.Tensor2D, rows);
    return updatedWeight(weight, adapter, name);
  });
}

/** W + scaling · B·A of a weight with an adapter, with DoRA scaled to the trained norms. */
function updatedWeight(weight: tf.Tensor, adapter: LoraAdapter, name: string): tf.Tensor {
  const sum = tf.add(weight, updateOf(adapter, name));
  return adapter.useDora ? tf.mul(sum, rowFactors(weight, adapter, name)) : sum;
}

/** The weight of which `weight` is the merged one. */
function restoredWeight(weight: tf.Tensor, adapter: LoraAdapter, name: string): tf.Tensor {
  const factor_O1 = adapter.mergedFactors.get(name);
  return tf.sub(factor_O1 ? tf.div(weight, factor_O1) : weight, updateOf(adapter, name));
}

/** scaling · B·A */
function updateOf(adapter: LoraAdapter, name: string): tf.Tensor {
  const { a_RI, b_OR, scaling } = lowRankOf(adapter, name);
  return tf.mul(tf.matMul(b_OR, a_RI), scaling);
}

/** Factors of DoRA on the rows of W + scaling · B·A, `[O, 1]`. */
function rowFactors(weight: tf.Tensor, adapter: LoraAdapter, name: string): tf.Tensor {
  const magnitude_O = adapter.parameters.get(name.replace(/weight$/, MAGNITUDE))!;
  const squares_O = adapter.rowSquares.get(name)!;
  const norms_O = adaptedNorms(weight as tf.Tensor2D, lowRankOf(adapter, name), squares_O);
  return tf.div(magnitude_O, norms_O).expandDims(1);
}

function lowRankOf(adapter: LoraAdapter, name: string): LowRank {
  const matrix = (letter: 'A' | 'B') =>
    adapter.parameters.get(matrixName(name, letter)) as tf.Tensor as tf.Tensor2D;
  return { a_RI: matrix('A'), b_OR: matrix('B'), scaling: adapter.scaling };
}

/** The name of a matrix of the adapter of a weight. */
function matrixName(name: string, letter: 'A' | 'B'): string {
  return name.replace(/weight$/, `lora_${letter}.weight`);
}

/** Swaps the model's tables and norms for trained ones in a merge, and back. */
function swapTables(model: Llama, { parameters, replacedTables }: LoraAdapter): void {
  for (const name of parameters.keys()) {
    const table = model.parameters.get(name);
    if (!table) continue;
    const isBfloat16 = isStoredAsBfloat16(table);
    const before = replacedTables.get(name);
    // A merge into a bfloat16 table cannot be reversed.
    if (!before && !isBfloat16) replacedTables.set(name, tf.keep(tf.tidy(() => copyOf(table))));
    tf.tidy(() => table.assign(copyOf(before ?? parameters.get(name)!)));
    if (isBfloat16) storeAsBfloat16(table);
    if (before) {
      before.dispose();
      replacedTables.delete(name);
    }
  }
}

/** A float32 copy with its own memory, unlike a clone, since the optimizer changes trained tensors in place. */
function copyOf(table: tf.Tensor): tf.Tensor {
  return tf.sub(table, 0);
}

/** Swaps rows of the embedding table for trained ones in a merge, and back. */
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
    // In place: a float32 copy of a large table would take gigabytes.
    writeRows(bits, { ids: tokenRows.ids, rows_KE });
  } else {
    tf.tidy(() => {
      table.assign(replaceRows(table as tf.Tensor as tf.Tensor2D, { ids: tokenRows.ids, rows_KE }));
    });
  }
  replacedRows?.dispose();
}

/** Writes rows into a table in bfloat16. */
function writeRows(bits: Uint16Array, { ids, rows_KE }: TokenRows): void {
  const rounded = tf.tidy(() => tf.variable(rows_KE.clone(), false));
  storeAsBfloat16(rounded);
  const E = rows_KE.shape[1];
  ids.forEach((id, k) => {
    bits.set(bfloat16Bits(rounded)!.subarray(k * E, (k + 1) * E), id * E);
  });
  rounded.dispose();
}

/** Rows of the embedding table, in float32. */
function rowsOf(model: Llama, ids: readonly number[]): tf.Tensor2D {
  const table_VE = model.parameters.get(EMBEDDING)! as tf.Tensor as tf.Tensor2D;
  return embedding(tf.tensor1d([...ids], 'int32'), table_VE) as tf.Tensor2D;
}
