/** The client of `@meap/inference` on this server: the answers of the same model in memory. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { languageModelOf, openRemoteModel } from '@meap/inference';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { closeRequests, serve, tinyModel, tinyTokenizer } from './testing.ts';

afterAll(closeRequests);

test('scores and generates as the model in memory', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'meap-remote-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  tinyTokenizer.save(folder);
  const { url } = await serve();
  const remote = await openRemoteModel({ endpoint: `${url}/`, model: 'tiny', tokenizer: folder });
  onTestFinished(() => remote.dispose());
  const local = await languageModelOf(tinyModel, tinyTokenizer);
  onTestFinished(() => local.dispose());
  expect(remote).toMatchObject({ name: 'tiny', contextLength: 126 });
  expect(remote.tokenizer.encode('The captain')).toEqual(local.tokenizer.encode('The captain'));

  const ids = (seed: number, length: number) =>
    Array.from({ length }, (_, i) => ((i + 3) * (seed + 7) * 31) % 320);
  const requests = Array.from({ length: 20 }, (_, i) => ({
    context: ids(i, 1 + ((i * 7) % 40)),
    continuation: ids(i + 50, 1 + (i % 5)),
  }));
  requests.push({ context: ids(1, 120), continuation: ids(2, 7) });
  // The most probable continuation too.
  const [{ ids: greedy }] = await local.generate([{ prompt: ids(1, 9), maxNewTokens: 3 }]);
  requests.push({ context: ids(1, 9), continuation: [...greedy] });
  const [got, want] = [await remote.score(requests), await local.score(requests)];
  for (const [i, { logLikelihood, isGreedy }] of want.entries()) {
    expect(got[i].logLikelihood).toBeCloseTo(logLikelihood, 4);
    expect(got[i].isGreedy).toBe(isGreedy);
  }
  expect(got.at(-1)!.isGreedy).toBe(true);

  const texts = Array.from({ length: 10 }, (_, i) => ({
    prompt: ids(i, 5 + i),
    maxNewTokens: 12,
    ...(i % 2 === 1 && { temperature: 0.9, seed: i }),
    ...(i % 3 === 1 && { stop: ['a'] }),
  }));
  const [remotely, locally] = [await remote.generate(texts), await local.generate(texts)];
  for (const [i, { text, finish }] of locally.entries()) expect(remotely[i]).toMatchObject({ text, finish });
});
