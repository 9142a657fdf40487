import { expect, test } from 'vitest';
import { DocumentEncoder } from './encode.ts';
import { prepareTokens } from './prepare.ts';
import { openForTest, prepareDocuments, tinyTokenizer } from './testing.ts';

const settings = { bosTokenId: 0, eosTokenId: 1, bytesPerToken: 2, parseSpecialTokens: false } as const;
const texts = ['plain text', '<s>old</s> and </s>', 'more', '</s>'];

async function encode(parseSpecialTokens: boolean) {
  const encoder = new DocumentEncoder(tinyTokenizer.json, 'tokenizer', { ...settings, parseSpecialTokens });
  const { tokens, lengths, spellings } = await encoder.encode(texts);
  let at = 0;
  const documents = Array.from(lengths, (length) => {
    at += length;
    return [...tokens.subarray(at - length, at)];
  });
  return { documents, spellings: [...spellings] };
}

test('text that spells special tokens stays text: only the ends of a document are BOS and EOS', async () => {
  const { documents, spellings } = await encode(false);
  expect(spellings).toEqual([0, 3, 0, 1]);
  for (const [i, ids] of documents.entries()) {
    expect([ids[0], ids.at(-1)]).toEqual([0, 1]);
    const inside = ids.slice(1, -1);
    expect(inside.filter((id) => id < 3)).toEqual([]);
    expect(await tinyTokenizer.decode(inside)).toBe(texts[i]);
  }
});

test('text without special tokens has the same tokens either way, and parsing gives the others their ids', async () => {
  const [literal, parsed] = [await encode(false), await encode(true)];
  expect(parsed.spellings).toEqual(literal.spellings);
  const plain = await tinyTokenizer.encodeBatch(texts, { addSpecialTokens: false });
  expect(parsed.documents).toEqual(plain.map((ids) => [0, ...ids, 1]));
  expect(literal.documents[0]).toEqual(parsed.documents[0]);
  expect(literal.documents[2]).toEqual(parsed.documents[2]);
  expect(parsed.documents[3]).toEqual([0, 1, 1]);
});

test('a dataset is literal by default, and counts empty, duplicate and spelled documents', async () => {
  const documents = [...texts, ' \n\t', '', 'more', '\u3000', 'plain text', 'more'];
  const literal = openForTest(await prepareDocuments(documents));
  expect(literal.numDocuments).toBe(7);
  expect([...literal.readDocument(3)].filter((id) => id < 3)).toEqual([0, 1]);
  const parsed = openForTest(await prepareDocuments(documents, { parseSpecialTokens: true }));
  expect([...parsed.readDocument(3)]).toEqual([0, 1, 1]);
  expect(parsed.fingerprint).not.toBe(literal.fingerprint);
  const { documents: counts } = await prepareTokens({
    files: `${literal.directory}/../documents.jsonl`,
    tokenizer: tinyTokenizer,
    outputDirectory: literal.directory,
    workers: 0,
  });
  expect(counts).toEqual({
    empty: 3,
    duplicates: { count: 3, oneIn: 1 },
    spellings: { documents: 2, occurrences: 4 },
  });
});
