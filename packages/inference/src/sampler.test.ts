import { createLlama, generate, type Llama, parseConfig } from '@meap/llama-model';
import { setBackend } from '@meap/tensor-kernels';
import { beforeAll, expect, it } from 'vitest';
import { createSampler } from './sampler.ts';
import { tinyTokenizer } from './testing.ts';

const CONTEXT = 16;
let model: Llama;
beforeAll(async () => {
  await setBackend('cpu');
  const config = parseConfig({
    vocab_size: tinyTokenizer.vocabSize,
    hidden_size: 16,
    intermediate_size: 32,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    max_position_embeddings: CONTEXT,
    eos_token_id: 1,
    initializer_range: 0.5,
  });
  model = createLlama(config, { seed: 3 });
});

it('continues every prompt up to the context, with another seed at each step', async () => {
  const prompts = ['The captain', 'whales'].map((prompt) => ({ prompt, ids: [0, prompt.length] }));
  const sample = createSampler(model, tinyTokenizer, prompts, { maxNewTokens: 99, temperature: 1, seed: 5 });
  for (const step of [0, 7]) {
    const rows = await sample(step);
    for (const [i, { prompt, ids }] of prompts.entries()) {
      const alone: number[] = [];
      const options = { maxNewTokens: CONTEXT - ids.length, temperature: 1, seed: 5 + step };
      for await (const id of generate(model, ids, options)) alone.push(id);
      const text = await tinyTokenizer.decode(alone, { skipSpecialTokens: true });
      expect(rows[i]).toEqual({ prompt, text });
    }
  }
  expect(await sample(0)).not.toEqual(await sample(7));
});

it('refuses a prompt that leaves no room', () => {
  const ids = new Array(CONTEXT).fill(5);
  const options = { maxNewTokens: 1, temperature: 0, seed: 0 };
  expect(() => createSampler(model, tinyTokenizer, [{ prompt: 'long', ids }], options)).toThrow(
    'samples: got a prompt of 16 tokens, "long", expected fewer than the model\'s context of 16',
  );
});
