import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bestSubspanMatch, normalizeAnswer } from './answer-match.ts';
import { jsonLines, shortHash } from './testing-data.ts';

const fixture: { subspan: string; normalized: string } = JSON.parse(
  readFileSync(new URL('../fixtures/text-scores.json', import.meta.url), 'utf8'),
);

describe.skipIf(!existsSync(process.env.MEAP_DATA!))('on all 2655 rows of NQ', () => {
  const rows = () =>
    jsonLines('qa/nq-open-oracle.jsonl.gz') as { answers: string[]; ctxs: { text: string }[] }[];

  test('texts are normalized as by the published script', () => {
    const normalized = rows().map(({ ctxs }) => normalizeAnswer(ctxs[0].text));
    expect(shortHash(normalized.join('\n'))).toBe(fixture.normalized);
  });

  test('answers are found in their text and in the next one as by the published script', () => {
    const all = rows();
    const found = all.flatMap(({ answers }, row) =>
      [0, 1].map((step) => bestSubspanMatch(all[(row + step) % all.length].ctxs[0].text, answers)),
    );
    expect(found.join('')).toBe(fixture.subspan);
  });
});

test.each([
  ['The  Answer, an "A"!', 'answer'],
  ['theatre and a-la-carte', 'theatre and alacarte'],
  ['the\x1fend', 'end'],
  ['thé a', 'thé'],
  ['“quoted” – stays', '“quoted” – stays'],
])('%j is %j', (text, normalized) => {
  expect(normalizeAnswer(text)).toBe(normalized);
});

test('normalizing is idempotent for any text', () => {
  const piece = fc.constantFrom('the', 'a', 'an', ' ', '.', 'x', 'é', '\x1c', '-');
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      const once = normalizeAnswer(pieces.join(''));
      expect(normalizeAnswer(once)).toBe(once);
    }),
  );
});

test('any answer counts, parts of words too', () => {
  expect(bestSubspanMatch('They were Wilhelm Conrad Röntgens.', ['Curie', 'wilhelm conrad röntgen'])).toBe(1);
  expect(bestSubspanMatch('Nobody.', ['Curie'])).toBe(0);
});
