/**
 * Hostile and damaged files: each is read, or refused with an error of one line.
 *
 * Seeds are fixed, so that runs are reproducible; MEAP_FUZZ_RUNS sets the runs per target (default 60).
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  ChatTemplate,
  DatasetError,
  loadTokenizer,
  openTokenDataset,
  prepareTokens,
  readDocuments,
  readRecords,
  TemplateError,
  TokenizerError,
} from './index.ts';

const RUNS = Number(process.env.MEAP_FUZZ_RUNS ?? 60);
const root = mkdtempSync(join(tmpdir(), 'meap-fuzz-'));
const fixture = (name: string) => readFileSync(new URL(`../fixtures/${name}`, import.meta.url));
afterAll(() => rmSync(root, { recursive: true }));

/** Bytes that formats parse as counts, lengths and terminators. */
const NASTY = [
  [0xff, 0xff, 0xff, 0xff],
  [0xff, 0xff, 0xff, 0x7f],
  [0, 0, 0, 0x80],
  [0, 0, 0, 0, 0, 0, 0, 0x80],
  [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
  [...Buffer.from('1e999')],
  [...Buffer.from('"\\ud800')],
  [...Buffer.from('[[[[[[[[')],
  [...Buffer.from('{"__proto__":')],
].map((bytes) => Uint8Array.from(bytes));

/** A few mutations of valid bytes: replaced, removed, doubled or truncated pieces, flipped bits. */
function damaged(good: Uint8Array): fc.Arbitrary<Buffer> {
  const place = fc.nat({ max: good.length });
  const change = fc.oneof(
    fc.record({ at: place, drop: fc.nat({ max: 8 }), insert: fc.uint8Array({ maxLength: 8 }) }),
    fc.record({ at: place, drop: fc.constantFrom(0, 4, 8), insert: fc.constantFrom(...NASTY) }),
    fc.record({ at: place, bit: fc.nat({ max: 7 }) }),
    fc.record({ at: place, cut: fc.constant(true) }),
    fc.record({ at: place, double: fc.nat({ max: 300 }) }),
  );
  return fc.array(change, { minLength: 1, maxLength: 4 }).map((changes) => {
    let bytes = Buffer.from(good);
    for (const change of changes) {
      const at = Math.min(change.at, bytes.length);
      if ('insert' in change) {
        bytes = Buffer.concat([bytes.subarray(0, at), change.insert, bytes.subarray(at + change.drop)]);
      } else if ('bit' in change && at < bytes.length) bytes[at] ^= 1 << change.bit;
      else if ('cut' in change) bytes = bytes.subarray(0, at);
      else if ('double' in change) {
        bytes = Buffer.concat([bytes.subarray(0, at + change.double), bytes.subarray(at)]);
      }
    }
    return bytes;
  });
}

type ErrorClass = new (...args: never[]) => Error;

/** Errors must be of a known class and one short line, and memory must stay bounded. */
async function expectReadOrRefused(read: () => unknown, classes: ErrorClass[]): Promise<boolean> {
  const before = process.memoryUsage().rss;
  let refused = false;
  try {
    await read();
  } catch (error) {
    refused = true;
    const known = classes.some((known) => error instanceof known);
    if (!known) throw error;
    expect((error as Error).message).not.toContain('\n');
    expect((error as Error).message.length).toBeLessThan(2000);
  }
  expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 30);
  return refused;
}

async function fuzz(good: Uint8Array, classes: ErrorClass[], read: (bytes: Buffer) => unknown, runs = RUNS) {
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(damaged(good), async (bytes) => {
      refused += Number(await expectReadOrRefused(() => read(bytes), classes));
    }),
    { numRuns: runs, seed: 7 },
  );
  // Some files must be refused, and valid ones must be read.
  expect(refused).toBeGreaterThan(0);
  await read(Buffer.from(good));
}

async function drain(source: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of source);
}

