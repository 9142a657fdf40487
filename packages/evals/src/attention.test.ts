import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { contrastAttention } from './attention-contrast.ts';
import { attentionShares, type PromptPart, segmentPrompt } from './attention-shares.ts';
import { EvalsError } from './error.ts';
import type { LanguageModel } from './language-model.ts';

/** `[layer][head][query]` of the keys up to the query. */
type Maps = number[][][][];

const fixture = JSON.parse(
  readFileSync(new URL('../fixtures/attention-statistics.json', import.meta.url), 'utf8'),
);
const sequences: { ids: number[]; maskedPositions: number[] }[] = fixture.maskedPositions.map(
  (maskedPositions: number[], index: number) => ({
    // The first id identifies the sequence and is not masked.
    ids: [index, ...Array(fixture.maps.ntp[index][0][0].length - 1).fill(7)],
    maskedPositions,
  }),
);

/** A model of stored maps, in blocks of this many queries, that records its inputs. */
function stored(name: string, maps: readonly Maps[], numRows = 5): LanguageModel & { asked: number[][] } {
  const asked: number[][] = [];
  return {
    asked,
    name,
    fingerprint: name,
    contextLength: 64,
    tokenizer: { encode: () => [], decode: () => '' },
    score: () => Promise.reject(new Error('not asked')),
    generate: () => Promise.reject(new Error('not asked')),
    async attention(ids, visit, options) {
      options?.signal?.throwIfAborted();
      asked.push([...ids]);
      const numKeys = maps[ids[0]][0][0].length;
      const buffer = new Float32Array(numRows * numKeys);
      for (const [layer, heads] of maps[ids[0]].entries()) {
        for (const [head, rows] of heads.entries()) {
          for (let queryStart = 0; queryStart < rows.length; queryStart += numRows) {
            const block = rows.slice(queryStart, queryStart + numRows);
            buffer.fill(0);
            for (const [i, row] of block.entries()) buffer.set(row, i * numKeys);
            const probabilities = buffer.subarray(0, block.length * numKeys);
            visit({ layer, head, queryStart, numQueries: block.length, numKeys, probabilities });
          }
        }
      }
    },
  };
}

/** Compares all numbers of an expected tree. */
function expectNear(got: unknown, wanted: unknown, path = ''): void {
  if (typeof wanted === 'number') {
    expect(Math.abs((got as number) - wanted), path).toBeLessThanOrEqual(1e-9 * Math.abs(wanted));
  } else if (typeof wanted === 'object' && wanted !== null) {
    for (const [key, value] of Object.entries(wanted)) {
      expectNear((got as Record<string, unknown>)[key], value, `${path}.${key}`);
    }
  } else expect(got, path).toBe(wanted);
}

describe('contrastAttention', () => {
  test.each([1, 5, 64])(
    'is what NumPy and SciPy compute from whole maps, blocks of %i rows',
    async (numRows) => {
      const ntp = stored('ntp', fixture.maps.ntp, numRows);
      const meap = stored('meap', fixture.maps.meap, numRows);
      const done: number[] = [];
      const onProgress = (numSequences: number) => done.push(numSequences);
      const got = await contrastAttention(ntp, meap, sequences, { maskId: 99, onProgress });
      expectNear(got.scoreDecay, fixture.scoreDecay);
      expectNear(got.varianceIncrease, fixture.varianceIncrease);
      expect(got).toMatchObject({ ntp: 'ntp', meap: 'meap', numSequences: 4 });
      expect(done).toEqual([1, 2, 3, 4]);
      // The NTP model reads the sequence, the MEAP model reads it with masks.
      expect(ntp.asked).toEqual(sequences.map(({ ids }) => ids));
      for (const [index, { ids, maskedPositions }] of sequences.entries()) {
        expect(meap.asked[index]).toEqual(ids.map((id, i) => (maskedPositions.includes(i) ? 99 : id)));
      }
    },
  );

  test('a model against itself changes nothing and has no test', async () => {
    const model = stored('one', fixture.maps.ntp);
    const same = await contrastAttention(model, model, sequences, { maskId: 7 });
    expect(same.scoreDecay).toMatchObject({ change: 0, paired: undefined });
    expect(same.varianceIncrease.change).toBe(0);
  });

  test('aborts with the reason of a signal', async () => {
    const model = stored('one', fixture.maps.ntp);
    const controller = new AbortController();
    const onProgress = () => controller.abort(new Error('enough'));
    const options = { maskId: 7, onProgress, signal: controller.signal };
    await expect(contrastAttention(model, model, sequences, options)).rejects.toThrow('enough');
    expect(model.asked.length).toBe(2);
  });

  const wrong = (maskedPositions: number[], ids = [0, 7, 7, 7]) =>
    contrastAttention(
      stored('m', fixture.maps.ntp),
      stored('m', fixture.maps.ntp),
      [{ ids, maskedPositions }],
      {
        maskId: 1,
      },
    );
  test.each([
    ['no sequences', () => contrastAttention(stored('m', []), stored('m', []), [], { maskId: 1 })],
    ['no mask', () => wrong([])],
    ['one position twice', () => wrong([1, 1])],
    ['a position outside', () => wrong([4])],
    ['too few others', () => wrong([1, 2, 3])],
    ['blocks of another length', () => wrong([1])],
  ])('refuses %s', async (_, call) => {
    await expect(call()).rejects.toThrow(EvalsError);
  });

  test.each([
    [
      'NaN',
      (maps: Maps) => maps.map((heads) => heads.map((rows) => rows.map((row) => row.map(() => Number.NaN)))),
    ],
    [
      'a missing row',
      (maps: Maps) => maps.map((heads) => heads.map((rows, head) => (head === 0 ? rows.slice(0, -1) : rows))),
    ],
    [
      'rows that do not sum to one',
      (maps: Maps) => maps.map((heads) => heads.map((rows) => rows.map((row) => row.map((p) => p / 2)))),
    ],
  ])('refuses a model that shows %s', async (_, damage) => {
    const broken = stored('broken', fixture.maps.ntp.map(damage));
    await expect(contrastAttention(broken, broken, sequences, { maskId: 7 })).rejects.toThrow(/^broken: /);
  });

  test('refuses a model without attention', async () => {
    const { attention: _, ...blind } = stored('blind', fixture.maps.ntp);
    await expect(contrastAttention(blind, blind, sequences, { maskId: 7 })).rejects.toThrow('blind: has no');
  });
});

