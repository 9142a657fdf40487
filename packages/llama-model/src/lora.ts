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
import { AdapterError } from './errors.ts';
import {
  completeLoraOptions,
  LoraAdapter,
  type LoraOptions,
  loraShapes,
  TABLE_NAMES,
} from './lora-adapter.ts';
import type { Llama } from './model.ts';
import { EMBEDDING, TOKEN_ROWS, variable } from './parameters.ts';
import { randomKey, uniforms } from './random.ts';
import { replaceRows } from './token-rows.ts';

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
