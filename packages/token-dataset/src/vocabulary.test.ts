import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryFolder, tinyTokenizer } from './testing.ts';
import { addMaskToken, loadTokenizer, removeMaskToken } from './tokenizer.ts';
import { vocabularyDifference } from './vocabulary.ts';

const plain = removeMaskToken(addMaskToken(tinyTokenizer));

function withVocabulary(change: (vocab: Record<string, number>) => void) {
  const contents = JSON.parse(plain.json);
  change(contents.model.vocab);
  const path = join(temporaryFolder(), 'tokenizer.json');
  writeFileSync(path, JSON.stringify(contents));
  return loadTokenizer(path);
}

test('vocabularies agree if only a mask token is added, by any name', () => {
  const masked = [addMaskToken(plain), addMaskToken(plain, '<mask>')];
  for (const one of [plain, ...masked]) {
    for (const other of [plain, ...masked]) expect(vocabularyDifference(one, other)).toBeUndefined();
  }
});

test('names the first id with another token', () => {
  const [a, b] = [300, 301].map((id) => tinyTokenizer.idToToken(id)!);
  const swapped = withVocabulary((vocab) => Object.assign(vocab, { [a]: 301, [b]: 300 }));
  expect(vocabularyDifference(plain, swapped)).toBe(
    `id 300 is ${JSON.stringify(a)} and ${JSON.stringify(b)}`,
  );
});

test('a mask token does not agree with a token that texts contain', () => {
  const longer = withVocabulary((vocab) => Object.assign(vocab, { longer: plain.vocabSize }));
  const masked = addMaskToken(plain);
  expect(masked.maskTokenId).toBe(plain.vocabSize);
  expect(vocabularyDifference(longer, masked)).toMatch(/is "longer" and "\[MASK\]"$/);
  expect(vocabularyDifference(plain, longer)).toMatch(/is no token and "longer"$/);
});
