import { Decoder, type GenerateOptions } from './decoder.ts';
import type { Llama } from './model.ts';

/**
 * Continues a prompt, yielding each new id as soon as it is known.
 *
 * Reads the prompt once and then one token a step through a key/value cache. A stop id is yielded and ends the
 * sequence, as in transformers. Leaving the loop early frees everything.
 *
 * @param promptIds at least one token id
 * @throws ContextLengthError when prompt and new tokens do not fit `contextLengthOf`
 * @throws GenerateOptionError, TokenInputError for impossible options and ids
 */
export async function* generate(
  model: Llama,
  promptIds: ArrayLike<number>,
  options: GenerateOptions = {},
): AsyncGenerator<number, void, undefined> {
  const decoder = new Decoder(model);
  try {
    decoder.start(promptIds, options);
    while (decoder.size > 0) {
      for (const { id } of await decoder.step()) yield id;
    }
  } finally {
    decoder.dispose();
  }
}
