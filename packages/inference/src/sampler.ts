import { ContextLengthError, contextLengthOf, type Llama } from '@meap/llama-model';
import type { Tokenizer } from '@meap/token-dataset';
import { generateTexts } from './generate-texts.ts';

/** A prompt for samples during training. */
export interface SamplePrompt {
  /** The prompt as stored with the sample. */
  readonly prompt: string;
  readonly ids: ArrayLike<number>;
  /** What follows the prompt in its text, as stored with the sample. */
  readonly reference?: string;
}

/** A prompt and its continuation by a model. */
export type Sample = Omit<SamplePrompt, 'ids'> & { readonly text: string };

/** Options of {@link createSampler}. */
export interface SamplerOptions {
  /** At most the rest of the model's context. */
  readonly maxNewTokens: number;
  readonly temperature: number;
  readonly seed: number;
}

/** Returns the seed of the text number `offset`: wraps around at 2^53, beyond which seeds would round to the same number. */
export function laterSeed(seed: number, offset: number): number {
  return seed < 2 ** 53 - offset ? seed + offset : seed - (2 ** 53 - offset);
}

/** Maximum size of the key/value caches of a batch. */
const CACHE_BYTES = 64 * 2 ** 20;

/**
 * Returns a function that continues every prompt with the current model; the step is added to the seed.
 *
 * @throws ContextLengthError for a prompt that fills the model's context
 */
export function createSampler(
  model: Llama,
  tokenizer: Tokenizer,
  prompts: readonly SamplePrompt[],
  { maxNewTokens, temperature, seed }: SamplerOptions,
): (step: number) => Promise<Sample[]> {
  const context = contextLengthOf(model.config);
  const requests = prompts.map(({ prompt, ids }) => {
    const room = context - ids.length;
    if (room > 0) return { prompt: Array.from(ids), maxNewTokens: Math.min(maxNewTokens, room), temperature };
    throw new ContextLengthError(
      `samples: got a prompt of ${ids.length} tokens, ${JSON.stringify(prompt)}, expected fewer than the model's context ` +
        `of ${context}; shorten it`,
    );
  });
  return async (step) => {
    const seeded = requests.map((request) => ({ ...request, seed: laterSeed(seed, step) }));
    const texts = await generateTexts(model, tokenizer, seeded, { cacheBytes: CACHE_BYTES });
    return texts.map(({ text }, i) => {
      const { ids, ...stored } = prompts[i];
      return { ...stored, text };
    });
  };
}
