/** Data and a tokenizer by name, from a local server with the API of the Hub. */
import { readdirSync, readFileSync } from 'node:fs';
import { FakeHub, setFlags } from '@meap/test-support';
import { trainBpeTokenizer } from '@meap/token-dataset';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { corpus, Workbench } from './testing.ts';

const bench = new Workbench();
const hub = new FakeHub();
let endpoint: string;

beforeAll(async () => {
  const documents = corpus(200).split('\n---\n').filter(Boolean);
  (await trainBpeTokenizer({ documents, vocabSize: 300 })).save(bench.path('tokenizer'));
  const read = (name: string) => readFileSync(bench.path('tokenizer', name), 'utf8');
  hub.repositories.set('me/tokenizer', {
    files: {
      'tokenizer.json': read('tokenizer.json'),
      'tokenizer_config.json': read('tokenizer_config.json'),
    },
  });
  const lines = documents.map((text) => JSON.stringify({ text })).join('\n');
  hub.repositories.set('datasets/me/texts', {
    files: { 'en/train-0.jsonl': lines, 'en/train-1.jsonl': lines, 'en/small.jsonl': '{"text":"A whale."}' },
  });
  endpoint = await hub.start();
});
afterEach(() => void vi.unstubAllEnvs());
afterAll(async () => {
  await hub.close();
  bench.dispose();
});

it('trains on data and with a tokenizer of the Hub, and shows the download', async () => {
  vi.stubEnv('HF_ENDPOINT', endpoint);
  vi.stubEnv('HF_HUB_CACHE', bench.path('hub'));
  const sets = setFlags(
    'data={"files":["hf://datasets/me/texts@main/en/train-*.jsonl"],"separator":null}',
    'tokenizer={"path":"me/tokenizer","vocab_size":null}',
    'train.max_steps=2',
  );
  const commit = hub.commitOf('datasets/me/texts');
  const { code, stderr } = await bench.pretrain('named', ...sets);
  expect({ code, stderr }).toEqual({
    code: 0,
    stderr: expect.stringContaining('download     datasets/me/texts: 2 files'),
  });
  // The commit is in the configuration of the run, so that it resumes with the same.
  const config = readFileSync(bench.path('named/config.yaml'), 'utf8');
  expect(config).toContain(`models--me--tokenizer/snapshots/${hub.commitOf('me/tokenizer')}`);
  expect(config).toContain(`datasets--me--texts/snapshots/${commit}/en/train-1.jsonl`);

  // The branch moves on; the run stays at its commit.
  hub.repositories.get('datasets/me/texts')!.files['en/train-2.jsonl'] = '{"text":"new"}';
  const again = await bench.pretrain('named', ...sets, ...setFlags('train.max_steps=3'));
  expect(again.code, again.stderr).toBe(0);
  const later = readFileSync(bench.path('named/config.yaml'), 'utf8');
  expect(later).toBe(config.replace('max_steps: 2', 'max_steps: 3'));
});

it('fetches files while it tokenizes them, and deletes them, with keep_downloads: false', async () => {
  vi.stubEnv('HF_ENDPOINT', endpoint);
  vi.stubEnv('HF_HUB_CACHE', bench.path('stream-hub'));
  const address = 'hf://datasets/me/texts/en/*.jsonl';
  const data = {
    files: [address],
    separator: null,
    keep_downloads: false,
    cache_dir: bench.path('stream-cache'),
  };
  const set = (more: object = {}) => [
    ...setFlags(`data=${JSON.stringify({ ...data, ...more })}`, 'train.max_steps=2'),
    ...setFlags('tokenizer={"path":"me/tokenizer","vocab_size":null}'),
  ];
  const commit = hub.commitOf('datasets/me/texts');
  const plan = await bench.pretrain('streamed', ...set(), '--dry-run');
  expect(plan.code, plan.stderr).toBe(0);
  const { code, stderr } = await bench.pretrain('streamed', ...set());
  expect(code, stderr).toBe(0);
  const config = readFileSync(bench.path('streamed/config.yaml'), 'utf8');
  expect(config).toContain(`hf://datasets/me/texts@${commit}/en/*.jsonl`);
  // Only the small files, which the Hub stores in git, are in its cache.
  expect(readdirSync(bench.path('stream-hub/datasets--me--texts/blobs'))).toHaveLength(2);
  expect(readdirSync(bench.path('stream-cache'), { recursive: true }).join()).not.toContain('fetched');

  // The prepared text needs no network, and stays at its commit.
  vi.stubEnv('HF_HUB_OFFLINE', '1');
  const again = await bench.pretrain('streamed', ...set(), ...setFlags('train.max_steps=3'));
  expect(again.code, again.stderr).toBe(0);
  const own = await bench.pretrain('own', ...set({ files: ['a.jsonl'] }));
  expect(own.stderr).toMatch(/data\.keep_downloads: got false, expected true without files of the Hub/);
});
