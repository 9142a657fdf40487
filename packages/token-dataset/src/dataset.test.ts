import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openTokenDataset } from './dataset.ts';
import { DatasetError } from './errors.ts';
import { documentEntryBytes, shardHeaderBytes } from './shard.ts';
import {
  fixtureDocuments,
  openForTest,
  prepareDocuments,
  temporaryFolder,
  tinyTokenizer,
} from './testing.ts';
import { Tokenizer } from './tokenizer.ts';

function firstShard(directory: string): string {
  const manifest = JSON.parse(readFileSync(join(directory, 'manifest.json'), 'utf8'));
  return join(directory, manifest.shards[0].file);
}

/** Opens a dataset and reads all of it. */
function readAll(directory: string): void {
  const dataset = openTokenDataset(directory);
  try {
    dataset.readTokens(0, dataset.numTokens);
    dataset.bytesOfTokens(1, dataset.numTokens - 2);
    for (let i = 0; i < dataset.numDocuments; i++) dataset.readDocument(i);
  } finally {
    dataset.close();
  }
}

test('bytes of a range count partial documents in proportion', async () => {
  const texts = fixtureDocuments.slice(0, 60);
  const dataset = openForTest(await prepareDocuments(texts, { maxTokensPerShard: 700 }));
  const perToken = texts.flatMap((text, i) => {
    const { length } = dataset.readDocument(i);
    return Array<number>(length).fill(Buffer.byteLength(text) / length);
  });
  const place = fc.integer({ min: 0, max: dataset.numTokens });
  fc.assert(
    fc.property(place, place, (a, b) => {
      const [start, end] = [Math.min(a, b), Math.max(a, b)];
      const expected = perToken.slice(start, end).reduce((sum, bytes) => sum + bytes, 0);
      expect(dataset.bytesOfTokens(start, end - start)).toBeCloseTo(expected, 6);
    }),
  );
});

test('documents beyond one run of the index are counted too', async () => {
  const texts = Array.from({ length: 3000 }, (_, i) => 'x'.repeat(i % 5));
  const dataset = openForTest(await prepareDocuments(texts, { addBos: false, addEos: false }));
  const total = Buffer.byteLength(texts.join(''));
  // All but the first and the last token, to avoid the shortcut for whole shards.
  const ends = dataset.bytesOfTokens(0, 1) + dataset.bytesOfTokens(dataset.numTokens - 1, 1);
  expect(dataset.bytesOfTokens(1, dataset.numTokens - 2) + ends).toBeCloseTo(total, 6);
});

test('ranges outside the stream are refused', async () => {
  const dataset = openForTest(await prepareDocuments(['text']));
  expect(() => dataset.readTokens(-1, 1)).toThrow(RangeError);
  expect(() => dataset.readTokens(0, dataset.numTokens + 1)).toThrow(RangeError);
  expect(() => dataset.readDocument(1)).toThrow(RangeError);
});

test('ids above 65,535 take four bytes', async () => {
  const contents = JSON.parse(tinyTokenizer.json);
  contents.added_tokens = contents.added_tokens.filter(
    ({ content }: { content: string }) => content !== '[MASK]',
  );
  contents.model.vocab = { ...contents.model.vocab };
  for (let id = 500; id < 70_000; id++) contents.model.vocab[`token ${id}`] = id;
  contents.model.vocab.QZ = 70_000;
  contents.model.merges = [...contents.model.merges, ['Q', 'Z']];
  const tokenizer = new Tokenizer(JSON.stringify(contents), { bos_token: '<s>', eos_token: '</s>' }, 'large');
  const dataset = openForTest(await prepareDocuments(['QZ'], { tokenizer }));
  expect([...dataset.readTokens(0, 3)]).toEqual([0, 70_000, 1]);
  expect([dataset.vocabSize, dataset.maxTokenId]).toEqual([70_001, 70_000]);
});

test('a vocabulary smaller than the ids is refused', async () => {
  const directory = await prepareDocuments(fixtureDocuments);
  const { maxTokenId } = openForTest(directory);
  openTokenDataset(directory, { vocabSize: maxTokenId + 1 }).close();
  const open = () => openTokenDataset(directory, { vocabSize: maxTokenId });
  expect(open).toThrow(DatasetError);
  expect(open).toThrow(/vocabulary too small, got \d+ entries, the data has token id \d+/);
});

