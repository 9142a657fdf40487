import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { stem } from './porter-stemmer.ts';
import { rouge1, tokensFor, unigramOverlap } from './rouge.ts';
import { jsonLines } from './testing-data.ts';

const fixture: {
  words: string;
  stems: string;
  rouge: [file: string, row: number, precision: number, recall: number, f1: number, overlap: number][];
} = JSON.parse(readFileSync(new URL('../fixtures/text-scores.json', import.meta.url), 'utf8'));

test("stems are NLTK's, every ending after stems of every shape", () => {
  expect(fixture.words.split(' ').map(stem).join(' ')).toBe(fixture.stems);
});

describe.skipIf(!existsSync(process.env.MEAP_DATA!))('on real texts', () => {
  test('550 pairs score as rouge_score and the published overlap', () => {
    const texts = {
      'summarisation/xsum.first200.jsonl': (row: { summary: string; document: string }) =>
        // Python counts code points.
        [row.summary, [...row.document].slice(0, 600).join('')] as const,
      'qa/nq-open-oracle.jsonl.gz': (row: { question: string; ctxs: { text: string }[] }) =>
        [row.question, row.ctxs[0].text] as const,
    };
    for (const [file, pair] of Object.entries(texts)) {
      const rows = jsonLines(file);
      for (const [, row, precision, recall, f1, overlap] of fixture.rouge.filter(([name]) => name === file)) {
        const [reference, prediction] = pair(rows[row] as never);
        const scores = { ...rouge1(reference, prediction), overlap: unigramOverlap(reference, prediction) };
        expect(scores, `${file}, row ${row}`).toEqual({ precision, recall, f1, overlap });
      }
    }
    expect(fixture.rouge).toHaveLength(550);
  });
});

describe('rouge1', () => {
  const text = fc.array(fc.constantFrom('run', 'running', 'The', 'the', 'é', '42', '.', ' '), {
    maxLength: 12,
  });

  test('precision and recall swap with the texts; a text matches itself', () => {
    fc.assert(
      fc.property(text, text, (a, b) => {
        const [one, other] = [a.join(' '), b.join(' ')];
        const { precision, recall, f1 } = rouge1(one, other);
        const back = rouge1(other, one);
        expect([back.recall, back.precision]).toEqual([precision, recall]);
        expect(back.f1).toBeCloseTo(f1, 12);
        expect(rouge1(one, one).f1).toBe(/[a-z0-9]/i.test(one) ? 1 : 0);
      }),
    );
  });

  test('repeated words count as often as in both texts', () => {
    const { precision, recall, f1 } = rouge1('a a b', 'a b b b');
    expect([precision, recall]).toEqual([2 / 4, 2 / 3]);
    expect(f1).toBeCloseTo(4 / 7, 15);
    expect(rouge1('', 'a')).toEqual({ precision: 0, recall: 0, f1: 0 });
  });
});

test.each([
  ['吃三明治', '在公园里吃了三明治。', 4 / 9, 1],
  ['サンドイッチを食べる', 'サンドイッチ', 1, 6 / 10],
  ['ем бутерброд', 'Ем бутерброд в парке', 2 / 4, 1],
  ['คำตอบ', 'คำตอบคือ', 5 / 7, 1],
  ['7', 'код 7', 1, 1],
])('the words of %j are those of its script', (reference, prediction, precision, recall) => {
  const scores = rouge1(reference, prediction, tokensFor(reference));
  expect(scores.precision).toBeCloseTo(precision, 12);
  expect(scores.recall).toBeCloseTo(recall, 12);
});

test('the usual answer reaches eleven twelfths of overlap: it has "a" twice', () => {
  const answer = 'eat a sandwich and sit in Dolores Park on a sunny day.';
  expect(unigramOverlap(answer, answer)).toBe(11 / 12);
});
