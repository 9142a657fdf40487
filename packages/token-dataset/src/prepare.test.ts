import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openTokenDataset } from './dataset.ts';
import { processNamespace } from './output-folder.ts';
import { prepareTokens } from './prepare.ts';
import type { PrepareTokensOptions } from './prepare-options.ts';
import type { PrepareProgress } from './progress.ts';
import {
  fixture,
  fixtureDocuments,
  isBuilt,
  openForTest,
  prepareDocuments,
  temporaryFolder,
  tinyTokenizer,
} from './testing.ts';
import { addMaskToken, loadTokenizer, Tokenizer } from './tokenizer.ts';

/** A folder with a copy of the documents in two files, and the options to prepare it. */
function corpus(options: Partial<PrepareTokensOptions> = {}) {
  const folder = temporaryFolder();
  const write = (name: string, texts: string[]) =>
    writeFileSync(join(folder, name), texts.map((text) => `${JSON.stringify({ text })}\n`).join(''));
  write('part-2.jsonl', fixtureDocuments.slice(0, 50));
  write('part-10.jsonl', fixtureDocuments.slice(50, 90));
  const prepared = join(folder, 'out');
  const files = join(folder, 'part-*.jsonl');
  return {
    folder,
    prepared,
    options: { files, tokenizer: tinyTokenizer, outputDirectory: prepared, workers: 0, ...options },
  };
}

async function directEncoding(texts: readonly string[]): Promise<number[][]> {
  const ids = await tinyTokenizer.encodeBatch(texts, { addSpecialTokens: false });
  return ids.map((document) => [0, ...document, 1]);
}

/** Every file of a dataset, by name. */
function contents(directory: string): Record<string, string> {
  const names = readdirSync(directory, { recursive: true }) as string[];
  const files = names.filter((name) => /\.(bin|json)$/.test(name)).sort();
  return Object.fromEntries(files.map((name) => [name, readFileSync(join(directory, name), 'latin1')]));
}

test('property: the data read back equals direct encoding, for any documents and shards', async () => {
  const text = fc.string({ unit: 'grapheme', maxLength: 30 }).filter((one) => /\S/.test(one));
  const documents = fc.array(text, { minLength: 1, maxLength: 12 });
  const property = fc.asyncProperty(
    documents,
    fc.integer({ min: 1, max: 60 }),
    async (texts, maxTokensPerShard) => {
      const dataset = openTokenDataset(await prepareDocuments(texts, { maxTokensPerShard }), {
        verify: true,
      });
      const expected = await directEncoding(texts);
      try {
        expect([...dataset.readTokens(0, dataset.numTokens)]).toEqual(expected.flat());
        expect(texts.map((_, i) => [...dataset.readDocument(i)])).toEqual(expected);
        const bytes = Buffer.byteLength(texts.join(''));
        expect([dataset.numDocuments, dataset.numBytes]).toEqual([texts.length, bytes]);
        expect(dataset.bytesOfTokens(0, dataset.numTokens)).toBeCloseTo(bytes, 6);
      } finally {
        dataset.close();
      }
    },
  );
  await fc.assert(property, { numRuns: 15 });
});

test('BOS and EOS are optional', async () => {
  const directory = await prepareDocuments(['one', 'two'], { addBos: false, addEos: false });
  const dataset = openForTest(directory);
  const expected = (await directEncoding(['one', 'two'])).map((ids) => ids.slice(1, -1));
  expect([...dataset.readTokens(0, dataset.numTokens)]).toEqual(expected.flat());
});

