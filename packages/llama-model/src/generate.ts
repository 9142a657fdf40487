import * as tf from '@tensorflow/tfjs';
import { ContextLengthError, GenerateOptionError } from './errors.ts';
import { KeyValueCache } from './key-value-cache.ts';
import type { Llama } from './model.ts';
import { randomKey, uniform } from './random.ts';
import { requireSamplingOptions, type SamplingOptions, sampleToken } from './sampling.ts';

/** Options of `generate`. */
export interface GenerateOptions extends SamplingOptions {
  /** Most tokens to add; by default as many as the context has room for. */
  maxNewTokens?: number;
  /** Ids that end the text; by default the config's `eos_token_id`. */
  stopIds?: readonly number[];
  /** With a temperature: the same seed draws the same text. 0 by default. */
  seed?: number;
}

/**
 * Continues a prompt, yielding each new id as soon as it is known.
 *
 * Reads the prompt once and then one token a step through a key/value cache. A stop id is yielded and ends the
 * sequence, as in transformers. Leaving the loop early frees everything.
 *
 * @param promptIds at least one token id
 * @throws ContextLengthError when prompt and new tokens do not fit `max_position_embeddings`
 * @throws GenerateOptionError, TokenInputError for impossible options and ids
 */
export async function* generate(
  model: Llama,
  promptIds: ArrayLike<number>,
  options: GenerateOptions = {},
): AsyncGenerator<number, void, undefined> {
  const { max_position_embeddings: limit, eos_token_id: eos } = model.config;
  if (promptIds.length === 0) {
    throw new GenerateOptionError('prompt: got no ids, expected at least one; begin with the BOS id');
  }
  const { maxNewTokens = limit - promptIds.length, seed = 0 } = options;
  if (!Number.isInteger(maxNewTokens) || (maxNewTokens < 0 && options.maxNewTokens !== undefined)) {
    throw new GenerateOptionError(`maxNewTokens: got ${maxNewTokens}, expected a non-negative integer`);
  }
  if (maxNewTokens < 0 || promptIds.length + maxNewTokens > limit) {
    throw new ContextLengthError(
      `the prompt's ${promptIds.length} tokens and ${Math.max(0, maxNewTokens)} new ones exceed the context of ` +
        `${limit}; shorten the prompt or lower maxNewTokens`,
    );
  }
  requireSamplingOptions(options);
  const stopIds = new Set(options.stopIds ?? (typeof eos === 'number' ? [eos] : (eos ?? [])));
  const key = randomKey(seed, 'generate');

  const cache = new KeyValueCache();
  try {
    let unread = Int32Array.from(promptIds);
    for (let step = 0; step < maxNewTokens; step++) {
      const logits = await nextLogits(model, unread, cache);
      const id = sampleToken(logits, options, uniform(key, step));
      yield id;
      if (stopIds.has(id)) return;
      unread = Int32Array.of(id);
    }
  } finally {
    cache.dispose();
  }
}

/** Logits of the token after `ids`; only the last position goes through the head. */
async function nextLogits(model: Llama, ids: Int32Array, cache: KeyValueCache): Promise<Float32Array> {
  const logits = tf.tidy(() => {
    const hidden_BTE = model.hidden(tf.tensor2d(ids, [1, ids.length], 'int32'), { cache });
    return model.unembed(hidden_BTE.slice([0, ids.length - 1], [1, 1]));
  });
  try {
    return (await logits.data()) as Float32Array;
  } finally {
    logits.dispose();
  }
}
