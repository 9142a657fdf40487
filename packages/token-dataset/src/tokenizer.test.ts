import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TokenizerError } from './errors.ts';
import { fixture, temporaryFolder, tinyTokenizer } from './testing.ts';
import { addMaskToken, loadTokenizer, removeMaskToken } from './tokenizer.ts';

const tinyJson = readFileSync(fixture('trained/tokenizer.json'), 'utf8');

test('transformers sees the same tokenizer in the same folder', async () => {
  const expected = JSON.parse(readFileSync(fixture('transformers-ids.json'), 'utf8'));
  const { vocabSize, bosTokenId, eosTokenId, maskTokenId } = tinyTokenizer;
  expect([vocabSize, bosTokenId, eosTokenId, maskTokenId]).toEqual([
    expected.length,
    expected.bos,
    expected.eos,
    expected.mask,
  ]);
  for (const { text, ids, decoded } of expected.cases) {
    expect([...(await tinyTokenizer.encode(text))]).toEqual(ids);
    expect(await tinyTokenizer.decode(ids)).toBe(decoded);
  }
});

test('ordinaryIds are all ids but those of special tokens', () => {
  const masked = addMaskToken(removeMaskToken(tinyTokenizer, '[MASK]'), '[MASK]');
  const { added_tokens: added } = JSON.parse(masked.json);
  const special = added
    .filter((token: { special: boolean }) => token.special)
    .map(({ id }: { id: number }) => id);
  expect(special).toContain(masked.maskTokenId);
  const ids = [...masked.ordinaryIds()];
  expect(ids).toEqual([...Array(masked.vocabSize).keys()].filter((id) => !special.includes(id)));
});

test('property: byte-level encoding and decoding preserves any text', async () => {
  const property = fc.asyncProperty(fc.string({ unit: 'grapheme' }), async (text) => {
    const ids = await tinyTokenizer.encode(text, { addSpecialTokens: false });
    expect(await tinyTokenizer.decode(ids)).toBe(text);
    expect(await tinyTokenizer.decode([0, ...ids, 1], { skipSpecialTokens: true })).toBe(text);
  });
  await fc.assert(property, { numRuns: 100 });
});

test('truncation and padding of the file are not applied', async () => {
  const path = join(temporaryFolder(), 'tokenizer.json');
  const truncation = { direction: 'Right', max_length: 3, strategy: 'LongestFirst', stride: 0 };
  writeFileSync(path, JSON.stringify({ ...JSON.parse(tinyJson), truncation }));
  expect(await loadTokenizer(path).encode('a b c d e f g')).toHaveLength(14);
});

describe('special tokens', () => {
  const folderWith = (files: Record<string, unknown>) => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'tokenizer.json'), tinyJson);
    for (const [name, value] of Object.entries(files)) {
      writeFileSync(join(folder, name), JSON.stringify(value));
    }
    return folder;
  };
  const ids = (folder: string, options = {}) => {
    const { bosTokenId, eosTokenId } = loadTokenizer(folder, options);
    return [bosTokenId, eosTokenId];
  };

  test('come from options, tokenizer_config, special_tokens_map, model configs, in that order', () => {
    const config = { 'tokenizer_config.json': { bos_token: { content: '<s>' }, eos_token: null } };
    const map = { 'special_tokens_map.json': { bos_token: '<pad>', eos_token: '</s>' } };
    const generation = { 'generation_config.json': { bos_token_id: 2, eos_token_id: [1, 2] } };
    const model = { 'config.json': { bos_token_id: 0, eos_token_id: 2 } };
    expect(ids(folderWith({}))).toEqual([undefined, undefined]);
    expect(ids(folderWith({ ...config, ...map, ...generation, ...model }))).toEqual([0, 1]);
    expect(ids(folderWith({ ...map, ...generation }))).toEqual([2, 1]);
    expect(ids(folderWith({ ...generation, ...model }))).toEqual([2, 1]);
    expect(ids(folderWith(model))).toEqual([0, 2]);
    expect(ids(folderWith({ ...config, ...map }), { eosToken: '<pad>' })).toEqual([0, 2]);
  });

  test('outside the vocabulary are refused', () => {
    expect(() => ids(folderWith({}), { bosToken: '<nope>' })).toThrow(
      /bos_token is '<nope>', expected a token of the vocabulary/,
    );
  });
});

test('a mask token gets the first id after the vocabulary, decodes, and is saved with it', async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'tokenizer.json'), tinyJson);
  const masked = addMaskToken(loadTokenizer(folder), '<mask>');
  expect([masked.maskTokenId, masked.vocabSize]).toEqual([501, 502]);
  expect(await masked.decode([501])).toBe('<mask>');
  masked.save(join(folder, 'saved'));
  const again = loadTokenizer(join(folder, 'saved'));
  expect([again.maskTokenId, again.sha256]).toEqual([501, masked.sha256]);
  // An existing token is used unchanged.
  expect(addMaskToken(tinyTokenizer).maskTokenId).toBe(500);
});

test.skipIf(!existsSync('/proc/self'))(
  'saving where no folder can be made is an error, no endless loop',
  () => {
    expect(() => tinyTokenizer.save('/proc/meap/saved')).toThrow(/ENOENT/);
  },
);

test('files that are not tokenizers are named', () => {
  const folder = temporaryFolder();
  expect(() => loadTokenizer(folder)).toThrow(TokenizerError);
  expect(() => loadTokenizer(folder)).toThrow(/no such file .*tokenizer\.json/);
  writeFileSync(join(folder, 'tokenizer.json'), '{}');
  expect(() => loadTokenizer(folder)).toThrow(/is not a tokenizer\.json: /);
  writeFileSync(join(folder, 'tokenizer.json'), tinyJson);
  writeFileSync(join(folder, 'tokenizer_config.json'), 'null');
  expect(() => loadTokenizer(folder)).toThrow(/tokenizer_config\.json does not contain a JSON object/);
});

test('removeMaskToken undoes addMaskToken, and nothing else', async () => {
  const plain = removeMaskToken(loadTokenizer(fixture('trained/tokenizer.json')));
  expect([plain.vocabSize, plain.maskTokenId]).toEqual([tinyTokenizer.vocabSize - 1, undefined]);
  expect(removeMaskToken(plain)).toBe(plain);
  const undone = removeMaskToken(addMaskToken(plain, '[M]'), '[M]');
  expect([undone.vocabSize, undone.maskTokenId]).toEqual([plain.vocabSize, plain.maskTokenId]);
  expect([...(await undone.encode('a [M] b'))]).toEqual([...(await plain.encode('a [M] b'))]);
  expect(removeMaskToken(addMaskToken(plain, '[M]')).vocabSize).toBe(plain.vocabSize + 1);
});
