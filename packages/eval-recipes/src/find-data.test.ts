import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FakeHub, TemporaryFolder } from '@meap/test-support';
import { afterAll, expect, it, onTestFinished, vi } from 'vitest';
import { findData } from './find-data.ts';

const folder = new TemporaryFolder();
afterAll(() => folder.dispose());

it('passes over results of earlier runs in the data folder, which are named after their tasks', async () => {
  const data = folder.directory;
  const out = join(data, 'runs/first');
  mkdirSync(join(out, 'tasks'), { recursive: true });
  const file = join(data, 'piqa_valid.jsonl');
  for (const path of [file, join(out, 'tasks/piqa_valid.jsonl')]) writeFileSync(path, '{}\n');
  await expect(findData(['piqa'], { data: { folder: data } })).rejects.toThrow('got 2 matching files');
  writeFileSync(join(out, 'results.json'), '{}');
  expect(await findData(['piqa'], { data: { folder: data } })).toEqual({ piqa: [file] });
  writeFileSync(join(data, 'results.json'), '{}');
  expect(await findData(['piqa'], { data: { folder: data } })).toEqual({ piqa: [file] });
});

it('fetches from the Hub what it has, offline from the cache, and refuses the rest by name', async () => {
  const hub = new FakeHub();
  const files: Record<string, string> = {
    'data/test-00000-of-00001.parquet': '{}',
    'data/train-0.parquet': '{}',
  };
  hub.repositories.set('datasets/allenai/sciq', { files });
  vi.stubEnv('HF_ENDPOINT', await hub.start());
  vi.stubEnv('HF_HUB_CACHE', folder.path('hub'));
  onTestFinished(async () => {
    vi.unstubAllEnvs();
    await hub.close();
  });
  const names: string[] = [];
  const find = (...sets: string[]) =>
    findData(
      sets,
      { data: { folder: 'hub', wsc273: 'mine.jsonl' } },
      { onDownload: ({ name }) => names.push(name) },
    );
  const message = (...sets: string[]) =>
    find(...sets).then(
      () => expect.fail('found'),
      (error) => error.message,
    );

  // No request where one of the data sets cannot be fetched.
  expect(await message('sciq', 'logiqa', 'kv_retrieval')).toMatch(
    /data\.logiqa: hub does not fetch it, expected LogiQA, test split; get it from EleutherAI\/logiqa on the Hugging Face hub, and set its file with --set data\.logiqa=FILE\ndata\.kv_retrieval: hub does not/,
  );
  expect(hub.requests).toEqual([]);
  const found = await find('sciq', 'wsc273');
  expect(found.wsc273).toEqual(['mine.jsonl']);
  expect(found.sciq.map((file) => file.split(/[\\/]/).slice(-2))).toEqual([
    ['data', 'test-00000-of-00001.parquet'],
  ]);
  expect(hub.downloads).toHaveLength(1);
  expect(names).toContain('datasets/allenai/sciq');
  vi.stubEnv('HF_HUB_OFFLINE', '1');
  const { length } = hub.requests;
  expect((await find('sciq')).sciq).toEqual(found.sciq);
  expect(await message('sciq_train')).toBe(
    'data.sciq_train: datasets/allenai/sciq: nothing matches data/train-*.parquet; it has data/test-00000-of-00001.parquet',
  );
  expect(await message('piqa')).toMatch(/^data\.piqa: datasets\/baber\/piqa: is not in the cache/);
  expect(hub.requests).toHaveLength(length);
  vi.stubEnv('HF_HUB_OFFLINE', '');
  expect(await message('piqa')).toMatch(/^data\.piqa: datasets\/baber\/piqa: no data set of this name/);
  hub.repositories.get('datasets/allenai/sciq')!.isGated = true;
  expect(await message('sciq')).toMatch(
    /^data\.sciq: .*access to this data set is restricted; accept its terms/,
  );
});