test('documents follow the order of the files, and progress ends at the totals', async () => {
  const seen: PrepareProgress[] = [];
  const { options, prepared } = corpus({ onProgress: (progress) => seen.push(progress) });
  const result = await prepareTokens(options);
  expect(result).toMatchObject({ reused: false, numDocuments: 90, skipped: { count: 0, first: [] } });
  const expected = await directEncoding(fixtureDocuments.slice(0, 90));
  const dataset = openForTest(prepared);
  expect([...dataset.readTokens(0, dataset.numTokens)]).toEqual(expected.flat());
  const { bytesTotal } = seen[0];
  const hashed = seen.filter(({ phase }) => phase === 'hash').at(-1);
  expect(hashed).toMatchObject({ bytesDone: bytesTotal, tokens: 0 });
  expect(seen.at(-1)).toMatchObject({
    phase: 'tokenize',
    bytesDone: bytesTotal,
    documents: 90,
    tokens: result.numTokens,
  });
});

test.skipIf(!isBuilt)('the number of workers changes nothing', async () => {
  const { options, prepared } = corpus();
  await prepareTokens({ ...options, maxTokensPerShard: 1000 });
  const expected = contents(prepared);
  expect(Object.keys(expected).length).toBeGreaterThan(3);
  const outputDirectory = `${prepared}-of-two`;
  await prepareTokens({ ...options, maxTokensPerShard: 1000, workers: 2, outputDirectory });
  expect(contents(outputDirectory)).toEqual(expected);
});

test('concurrent preparations of the same data all succeed', async () => {
  const { options, prepared } = corpus();
  const results = await Promise.all([1, 2, 3, 4].map(() => prepareTokens(options)));
  expect(new Set(results.map(({ fingerprint }) => fingerprint)).size).toBe(1);
  expect(results.filter(({ reused }) => !reused).length).toBeGreaterThan(0);
  expect(readdirSync(prepared).sort()).toEqual([results[0].fingerprint.slice(0, 16), 'manifest.json']);
  openTokenDataset(prepared, { verify: true }).close();
});

describe('a second preparation', () => {
  test('reuses the dataset if nothing has changed, even if files were moved or touched', async () => {
    const { options, folder, prepared } = corpus();
    const first = await prepareTokens(options);
    const before = contents(prepared);
    expect(await prepareTokens(options)).toEqual({ ...first, reused: true });
    utimesSync(join(folder, 'part-2.jsonl'), new Date(), new Date(1e12));
    expect((await prepareTokens(options)).reused).toBe(true);
    mkdirSync(join(folder, 'elsewhere'));
    for (const [from, to] of [
      ['part-2.jsonl', 'a.jsonl'],
      ['part-10.jsonl', 'b.jsonl'],
    ]) {
      copyFileSync(join(folder, from), join(folder, 'elsewhere', to));
    }
    const moved = { ...options, files: join(folder, 'elsewhere/*') };
    expect((await prepareTokens(moved)).reused).toBe(true);
    expect(contents(prepared)).toEqual(before);
  });

  test.each<[string, Partial<PrepareTokensOptions>]>([
    ['the field', { textField: 'meta' }],
    ['BOS', { addBos: false }],
    ['EOS', { addEos: false }],
    ['the BOS token', { tokenizer: loadTokenizer(fixture('trained'), { bosToken: '<pad>' }) }],
    ['the tokenizer', { tokenizer: addMaskToken(tinyTokenizer, '[ANOTHER]') }],
    ['the handling of bad records', { onBadRecord: 'skip' }],
    ['the size of shards', { maxTokensPerShard: 500 }],
    ['the order of files', { files: ['b.jsonl', 'a.jsonl'] }],
  ])('is done again when %s changes, and replaces the first', async (_what, change) => {
    const folder = temporaryFolder();
    for (const name of ['a', 'b']) {
      writeFileSync(join(folder, `${name}.jsonl`), JSON.stringify({ text: name, meta: 'other' }));
    }
    const prepared = join(folder, 'out');
    const options = { tokenizer: tinyTokenizer, outputDirectory: prepared, workers: 0 };
    const inFolder = (names: readonly string[]) => names.map((name) => join(folder, name));
    const first = await prepareTokens({ ...options, files: inFolder(['a.jsonl', 'b.jsonl']) });
    const files = inFolder((change.files as string[]) ?? ['a.jsonl', 'b.jsonl']);
    const second = await prepareTokens({ ...options, ...change, files });
    expect(second.reused).toBe(false);
    expect(second.fingerprint).not.toBe(first.fingerprint);
    expect(readdirSync(prepared).sort()).toEqual([second.fingerprint.slice(0, 16), 'manifest.json']);
    expect(openForTest(prepared).fingerprint).toBe(second.fingerprint);
  });

  test('prepares again when a file changes, even with the same size and time', async () => {
    const { options, folder } = corpus();
    const file = join(folder, 'part-2.jsonl');
    utimesSync(file, new Date(1e12), new Date(1e12));
    const first = await prepareTokens(options);
    writeFileSync(file, readFileSync(file, 'utf8').replace('the', 'eht'));
    utimesSync(file, new Date(1e12), new Date(1e12));
    const second = await prepareTokens(options);
    expect([second.reused, second.fingerprint === first.fingerprint]).toEqual([false, false]);
  });

  test('rebuilds a damaged dataset', async () => {
    const { options, prepared } = corpus();
    await prepareTokens(options);
    const before = contents(prepared);
    const shard = Object.keys(before).find((name) => name.endsWith('.bin'))!;
    truncateSync(join(prepared, shard), 100);
    expect((await prepareTokens(options)).reused).toBe(false);
    expect(contents(prepared)).toEqual(before);
  });
});

