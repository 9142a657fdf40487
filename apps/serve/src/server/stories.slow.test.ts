import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { hasStories, loadStories, serve } from './testing.ts';

test.skipIf(!hasStories)('a trained model generates its golden ids, streamed or not', async () => {
  const { model, tokenizer, requests } = await loadStories();
  const golden = JSON.parse(readFileSync(`${process.env.MEAP_DATA}/models/stories260K/golden.json`, 'utf8'));
  const { prompt, prompt_ids: promptIds, greedy_ids: ids } = golden;
  const client = await serve({ model, tokenizer, requests, name: 'stories' });
  const expected = await tokenizer.decode(ids, { skipSpecialTokens: true });
  for (const given of [prompt, promptIds]) {
    const body = { prompt: given, temperature: 0, max_tokens: ids.length - promptIds.length, echo: true };
    expect((await client.complete(body)).json.choices[0].text).toBe(expected);
    const events = await client.stream('/v1/completions', body);
    const pieces = events.slice(0, -1).map(({ choices }) => choices[0].text);
    expect(pieces.join('')).toBe(expected);
  }
});
