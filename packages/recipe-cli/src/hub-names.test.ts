import { mkdirSync, readFileSync } from 'node:fs';
import { FakeHub, TemporaryFolder } from '@meap/test-support';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { captureOutput } from './capture-output.ts';
import { fetchHubNames, showDownloads } from './hub-names.ts';
import { readRecipe } from './read-recipe.ts';

const rules = {
  paths: [
    ['model', 'path'],
    ['data', 'files'],
  ],
  hub: { 'model.path': 'model' },
} as const;
const hub = new FakeHub();
const folder = new TemporaryFolder();
let endpoint: string;

beforeAll(async () => {
  hub.repositories.set('me/tiny', {
    files: { 'config.json': '{}', 'model.safetensors': 'weights', 'tokenizer.json': '{}' },
  });
  hub.repositories.set('datasets/me/texts', {
    files: { 'a/1.jsonl': '{"text":"one"}', 'a/2.jsonl': '{"text":"two"}' },
  });
  endpoint = await hub.start();
});
afterAll(async () => {
  await hub.close();
  folder.dispose();
});
beforeEach(() => {
  vi.stubEnv('HF_ENDPOINT', endpoint);
  vi.stubEnv('HF_HUB_CACHE', folder.path('cache'));
});
afterEach(() => void vi.unstubAllEnvs());

const snapshot = () => folder.path('cache/models--me--tiny/snapshots', hub.commitOf('me/tiny'));

describe('names of the Hub in a recipe', () => {
  it('become paths: a model its folder, data their files, in the order of the list', async () => {
    folder.write(
      'r.yaml',
      'model: {path: me/tiny}\ndata: {files: [own.jsonl, "hf://datasets/me/texts/a/*.jsonl"]}\n',
    );
    const file = folder.path('r.yaml');
    const fetched = await fetchHubNames(file, [], rules);
    const { model, data } = readRecipe(file, fetched, rules) as {
      model: { path: string };
      data: { files: string[] };
    };
    expect(model.path).toBe(snapshot());
    expect(data.files[0]).toBe(folder.path('own.jsonl'));
    expect(data.files.slice(1).map((path) => readFileSync(path, 'utf8'))).toEqual([
      '{"text":"one"}',
      '{"text":"two"}',
    ]);
  });

  it('come after folders of the same name', async () => {
    mkdirSync(folder.path('me/tiny'), { recursive: true });
    folder.write('local.yaml', 'model: {path: me/tiny}\n');
    expect(await fetchHubNames(folder.path('local.yaml'), [], rules)).toEqual([]);
    expect(await fetchHubNames(folder.path('local.yaml'), ['model.path=hf://me/tiny'], rules)).toHaveLength(
      1,
    );
  });

  it('that cannot be fetched are refused with their key', async () => {
    folder.write('typo.yaml', 'model: {path: me/typo}\n');
    await expect(fetchHubNames(folder.path('typo.yaml'), [], rules)).rejects.toThrow(
      `model.path: me/typo: no model of this name at ${endpoint}, or it is private: then set HF_TOKEN`,
    );
  });

  it('are refused where nobody fetches them', () => {
    folder.write('plain.yaml', 'data: {files: ["hf://datasets/me/texts/a/1.jsonl"]}\n');
    expect(() => readRecipe(folder.path('plain.yaml'), [], rules)).toThrow(
      /^data\.files: got "hf:.*expected a path on this machine; a program calls fetchHubNames before/,
    );
  });
});

it('shows a download at its start and its end', async () => {
  const { stderr } = await captureOutput(async (io) => {
    const { onEvent, close } = showDownloads(io);
    const progress = (bytes: number) =>
      onEvent({ type: 'progress', name: 'me/tiny', files: 3, bytes, totalBytes: 4_000_000 });
    for (const bytes of [0, 1_000_000, 4_000_000]) progress(bytes);
    onEvent({ type: 'waiting', name: 'me/tiny' });
    close();
    return 0;
  });
  expect(stderr).toMatch(
    /^download {5}me\/tiny: 3 files, 3\.81 MiB\ndownload {5}me\/tiny: 3\.81 MiB of 3\.81 MiB, \S+ \w+\/s\ndownload {5}me\/tiny: another process/,
  );
});