describe('bad records', () => {
  const lines = ['{"text": "one"}', 'nonsense', '{"text": "two"}', ...Array(20).fill('{}')];

  test('stop the preparation and leave nothing', async () => {
    const { options, folder, prepared } = corpus();
    writeFileSync(join(folder, 'part-2.jsonl'), lines.join('\n'));
    await expect(prepareTokens(options)).rejects.toThrow(
      /part-2\.jsonl, line 2: malformed JSON, got nonsense/,
    );
    expect(readdirSync(prepared)).toEqual([]);
    expect(() => openTokenDataset(prepared)).toThrow(/no prepared dataset here/);
  });

  test('are skipped by option, counted, and the first messages kept', async () => {
    const { options, folder } = corpus({ onBadRecord: 'skip' });
    writeFileSync(join(folder, 'part-2.jsonl'), lines.join('\n'));
    const result = await prepareTokens(options);
    expect(result).toMatchObject({ numDocuments: 42, skipped: { count: 21 } });
    expect(result.skipped.first).toHaveLength(10);
    expect(result.skipped.first[0]).toMatch(/line 2: malformed JSON/);
    expect((await prepareTokens(options)).skipped).toEqual(result.skipped);
  });
});

test.each<[string, RegExp, Partial<PrepareTokensOptions>]>([
  ['', /empty corpus: no tokens in 1 file/, {}],
  ['[]\n[]', /empty corpus: .*\(2 bad records skipped\)/, { onBadRecord: 'skip' }],
  ['{"text": ""}', /empty corpus/, { addBos: false, addEos: false }],
  [
    '{"text": "a"}',
    /has no BOS token; pass bosToken to loadTokenizer, or set addBos: false/,
    { tokenizer: new Tokenizer(tinyTokenizer.json, {}, 'plain') },
  ],
  ['{"text": "a"}', /workers: got -1/, { workers: -1 }],
  ['{"text": "a"}', /maxTokensPerShard: got 0/, { maxTokensPerShard: 0 }],
])('%j: %s', async (content, reason, change) => {
  const folder = temporaryFolder();
  const files = join(folder, 'a.jsonl');
  writeFileSync(files, content);
  const options = { files, tokenizer: tinyTokenizer, outputDirectory: join(folder, 'out'), workers: 0 };
  await expect(prepareTokens({ ...options, ...change })).rejects.toThrow(reason);
  expect(existsSync(join(folder, 'out/manifest.json'))).toBe(false);
});