describe('texts', () => {
  const lines = Array.from({ length: 20 }, (_, i) =>
    JSON.stringify({ text: `Call me Ishmael, ${i}.`, meta: { i } }),
  );
  const jsonl = Buffer.from(`${lines.join('\n')}\n`);

  it.each([
    ['docs.jsonl', jsonl],
    ['docs.jsonl.gz', gzipSync(jsonl)],
    ['docs.json', Buffer.from(`[${lines.join(',\n')}]`)],
    ['docs.data.json.gz', gzipSync(`{"version": 1, "data": [${lines.join(', ')}]}`)],
    [
      'docs.objects.json',
      Buffer.from(lines.map((line) => JSON.stringify(JSON.parse(line), null, 2)).join('\n')),
    ],
    ['docs.tsv', Buffer.from('text\tlabel\n"a ""quoted"" one"\t1\nplain\t2\n')],
    ['docs.jsonl.zst', fixture('documents.jsonl.zst')],
    ['docs.parquet', fixture('documents.none.parquet')],
    ['docs.snappy.parquet', fixture('documents.snappy.parquet')],
    ['docs.gzip.parquet', fixture('documents.gzip.parquet')],
    ['docs.zstd.parquet', fixture('documents.zstd.parquet')],
    ['docs.lz4.parquet', fixture('documents.lz4.parquet')],
    ['docs.brotli.parquet', fixture('documents.brotli.parquet')],
  ])('%s is read or refused', async (name, good) => {
    const path = join(root, name);
    await fuzz(good, [DatasetError], async (bytes) => {
      writeFileSync(path, bytes);
      await drain(readDocuments({ files: path }));
    });
  });

  it.each([
    ['rows.json', Buffer.from(`[${lines.join(',')}]`)],
    ['rows.jsonl', jsonl],
    ['rows.csv', Buffer.from('text,label\n"a ""quoted"" one",1\nplain,2\n"two\nlines",3\n')],
    ['rows.parquet', fixture('documents.snappy.parquet')],
  ])('records of %s are read or refused', async (name, good) => {
    const path = join(root, name);
    // An unhandled rejection after a failed Parquet read shows up once in thousands of files.
    const runs = name === 'rows.parquet' ? Math.max(RUNS, 1000) : RUNS;
    const read = async (bytes: Buffer) => {
      writeFileSync(path, bytes);
      await drain(readRecords({ files: path }));
    };
    await fuzz(good, [DatasetError], read, runs);
  });

  it('a deeply nested record is read or refused', async () => {
    const path = join(root, 'deep.jsonl');
    for (const depth of [1e3, 1e5, 1e6]) {
      writeFileSync(
        path,
        `${'['.repeat(depth)}${']'.repeat(depth)}\n{"text":${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}}\n`,
      );
      await expectReadOrRefused(() => drain(readRecords({ files: path })), [DatasetError]);
      await expectReadOrRefused(() => drain(readDocuments({ files: path })), [DatasetError]);
    }
  });

  it('a bomb of compressed zeros is refused before it fills memory', async () => {
    // 600 MB without a line feed, compressed to 600 kB.
    const path = join(root, 'bomb.jsonl.gz');
    writeFileSync(path, gzipSync(Buffer.alloc(600e6)));
    await expect(drain(readDocuments({ files: path }))).rejects.toThrow(/larger than \d+ bytes/);
  });
});

describe('prepared data', () => {
  let good: { folder: string; shard: Buffer; manifest: Buffer };
  beforeAll(async () => {
    const text = join(root, 'corpus.txt');
    writeFileSync(text, 'Call me Ishmael.\n---\nSome years ago.\n---\n'.repeat(50));
    const folder = join(root, 'tokens');
    const tokenizer = loadTokenizer(new URL('../fixtures/trained', import.meta.url).pathname);
    await prepareTokens({ files: text, separator: '---', tokenizer, outputDirectory: folder });
    const name = readdirSync(folder, { recursive: true, encoding: 'utf8' }).find((file) =>
      file.endsWith('.bin'),
    )!;
    good = {
      folder: name,
      shard: readFileSync(join(folder, name)),
      manifest: readFileSync(join(folder, 'manifest.json')),
    };
  });

  const read = (name: 'shard' | 'manifest') => (bytes: Buffer) => {
    const folder = join(root, 'opened');
    mkdirSync(join(folder, good.folder, '..'), { recursive: true });
    writeFileSync(join(folder, 'manifest.json'), name === 'manifest' ? bytes : good.manifest);
    writeFileSync(join(folder, good.folder), name === 'shard' ? bytes : good.shard);
    const dataset = openTokenDataset(folder, { verify: true });
    dataset.readTokens(0, Math.min(dataset.numTokens, 100));
    dataset.readDocument(dataset.numDocuments - 1);
    dataset.bytesOfTokens(0, Math.min(dataset.numTokens, 10));
    dataset.close();
  };

  it('of damaged shards are refused', () => fuzz(good.shard, [DatasetError], read('shard')));

  it('of damaged manifests are read or refused', () => fuzz(good.manifest, [DatasetError], read('manifest')));

  it('never refer to files outside their folder', () => {
    for (const path of ['../../secret.bin', '/etc/passwd', `${'a'.repeat(16)}/../../x.bin`]) {
      const manifest = JSON.parse(good.manifest.toString());
      manifest.shards[0].file = path;
      expect(() => read('manifest')(Buffer.from(JSON.stringify(manifest)))).toThrow(/shard entry is damaged/);
    }
  });
});

