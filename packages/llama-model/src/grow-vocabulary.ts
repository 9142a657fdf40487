import { bfloat16Bits, bfloat16Variable, storeAsBfloat16, trimMemory } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';
import { AdapterError, ConfigError } from './errors.ts';
import { Llama } from './model.ts';
import { EMBEDDING, HEAD } from './parameters.ts';

/** Options of `growVocabulary`. */
export interface GrowVocabularyOptions {
  /** Minimum number of ids: the largest id in use plus one, so 128257 for a `[MASK]` after Llama 3's 128256 ids. */
  size: number;
  /** Rounds the number of rows up to a multiple; 1 by default. */
  multipleOf?: number;
}

/**
 * Adds rows for new token ids to the embedding table and, if it is not tied, to the output head.
 *
 * Every new row is the mean of the existing rows (Hewitt 2021, "Initializing new word embeddings"; also the mean of the
 * distribution that transformers samples). As an embedding it lies at the centre of those that the first block knows. As a
 * head row its logit is the mean logit, whose exponential is at most the mean exponential, so n rows take at most
 * n / (vocab_size + n) of the probability; with zeros, a logit of 0 could be the largest.
 *
 * Leaves a table with at least `size` rows unchanged: published tables are often longer than their tokenizer.
 *
 * @returns the model with the new `vocab_size`, which owns the parameters of the given one; the given model itself if
 *   nothing had to grow
 * @throws ConfigError for a size that is not a positive integer; AdapterError if the model has an adapter
 */
export function growVocabulary(model: Llama, { size, multipleOf = 1 }: GrowVocabularyOptions): Llama {
  for (const [name, value] of Object.entries({ size, multipleOf })) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new ConfigError(`growVocabulary.${name}`, value, 'a positive integer');
    }
  }
  if (model.adapter) {
    throw new AdapterError('growVocabulary: the model has an adapter; grow first, then addLora or loadLora');
  }
  if (size <= model.config.vocab_size) return model;
  const vocab_size = Math.ceil(size / multipleOf) * multipleOf;
  const parameters = new Map(model.parameters);
  for (const name of [EMBEDDING, HEAD]) {
    const table = parameters.get(name);
    if (!table) continue;
    parameters.set(name, withMeanRows(table, vocab_size - table.shape[0]));
    table.dispose();
    trimMemory();
  }
  return new Llama(Object.freeze({ ...model.config, vocab_size }), parameters);
}

function withMeanRows(table_VE: tf.Variable, numRows: number): tf.Variable {
  const [V, E] = table_VE.shape;
  const mean_1E = tf.tidy(() =>
    // A product with ones: TensorFlow.js's mean over rows would transpose the table first.
    tf.variable(tf.div(tf.matMul(tf.ones([1, V]), table_VE as tf.Tensor as tf.Tensor2D), V), false),
  );
  try {
    const bits = bfloat16Bits(table_VE);
    if (!bits) {
      return tf.tidy(() =>
        tf.variable(tf.concat([table_VE as tf.Tensor, tf.tile(mean_1E, [numRows, 1])], 0)),
      );
    }
    // A float32 copy would take twice the memory of the table.
    storeAsBfloat16(mean_1E);
    const grown = bfloat16Variable([V + numRows, E]);
    const grownBits = bfloat16Bits(grown)!;
    grownBits.set(bits);
    for (let row = V; row < V + numRows; row++) grownBits.set(bfloat16Bits(mean_1E)!, row * E);
    return grown;
  } finally {
    mean_1E.dispose();
  }
}
