import { createLlama, generate, parseConfig } from '@meap/llama-model';
import { setBackend } from '@meap/tensor-kernels';
import { ChatEncoder, loadChatTemplate, specialTokensOf } from '@meap/token-dataset';
import { beforeAll, expect, it } from 'vitest';
import { type ChatModel, streamAnswer } from './chat-answers.ts';
import { tinyTokenizer } from './testing.ts';

let chatModel: ChatModel;
beforeAll(async () => {
  await setBackend('cpu');
  const tokenizer = tinyTokenizer;
  const template = loadChatTemplate('nowhere', specialTokensOf(tokenizer), {
    choice: 'alpaca',
    setting: 'template',
  });
  const config = parseConfig({
    vocab_size: tokenizer.vocabSize,
    hidden_size: 16,
    intermediate_size: 32,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    max_position_embeddings: 256,
    initializer_range: 0.5,
  });
  const model = createLlama(config, { seed: 3 });
  chatModel = { model, tokenizer, encoder: new ChatEncoder(tokenizer, template) };
});

it('yields the text of the answer without incomplete characters', async () => {
  const { model, tokenizer, encoder } = chatModel;
  const question = [{ role: 'user' as const, content: 'What does the captain see?' }];
  for (const seed of [1, 2, 3]) {
    const options = { temperature: 1.5, seed, maxNewTokens: 60, stopIds: [] };
    const pieces: string[] = [];
    for await (const piece of streamAnswer(chatModel, question, options)) pieces.push(piece);
    const ids: number[] = [];
    const special = new Set(encoder.specialIds);
    for await (const id of generate(model, await encoder.encodePrompt(question), options)) {
      if (!special.has(id)) ids.push(id);
    }
    const text = await tokenizer.decode(ids);
    expect(pieces.join('')).toBe(text);
    expect(pieces.length).toBeGreaterThan(10);
  }
});