describe('tokenizers', () => {
  const good = fixture('trained/tokenizer.json');

  it('of damaged tokenizer.json are loaded or refused, and encode or refuse', async () => {
    mkdirSync(join(root, 'tokenizer'), { recursive: true });
    await fuzz(good, [TokenizerError], async (bytes) => {
      writeFileSync(join(root, 'tokenizer/tokenizer.json'), bytes);
      const tokenizer = loadTokenizer(join(root, 'tokenizer'));
      await tokenizer.decode(await tokenizer.encode('Call me Ishmael.'));
    });
  });

  it('with parts of other kinds or sizes are loaded or refused', async () => {
    const parsed = JSON.parse(good.toString());
    const parts = fc.constantFrom(
      ...Object.keys(parsed),
      'model.vocab',
      'model.merges',
      'model.type',
      'added_tokens',
    );
    const values = fc.oneof(
      fc.constantFrom(null, [], {}, '', -1, 1e300, 2 ** 32, 2 ** 53, true, [[]], { type: 'Nothing' }),
      fc.json().map((text) => JSON.parse(text)),
    );
    await fc.assert(
      fc.asyncProperty(parts, values, async (part, value) => {
        const copy = structuredClone(parsed);
        const keys = part.split('.');
        const parent = keys.slice(0, -1).reduce((at, key) => at[key], copy);
        parent[keys.at(-1)!] = value;
        writeFileSync(join(root, 'tokenizer/tokenizer.json'), JSON.stringify(copy));
        await expectReadOrRefused(async () => {
          const tokenizer = loadTokenizer(join(root, 'tokenizer'));
          await tokenizer.decode(await tokenizer.encode('Call me Ishmael.'));
        }, [TokenizerError]);
      }),
      { numRuns: RUNS, seed: 11 },
    );
  });
});

describe('chat templates', () => {
  const conversation = [
    { role: 'user', content: 'Hi' },
    { role: 'assistant', content: 'Hello' },
  ] as const;
  const render = (source: string) =>
    new ChatTemplate('hostile', source, { bos_token: '<s>' }).render(conversation);

  it('of damaged text render or are refused', async () => {
    const good =
      "{{ bos_token }}{% for message in messages %}{% if loop.first and message['role'] != 'user' %}" +
      "{{ raise_exception('first the user') }}{% endif %}{{ '<|' + message.role + '|>' + message.content | trim }}" +
      '{% endfor %}{% macro m(x, y=1) %}{{ x[::-1] ~ y }}{% endmacro %}{{ m("a") }}{% set ns = namespace(i=0) %}';
    await fuzz(Buffer.from(good), [TemplateError], (bytes) => render(bytes.toString('latin1')), RUNS * 4);
  });

  it.each([
    [
      'loops for ever',
      '{% for i in range(100000000) %}{% for j in range(100000000) %}{% endfor %}{% endfor %}',
    ],
    ['calls itself', '{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}'],
    [
      'doubles a text',
      `{% set ns = namespace(x='aaaaaaaa') %}${'{% set ns.x = ns.x + ns.x %}'.repeat(40)}{{ ns.x }}`,
    ],
    ['nests deeply', `${'('.repeat(20_000)}1${')'.repeat(20_000)}`.replace(/^/, '{{ ').replace(/$/, ' }}')],
    ['looks for the machine', "{{ ''.constructor.constructor('return process')() }}"],
    [
      'looks for prototypes',
      '{{ messages.__proto__.polluted }}{% set ns = namespace() %}{% set ns.__proto__ = {} %}',
    ],
  ])('one that %s is refused, or renders text', async (_, source) => {
    await expectReadOrRefused(() => render(source), [TemplateError]);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });
});