describe('attentionShares', () => {
  const prompt = { ids: sequences[0].ids, segments: fixture.segments };

  test.each(['last', 'all'] as const)(
    'of %s queries is what NumPy computes from whole maps',
    async (queries) => {
      const model = stored('ntp', fixture.maps.ntp);
      const got = await attentionShares(model, [prompt], { queries });
      expectNear(got.prompts[0], fixture.shares[queries]);
      expect(got.prompts[0].tokens.reduce((a, b) => a + b)).toBeCloseTo(1, 5);
      expectNear(
        got.segments.map(({ name, share, perToken }) => ({ name, share, perToken })),
        fixture.shares[queries].segments.map((segment: Record<string, unknown>) => {
          const { name, share, perToken } = segment;
          return { name, share, perToken };
        }),
      );
      expect(got.segments[0]).not.toHaveProperty('standardError');
    },
  );

  test('averages over the prompts that have a segment', async () => {
    const model = stored('ntp', fixture.maps.ntp);
    const other = { ids: sequences[1].ids, segments: [{ name: 'answer', start: 0, end: 15 }] };
    const got = await attentionShares(model, [prompt, other]);
    const answer = got.segments.find(({ name }) => name === 'answer')!;
    expect(answer.numPrompts).toBe(2);
    expect(answer.share).toBeCloseTo((fixture.shares.last.segments[1].share + 1) / 2, 6);
    expect(answer.standardError).toBeGreaterThan(0);
  });

  test.each([
    [
      'a gap',
      [
        { name: 'a', start: 0, end: 3 },
        { name: 'b', start: 4, end: 12 },
      ],
    ],
    [
      'an overlap',
      [
        { name: 'a', start: 0, end: 5 },
        { name: 'b', start: 4, end: 12 },
      ],
    ],
    ['a rest', [{ name: 'a', start: 0, end: 5 }]],
    [
      'a name twice',
      [
        { name: 'a', start: 0, end: 5 },
        { name: 'a', start: 5, end: 12 },
      ],
    ],
    ['a segment that ends before it starts', [{ name: 'a', start: 0, end: -1 }]],
  ])('refuses %s', async (_, segments) => {
    const model = stored('ntp', fixture.maps.ntp);
    await expect(attentionShares(model, [{ ids: prompt.ids, segments }])).rejects.toThrow(EvalsError);
  });

  test('refuses no prompts', async () => {
    await expect(attentionShares(stored('ntp', fixture.maps.ntp), [])).rejects.toThrow(EvalsError);
  });
});

describe('segmentPrompt', () => {
  /** Pairs of characters, so that tokens lie across the ends of parts. */
  const pairs = {
    encode: (text: string) =>
      (text.match(/..?/gsu) ?? []).map((pair) => pair.charCodeAt(0) * 256 + (pair.charCodeAt(1) || 0)),
    decode: () => '',
  };

  test('encodes texts together and assigns a spanning token to the later part', () => {
    const { ids, segments } = segmentPrompt(pairs, [
      { name: 'BOS', ids: [1] },
      { name: 'context before', text: 'abc' },
      { name: 'answer', text: 'de' },
      { name: 'context after', text: '' },
      { name: 'query', text: 'fgh?' },
      { name: 'EOS', ids: [2] },
    ]);
    expect(ids).toEqual([1, ...pairs.encode('abcdefgh?'), 2]);
    expect(segments).toEqual([
      { name: 'BOS', start: 0, end: 1 },
      { name: 'context before', start: 1, end: 2 },
      { name: 'answer', start: 2, end: 3 },
      { name: 'context after', start: 3, end: 3 },
      { name: 'query', start: 3, end: 6 },
      { name: 'EOS', start: 6, end: 7 },
    ]);
  });

  test('covers all tokens without gaps', () => {
    const part = fc.oneof(fc.record({ text: fc.string() }), fc.record({ ids: fc.array(fc.nat(9)) }));
    fc.assert(
      fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
        const named = parts.map((part, i) => ({ name: `${i}`, ...part })) as PromptPart[];
        const { ids, segments } = segmentPrompt(pairs, named);
        expect(segments.map(({ name }) => name)).toEqual(named.map(({ name }) => name));
        let end = 0;
        for (const segment of segments) {
          expect(segment.start).toBe(end);
          end = segment.end;
        }
        expect(end).toBe(ids.length);
      }),
    );
  });
});