describe('damage', () => {
  test('property: any change of a header is found at once', async () => {
    const directory = await prepareDocuments(fixtureDocuments.slice(0, 5));
    const shard = firstShard(directory);
    const whole = readFileSync(shard);
    const place = fc.integer({ min: 0, max: shardHeaderBytes - 1 });
    fc.assert(
      fc.property(place, fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const damaged = Buffer.from(whole);
        damaged[at] ^= flip;
        writeFileSync(shard, damaged);
        expect(() => openTokenDataset(directory)).toThrow(DatasetError);
        expect(() => openTokenDataset(directory)).toThrow(/shard-00000\.bin: .*prepare the data again/);
      }),
    );
  });

  test('property: any other change is found by its checksum, and reading never gives an id out of bounds', async () => {
    const directory = await prepareDocuments(fixtureDocuments.slice(0, 5));
    const { maxTokenId } = openForTest(directory);
    const shard = firstShard(directory);
    const whole = readFileSync(shard);
    const place = fc.integer({ min: shardHeaderBytes, max: whole.length - 1 });
    fc.assert(
      fc.property(place, fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const damaged = Buffer.from(whole);
        damaged[at] ^= flip;
        writeFileSync(shard, damaged);
        expect(() => openTokenDataset(directory, { verify: true })).toThrow(/its checksum is wrong/);
        try {
          readAll(directory);
        } catch (error) {
          expect(error).toBeInstanceOf(DatasetError);
        }
      }),
    );
    expect(maxTokenId).toBeLessThan(500);
  });

  test('a token id above the highest is named with its shard', async () => {
    const directory = await prepareDocuments(['text']);
    const shard = firstShard(directory);
    const bytes = readFileSync(shard);
    bytes.writeUInt16LE(60_000, shardHeaderBytes);
    writeFileSync(shard, bytes);
    expect(() => readAll(directory)).toThrow(/shard-00000\.bin: damaged shard, got token id 60000/);
  });

  test('an index that runs backwards is named with its shard', async () => {
    const directory = await prepareDocuments(['one', 'two', 'three']);
    const shard = firstShard(directory);
    const bytes = readFileSync(shard);
    bytes.writeUInt32LE(4_000_000_000, bytes.length - 2 * documentEntryBytes);
    writeFileSync(shard, bytes);
    expect(() => readAll(directory)).toThrow(/shard-00000\.bin: damaged shard, document \d spans/);
  });

  test('property: a truncated or missing shard is found at once', async () => {
    const directory = await prepareDocuments(fixtureDocuments.slice(0, 5));
    const shard = firstShard(directory);
    const whole = readFileSync(shard);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: whole.length - 1 }), (length) => {
        writeFileSync(shard, whole);
        truncateSync(shard, length);
        expect(() => openTokenDataset(directory)).toThrow(DatasetError);
      }),
    );
    rmSync(shard);
    expect(() => openTokenDataset(directory)).toThrow(/cannot open shard/);
  });

  test('property: a hostile manifest is refused or harmless', async () => {
    const directory = await prepareDocuments(['text']);
    const path = join(directory, 'manifest.json');
    const manifest = JSON.parse(readFileSync(path, 'utf8'));
    const keys = [...Object.keys(manifest), ...Object.keys(manifest.shards[0]).map((key) => `shards.${key}`)];
    fc.assert(
      fc.property(fc.constantFrom(...keys), fc.jsonValue(), (key, value) => {
        const hostile = structuredClone(manifest);
        if (key.startsWith('shards.')) hostile.shards[0][key.slice(7)] = value;
        else hostile[key] = value;
        writeFileSync(path, JSON.stringify(hostile));
        try {
          readAll(directory);
        } catch (error) {
          expect(error).toBeInstanceOf(DatasetError);
        }
      }),
      { numRuns: 300 },
    );
  });

  test.each([
    ['{', /not JSON/],
    ['null', /not the manifest of a token dataset/],
    ['{"format": "meap-token-dataset", "version": 2}', /version 2, expected 1/],
    // Cannot be converted to text, nor tested by an expression.
    ['{"format": "meap-token-dataset", "version": {"toString": 0}}', /version {"toString":0}, expected 1/],
    ['{"format": "meap-token-dataset", "version": 1, "fingerprint": {"toString": 0}}', /its fingerprint/],
  ])('the manifest %s is refused', (content, reason) => {
    const directory = temporaryFolder();
    writeFileSync(join(directory, 'manifest.json'), content);
    expect(() => openTokenDataset(directory)).toThrow(reason);
  });

  test('a manifest cannot point outside its folder', async () => {
    const directory = await prepareDocuments(['text']);
    const path = join(directory, 'manifest.json');
    const manifest = JSON.parse(readFileSync(path, 'utf8'));
    manifest.shards[0].file = '../../etc/passwd';
    writeFileSync(path, JSON.stringify(manifest));
    expect(() => openTokenDataset(directory)).toThrow(/a shard entry is damaged/);
  });
});
