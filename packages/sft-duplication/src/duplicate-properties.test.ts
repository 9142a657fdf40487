import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createDuplicator } from './duplicate.ts';
import type { SftOptions } from './options.ts';
import { type SftRow, type SftSample, TokenKind } from './types.ts';

const [MASK, EOS, BOS] = [0, 1, 2];
const base = { maskId: MASK, specialIds: [EOS, BOS], maxLength: 64 };
const duplicate = (sample: SftSample, options: Partial<SftOptions>, at = { epoch: 0, index: 0 }) =>
  createDuplicator({ ...base, ...options }).duplicate(sample, at);

/** The lessons of a row as text: each token with loss and the tokens it is predicted from. */
const lessons = (row: SftRow) =>
  [...row.inputs.keys()]
    .filter((i) => row.lossMask[i])
    .map((i) => {
      const start = row.segmentIds.indexOf(row.segmentIds[i]);
      const context = [...row.inputs.subarray(start, i + 1)].map((id, k) => [id, row.positions[start + k]]);
      return JSON.stringify([context, row.targets[i]]);
    });

describe('any sample', () => {
  const id = fc.integer({ min: 3, max: 9 });
  const segment = fc.record({
    ids: fc.array(fc.oneof({ weight: 5, arbitrary: id }, fc.constantFrom(EOS, BOS)), { maxLength: 12 }),
    role: fc.constantFrom('system', 'user', 'assistant'),
    trainable: fc.boolean(),
    numCharacters: fc.nat({ max: 40 }),
  });
  const anySample = fc.record({ segments: fc.array(segment, { maxLength: 6 }) });
  const rules = fc.record({
    loss: fc.constantFrom('union' as const, 'masked-only' as const),
    turns: fc.constantFrom('with-history' as const, 'separate' as const),
    refresh: fc.constantFrom('static' as const, 'epoch' as const),
    thresholdUnit: fc.constantFrom('tokens' as const, 'characters' as const),
    threshold: fc.nat({ max: 12 }),
    ratio: fc.double({ min: 0, max: 0.99, noNaN: true }),
    maxLength: fc.integer({ min: 2, max: 40 }),
    seed: fc.nat(),
    eosIdAfterCut: fc.constantFrom(undefined, EOS),
  });
  const layouts = ['packed-isolated', 'separate-rows', 'concatenated'] as const;

  it('masks and trains on allowed tokens only, and keeps lengths and the window', () => {
    fc.assert(
      fc.property(anySample, rules, fc.constantFrom(...layouts), fc.nat(), (sample, rule, layout, epoch) => {
        const { rows, statistics } = duplicate(sample, { ...rule, layout }, { epoch, index: 3 });
        for (const row of rows) {
          const length = row.inputs.length;
          expect(Object.values(row).every((values) => values.length === length)).toBe(true);
          expect(length).toBeLessThanOrEqual(rule.maxLength);
          expect(row.targets.includes(MASK)).toBe(false);
          expect(row.lossMask.includes(1)).toBe(true);
          for (let i = 0; i < length; i++) {
            const starts = i === 0 || row.segmentIds[i] !== row.segmentIds[i - 1];
            expect(row.positions[i]).toBe(starts ? 0 : row.positions[i - 1] + 1);
            expect(row.positions[i]).toBeLessThan(rule.maxLength - 1);
            if (row.lossMask[i]) {
              expect([TokenKind.answer, TokenKind.special, TokenKind.masked]).toContain(row.kinds[i]);
            }
            if (starts) expect(row.inputs[i]).not.toBe(MASK);
            else {
              // A position reads the target of the previous one, or the mask if that is a masked token.
              const isMasked = row.kinds[i - 1] === TokenKind.masked;
              expect(row.inputs[i]).toBe(isMasked ? MASK : row.targets[i - 1]);
            }
            if (row.kinds[i] === TokenKind.masked) {
              expect(row.lossMask[i]).toBe(1);
              expect([EOS, BOS]).not.toContain(row.targets[i]);
            }
          }
        }
        const count = (kind: number) =>
          rows.reduce((sum, { kinds }) => sum + kinds.filter((k) => k === kind).length, 0);
        expect(statistics.numRows).toBe(rows.length);
        expect(statistics.numMasked).toBe(count(TokenKind.masked));
        expect(statistics.numMasked > 0).toBe(statistics.numCopies > 0);
        expect(statistics.numCopiedAnswerTokens).toBe(count(TokenKind.masked) + count(TokenKind.copyAnswer));
      }),
      { numRuns: 1000 },
    );
  });

  it('has the same loss in one row as in two for any model, if segments do not see each other', () => {
    fc.assert(
      fc.property(anySample, rules, (sample, rule) => {
        const [packed, separate] = layouts
          .slice(0, 2)
          .map((layout) => duplicate(sample, { ...rule, layout }).rows);
        expect(packed.flatMap(lessons)).toEqual(separate.flatMap(lessons));
      }),
      { numRuns: 500 },
    );
  });

  it('masked-only equals union without the originals of masked answers', () => {
    fc.assert(
      fc.property(anySample, rules, (sample, rule) => {
        const teach = (loss: SftOptions['loss']) =>
          duplicate(sample, { ...rule, loss, layout: 'separate-rows' }).rows.flatMap(lessons);
        const union = teach('union');
        for (const lesson of teach('masked-only')) {
          const at = union.indexOf(lesson);
          expect(at).toBeGreaterThanOrEqual(0);
          union.splice(at, 1);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('duplicateAll equals duplicate for each, in the given order', () => {
    fc.assert(
      fc.property(fc.array(anySample, { maxLength: 6 }), rules, fc.nat(), (samples, rule, epoch) => {
        const duplicator = createDuplicator({ ...base, ...rule });
        const order = samples.map((_, i) => i).reverse();
        const all = duplicator.duplicateAll(samples, { epoch, order });
        const each = order.map((index) => duplicator.duplicate(samples[index], { epoch, index }));
        expect(all.rows).toEqual(each.flatMap(({ rows }) => rows));
        expect(all.statistics.numMasked).toBe(
          each.reduce((sum, { statistics }) => sum + statistics.numMasked, 0),
        );
        expect(all.statistics.dropped.noAnswer).toBe(
          each.reduce((sum, { statistics }) => sum + statistics.dropped.noAnswer, 0),
        );
      }),
    );
  });
});
