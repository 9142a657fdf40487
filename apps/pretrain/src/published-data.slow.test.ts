/** Runs the recipes on small data in the published layout, with overrides that shrink the models. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { setFlags } from '@meap/test-support';
import { trainBpeTokenizer } from '@meap/token-dataset';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { corpus, Workbench } from './testing.ts';

const recipes = join(import.meta.dirname, '../../../recipes/pretrain');
// `paper` is the base of the others and has neither shape nor steps.
// Each `-ntp` recipe is its twin with a mask ratio of 0, which recipes.test.ts checks: one of them is enough.
const names = readdirSync(recipes).filter(
  (name) => name.endsWith('.yaml') && !/^litbank-|^paper\.yaml|(?<!^100m)-ntp\.yaml/.test(name),
);
const bench = new Workbench();
afterAll(() => bench.dispose());

function write(name: string, content: string | Uint8Array): void {
  const path = bench.path(name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

/** Returns a zstd frame (RFC 8878) with one raw block. */
function zstd(content: string): Buffer {
  const bytes = Buffer.from(content);
  const header = Buffer.alloc(12);
  header.writeUInt32LE(0xfd2fb528, 0);
  header.writeUInt8(0xa0, 4);
  header.writeUInt32LE(bytes.length, 5);
  header.writeUIntLE(1 | (bytes.length << 3), 9, 3);
  return Buffer.concat([header, bytes]);
}

const documents = corpus(600).split('\n---\n').filter(Boolean);
const lines = (more: object) => documents.map((text) => `${JSON.stringify({ text, ...more })}\n`).join('');

beforeAll(async () => {
  const c4 = gzipSync(lines({ timestamp: '2019-04-25T12:57:54Z', url: 'https://example.org/' }));
  for (const i of [0, 1]) write(`c4/en/c4-train.0000${i}-of-01024.json.gz`, c4);
  write('c4/en/c4-validation.00000-of-00008.json.gz', c4);
  for (const source of ['CommonCrawl', 'C4', 'Github', 'ArXiv', 'Book', 'Wikipedia', 'StackExchange']) {
    const name = `RedPajama${source}`;
    write(
      `slimpajama/${name}/example_train_0.jsonl.zst`,
      zstd(lines({ meta: { redpajama_set_name: name } })),
    );
  }
  const tokenizer = await trainBpeTokenizer({ documents, vocabSize: 300 });
  tokenizer.save(bench.path('llama2'));
});

/** Returns overrides with the paths of data, tokenizer and cache. */
function pathsOf(name: string): string[] {
  const at = (...parts: string[]) => bench.path(...parts);
  const cache = `data.cache_dir=${at('cache')}`;
  // One of its texts is enough here.
  if (/^quickstart/.test(name)) return [cache, 'data.npm=[moby-dick]'];
  if (/^extend/.test(name)) {
    const folders = readdirSync(at('slimpajama'));
    const files = (folder: string) => `[${JSON.stringify(at('slimpajama', folder, '*.jsonl.zst'))}]`;
    const key = (folder: string) => folder.slice('RedPajama'.length).toLowerCase();
    return [cache, ...folders.map((folder) => `data.sources.${key(folder)}.files=${files(folder)}`)];
  }
  const files = (split: string) => JSON.stringify([at('c4/en', `c4-${split}.*.json.gz`)]);
  const data = [`data.files=${files('train')}`, `data.validation_files=${files('validation')}`];
  return [cache, ...data, `tokenizer.path=${at('llama2')}`];
}

const TINY = [
  ...['num_hidden_layers=1', 'hidden_size=16', 'intermediate_size=32', 'num_attention_heads=2'],
  ...['num_key_value_heads=2'],
].map((key) => `model.${key}`);
const SHORT = [
  'precision=float32',
  'train.global_batch_size=2',
  'train.micro_batch_size=1',
  'train.max_steps=1',
];
const STEPS = ['validation.max_rows=2', 'samples.max_new_tokens=4'];

const run = (out: string, name: string, sets: readonly string[], ...more: string[]) => {
  bench.recipe = join(recipes, name);
  return bench.pretrain(out, ...setFlags(...sets), ...more);
};

it.each(names.filter((name) => !/^extend/.test(name)))('%s trains', async (name) => {
  const length = ['train.sequence_length=64', 'model.max_position_embeddings=64'];
  const sets = [...pathsOf(name), ...TINY, ...SHORT, ...STEPS, ...length];
  const { code, stderr } = await run(`run-${name}`, name, sets);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
});

it.each(names.filter((name) => /^extend/.test(name)))('%s extends a trained model', async (name) => {
  const from = `model.from=${bench.path('run-100m.yaml')}`;
  const long = ['extension.context_length=128', 'train.sequence_length=128'];
  const sets = [...pathsOf(name), from, ...SHORT, ...STEPS, ...long];
  const { code, stderr } = await run(`run-${name}`, name, sets);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
});
