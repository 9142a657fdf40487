import { bfloat16Bits, bfloat16Variable, storeAsBfloat16 } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';
import { AdapterError, ConfigError } from './errors.ts';
import { Llama } from './model.ts';
import { EMBEDDING, HEAD } from './parameters.ts';

/** Options of `growVocabulary`. */
export interface GrowVocabularyOptions {
  /** Least number of ids: the largest id in use plus one, so 128257 for a `[MASK]` behind Llama 3's 128256 ids. */
  size: number;
  /** Rounds the number of rows up; 1 by default, which keeps exactly `size`. */
  multipleOf?: number;
}

/**
 * Makes room for new token ids: adds rows to the embedding table and, where it is not tied, to the output head.
 *
 * Every new row is the mean of the rows before it (Hewitt 2021, "Initializing new word embeddings"; also the centre
 * of what transformers draws when it resizes). As an input it lies in the middle of the embeddings that the first
 * block knows. As a head row its logit is the mean logit, whose exponential is at most the mean exponential, so n rows
 * take at most n / (vocab_size + n) of the probability and the model's other predictions stay; zeros would not do,
 * since a logit of 0 can be the largest of all.
 *
 * A table that has `size` rows already is left alone: published tables are often longer than their tokenizer.
 *
 * @returns the model with the new `vocab_size`. It takes over the parameters of the model given, which is spent
 *   (unless nothing had to grow, then it is that model)
 * @throws ConfigError for a size that is not a positive integer; AdapterError when the model has an adapter, whose
 *   base would change under it
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
  }
  return new Llama(Object.freeze({ ...model.config, vocab_size }), parameters);
}

function withMeanRows(table_VE: tf.Variable, numRows: number): tf.Variable {
  const [V, E] = table_VE.shape;
  const mean_1E = tf.tidy(() =>
    // A product with ones: TensorFlow.js's mean over rows would transpose the whole table first.
    tf.variable(tf.div(tf.matMul(tf.ones([1, V]), table_VE as tf.Tensor as tf.Tensor2D), V), false),
  );
  try {
    const bits = bfloat16Bits(table_VE);
    if (!bits) {
      return tf.tidy(() =>
        tf.variable(tf.concat([table_VE as tf.Tensor, tf.tile(mean_1E, [numRows, 1])], 0)),
      );
    }
    // In float32 the table would take twice its memory a second time.
    storeAsBfloat16(mean_1E);
    const grown = new Uint16Array((V + numRows) * E);
    grown.set(bits);
    for (let row = V; row < V + numRows; row++) grown.set(bfloat16Bits(mean_1E)!, row * E);
    return bfloat16Variable(grown, [V + numRows, E]);
  } finally {
    mean_1E.dispose();
  }
}