describe('interruption', () => {
  test('by a signal rejects with its reason, keeps the old dataset and leaves nothing of the new', async () => {
    const { options, prepared } = corpus();
    const first = await prepareTokens(options);
    for (const phase of ['hash', 'tokenize']) {
      const stop = new AbortController();
      const reason = new Error('enough');
      const onProgress = (progress: PrepareProgress) => progress.phase === phase && stop.abort(reason);
      const changed = { ...options, files: [fixture('documents.jsonl.zst'), options.files].flat() };
      const running = prepareTokens({ ...changed, onProgress, signal: stop.signal });
      await expect(running).rejects.toBe(reason);
    }
    expect(readdirSync(prepared).sort()).toEqual([first.fingerprint.slice(0, 16), 'manifest.json']);
    expect((await prepareTokens(options)).reused).toBe(true);
  });

  test('folders of dead processes are removed, those of running ones are not', async () => {
    const { options, prepared } = corpus();
    const child = spawn(process.execPath, ['-e', ''], { stdio: 'ignore' });
    await once(child, 'exit');
    const gone = `.tmp-${processNamespace()}-${child.pid}-00000000`;
    const sameIdBefore = `.tmp-${processNamespace()}-${process.pid}-00000000`;
    const living = `.tmp-${processNamespace()}-${process.ppid}-00000000`;
    const elsewhere = '.tmp-another-host-1-00000000';
    // From a container with the same host name, whose processes are not visible.
    const namesake = `.tmp-${hostname()}-${child.pid}-00000001`;
    for (const name of [gone, sameIdBefore, living, elsewhere, namesake])
      mkdirSync(join(prepared, name), { recursive: true });
    await prepareTokens(options);
    const left = readdirSync(prepared).filter((name) => name.startsWith('.tmp'));
    expect(left.sort()).toEqual([elsewhere, living, namesake].sort());
    utimesSync(join(prepared, elsewhere), new Date(1e12), new Date(1e12));
    await prepareTokens({ ...options, addBos: false });
    expect(existsSync(join(prepared, elsewhere))).toBe(false);
  });

  test.skipIf(!isBuilt)(
    'by kill -9 leaves nothing that can be opened; the next preparation is whole',
    async () => {
      const { options, prepared } = corpus();
      const script = `
      import { loadTokenizer, prepareTokens } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url))};
      const tokenizer = loadTokenizer(${JSON.stringify(fixture('trained'))});
      const onProgress = ({ phase }) => phase === 'tokenize' && process.kill(process.pid, 'SIGKILL');
      await prepareTokens({ ...${JSON.stringify({ ...options, tokenizer: undefined })}, tokenizer, onProgress });
    `;
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'inherit' });
      expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);
      expect(readdirSync(prepared).filter((name) => name.startsWith('.tmp'))).toHaveLength(1);
      expect(() => openTokenDataset(prepared)).toThrow(/no prepared dataset here/);
      await prepareTokens(options);
      expect(openForTest(prepared).numDocuments).toBe(90);
      expect(readdirSync(prepared).filter((name) => name.startsWith('.tmp'))).toEqual([]);
    },
  );

  test('between shards and manifest is completed by the next preparation', async () => {
    const { options, prepared } = corpus();
    await prepareTokens(options);
    const before = contents(prepared);
    rmSync(join(prepared, 'manifest.json'));
    expect((await prepareTokens(options)).reused).toBe(false);
    expect(contents(prepared)).toEqual(before);
  });

  test('a file that changes while it is read is not prepared', async () => {
    const { options, folder, prepared } = corpus();
    const onProgress = ({ phase }: PrepareProgress) => {
      if (phase === 'tokenize') writeFileSync(join(folder, 'part-2.jsonl'), '{"text": "changed"}');
    };
    await expect(prepareTokens({ ...options, onProgress })).rejects.toThrow(/part-2\.jsonl changed while/);
    expect(readdirSync(prepared)).toEqual([]);
  });
});
