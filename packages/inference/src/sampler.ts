import { ContextLengthError, contextLengthOf, type Llama } from '@meap/llama-model';
import type { Tokenizer } from '@meap/token-dataset';
import { generateTexts } from './generate-texts.ts';

/** A prompt to sample from while a model trains. */
export interface SamplePrompt {
  /** What the row of the sample says about it. */
  readonly prompt: string;
  readonly ids: ArrayLike<number>;
}

/** Options of {@link createSampler}. */
export interface SamplerOptions {
  /** A sample ends earlier where the model's context does. */
  readonly maxNewTokens: number;
  readonly temperature: number;
  readonly seed: number;
}

/** Keys and values held at once: prompts that fit together are decoded together. */
const CACHE_BYTES = 64 * 2 ** 20;

/**
 * Returns a function that continues every prompt with the model as it is at a step; the step is part of the seed.
 *
 * @throws ContextLengthError for a prompt that leaves no room in the model's context
 */
export function createSampler(
  model: Llama,
  tokenizer: Tokenizer,
  prompts: readonly SamplePrompt[],
  { maxNewTokens, temperature, seed }: SamplerOptions,
): (step: number) => Promise<{ prompt: string; text: string }[]> {
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
    const seeded = requests.map((request) => ({ ...request, seed: seed + step }));
    const texts = await generateTexts(model, tokenizer, seeded, { cacheBytes: CACHE_BYTES });
    return texts.map(({ text }, i) => ({ prompt: prompts[i].prompt, text }));
  };
}
