import { Decoder, type GenerateOptions } from './decoder.ts';
import type { Llama } from './model.ts';

/**
 * Generates from a prompt and yields each new id as soon as it is known.
 *
 * Processes the prompt once and then one token a step through a key/value cache. Yields the stop id last, as transformers
 * does. Leaving the loop early frees all tensors.
 *
 * @param promptIds at least one token id
 * @throws ContextLengthError if prompt and new tokens exceed `contextLengthOf`
 * @throws GenerateOptionError, TokenInputError for invalid options and ids
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
