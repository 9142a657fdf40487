import { describe, expect, it } from 'vitest';
import { createDuplicator } from './duplicate.ts';
import type { SftOptions } from './options.ts';
import { type SftRow, type SftSample, TokenKind } from './types.ts';

const MASK = 0;
const EOS = 1;
const BOS = 2;
const start = { epoch: 0, index: 0 };
const base = { maskId: MASK, specialIds: [EOS, BOS], maxLength: 64, threshold: 2, ratio: 0.5, seed: 3 };

const prompt = (...ids: number[]) => ({ ids, role: 'user', trainable: false });
const answer = (...ids: number[]) => ({ ids, role: 'assistant', trainable: true });
const sampleOf = (...segments: SftSample['segments']): SftSample => ({ segments });

const duplicate = (sample: SftSample, options: Partial<SftOptions> = {}, at = start) =>
  createDuplicator({ ...base, ...options }).duplicate(sample, at);

/** A row as plain arrays. */
const plain = (row: SftRow) =>
  Object.fromEntries(Object.entries(row).map(([name, values]) => [name, [...values]]));

describe('cut to maxLength', () => {
  const long = sampleOf(prompt(BOS, 10), answer(20, 21, 22, 23, 24, 25, EOS));
  const tight = { maxLength: 6, layout: 'separate-rows' as const, threshold: 5, ratio: 0.34 };

  it('keeps maxLength − 1 tokens to read; the last target is the token that follows, or EOS', () => {
    for (const [options, last] of [
      [{}, 23],
      [{ eosIdAfterCut: EOS }, EOS],
    ] as const) {
      const { rows, statistics } = duplicate(long, { ...tight, ...options });
      expect(plain(rows[0])).toMatchObject({
        inputs: [BOS, 10, 20, 21, 22],
        targets: [10, 20, 21, 22, last],
        lossMask: [0, 1, 1, 1, 1],
      });
      // Three of six answer tokens are read: floor(3 · 0.34) = 1 is masked, and the last target is not.
      expect([...rows[1].inputs].filter((id) => id === MASK).length).toBe(1);
      expect([...rows[1].targets]).toEqual([10, 20, 21, 22, last]);
      expect(rows[1].kinds[4]).toBe(TokenKind.copySpecial);
      expect(rows[1].lossMask[4]).toBe(0);
      expect(statistics).toMatchObject({ numCut: 1, numCopies: 1, numMasked: 1, numCopiedAnswerTokens: 3 });
    }
  });

  it('does not cut what fits to the token', () => {
    const { rows, statistics } = duplicate(long, { ...tight, maxLength: 9 });
    expect(rows[0].inputs.length).toBe(8);
    expect([...rows[0].targets].at(-1)).toBe(EOS);
    expect(statistics.numCut).toBe(0);
  });

  it('holds the threshold against the whole answer, as the authors’ code does', () => {
    expect(duplicate(long, { ...tight, threshold: 5 }).statistics.numCopies).toBe(1);
    expect(duplicate(long, { ...tight, threshold: 6 }).statistics.numCopies).toBe(0);
  });

  it('ends a conversation with the last whole answer where the cut falls between answers', () => {
    const two = sampleOf(prompt(BOS, 10), answer(20, EOS), prompt(11, 12, 13), answer(30, 31, EOS));
    const read = (maxLength: number) => {
      const [row] = duplicate(two, { maxLength, ratio: 0 }).rows;
      return [...row.inputs, row.targets.at(-1)];
    };
    const whole = [BOS, 10, 20, EOS, 11, 12, 13, 30, 31, EOS];
    expect(read(10)).toEqual(whole);
    expect(read(9)).toEqual(whole.slice(0, 9));
    for (const maxLength of [4, 5, 6, 7, 8]) expect(read(maxLength)).toEqual([BOS, 10, 20, EOS]);
    // An answer that ends with the window is whole, with or without EOS.
    const open = sampleOf(prompt(BOS, 10), answer(20, 21), prompt(11), answer(30, EOS));
    const [row] = duplicate(open, { maxLength: 4, ratio: 0, eosIdAfterCut: EOS }).rows;
    expect([...row.targets]).toEqual([10, 20, 21]);
    expect(duplicate(two, { maxLength: 3 }).statistics.dropped.promptFillsWindow).toBe(1);
  });

  it('concatenated: both copies fit in maxLength, each cut to half of it', () => {
    const { rows, statistics } = duplicate(long, { ...tight, layout: 'concatenated', maxLength: 12 });
    expect(rows.length).toBe(1);
    expect([...rows[0].targets]).toEqual([10, 20, 21, 22, 23, BOS, 10, 20, 21, 22, 23]);
    expect(statistics).toMatchObject({ numCut: 1, numCopies: 1, numWithoutRoom: 0 });
    // 18 tokens are two whole copies, 17 are not.
    expect(duplicate(long, { ...tight, layout: 'concatenated', maxLength: 17 }).statistics.numCut).toBe(1);
    expect(duplicate(long, { ...tight, layout: 'concatenated', maxLength: 18 }).statistics.numCut).toBe(0);
    // Half of six holds only prompt and last target: no copy, and counted.
    const one = duplicate(sampleOf(prompt(BOS, 10), answer(20, 21, EOS)), {
      layout: 'concatenated',
      maxLength: 6,
      threshold: 1,
    });
    expect(one.rows.map((row) => [...row.lossMask])).toEqual([[0, 1, 1, 1]]);
    expect(one.statistics).toMatchObject({ numCopies: 0, numWithoutRoom: 1, numCut: 0 });
  });

  it('packed-isolated: copies that do not fit in one row take one each, uncut', () => {
    const { rows, statistics } = duplicate(long, { maxLength: 15 });
    expect(rows.map((row) => row.inputs.length)).toEqual([8, 8]);
    expect(statistics).toMatchObject({ numApart: 1, numCut: 0 });
    expect(duplicate(long, { maxLength: 16 }).rows.length).toBe(1);
  });
});
