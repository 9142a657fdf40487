import { describe, expect, it } from 'vitest';
import { createDuplicator } from './duplicate.ts';
import { SftError } from './error.ts';
import { type SftOptions, sftPresets } from './options.ts';
import type { SftRow, SftSample } from './types.ts';

const MASK = 0;
const EOS = 1;
const BOS = 2;
const start = { epoch: 0, index: 0 };
const base = { maskId: MASK, specialIds: [EOS, BOS], maxLength: 64, threshold: 2, ratio: 0.5, seed: 3 };

const prompt = (...ids: number[]) => ({ ids, role: 'user', trainable: false });
const system = (...ids: number[]) => ({ ids, role: 'system', trainable: false });
const answer = (...ids: number[]) => ({ ids, role: 'assistant', trainable: true });
const sampleOf = (...segments: SftSample['segments']): SftSample => ({ segments });

const duplicate = (sample: SftSample, options: Partial<SftOptions> = {}, at = start) =>
  createDuplicator({ ...base, ...options }).duplicate(sample, at);

/** A row as plain arrays. */
const plain = (row: SftRow) =>
  Object.fromEntries(Object.entries(row).map(([name, values]) => [name, [...values]]));

// 4 answer tokens, half of them masked: with seed 3, epoch 0, sample 0 these are the first and the third.
const short = sampleOf(prompt(BOS, 10, 11), answer(20, 21, 22, 23, EOS));

describe('one sample, by hand', () => {
  it('packed-isolated: original and copy are segments of one row, positions restart', () => {
    const { rows, statistics } = duplicate(short);
    expect(rows.map(plain)).toEqual([
      {
        inputs: [BOS, 10, 11, 20, 21, 22, 23, BOS, 10, 11, MASK, 21, MASK, 23],
        targets: [10, 11, 20, 21, 22, 23, EOS, 10, 11, 20, 21, 22, 23, EOS],
        lossMask: [0, 0, 1, 1, 1, 1, 1, 0, 0, 1, 0, 1, 0, 0],
        segmentIds: [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1],
        positions: [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6],
        kinds: [1, 1, 2, 2, 2, 2, 3, 4, 4, 7, 5, 7, 5, 6],
      },
    ]);
    expect(statistics).toEqual({
      numSamples: 1,
      dropped: { noAnswer: 0, promptFillsWindow: 0 },
      numCut: 0,
      numCopies: 1,
      numApart: 0,
      numWithoutRoom: 0,
      numRows: 1,
      numPositions: 14,
      numLearned: 7,
      numMasked: 2,
      numCopiedAnswerTokens: 4,
    });
  });

  it('separate-rows: the same two, a row each', () => {
    const { rows } = duplicate(short, { layout: 'separate-rows' });
    expect(rows.map(plain)).toEqual([
      {
        inputs: [BOS, 10, 11, 20, 21, 22, 23],
        targets: [10, 11, 20, 21, 22, 23, EOS],
        lossMask: [0, 0, 1, 1, 1, 1, 1],
        segmentIds: [0, 0, 0, 0, 0, 0, 0],
        positions: [0, 1, 2, 3, 4, 5, 6],
        kinds: [1, 1, 2, 2, 2, 2, 3],
      },
      {
        inputs: [BOS, 10, 11, MASK, 21, MASK, 23],
        targets: [10, 11, 20, 21, 22, 23, EOS],
        lossMask: [0, 0, 1, 0, 1, 0, 0],
        segmentIds: [0, 0, 0, 0, 0, 0, 0],
        positions: [0, 1, 2, 3, 4, 5, 6],
        kinds: [4, 4, 7, 5, 7, 5, 6],
      },
    ]);
  });

  it('concatenated: one causal sequence; EOS of the original does not learn the first token of the copy', () => {
    const { rows } = duplicate(short, { layout: 'concatenated' });
    expect(rows.map(plain)).toEqual([
      {
        inputs: [BOS, 10, 11, 20, 21, 22, 23, EOS, BOS, 10, 11, MASK, 21, MASK, 23],
        targets: [10, 11, 20, 21, 22, 23, EOS, BOS, 10, 11, 20, 21, 22, 23, EOS],
        lossMask: [0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 1, 0, 1, 0, 0],
        segmentIds: new Array(15).fill(0),
        positions: [...Array(15).keys()],
        kinds: [1, 1, 2, 2, 2, 2, 3, 4, 4, 4, 7, 5, 7, 5, 6],
      },
    ]);
  });

  it('masked-only: an original without loss is only kept where the copy sees it', () => {
    for (const layout of ['packed-isolated', 'separate-rows'] as const) {
      const [copy, ...others] = duplicate(short, { loss: 'masked-only', layout }).rows;
      expect(others).toEqual([]);
      expect([...copy.inputs]).toEqual([BOS, 10, 11, MASK, 21, MASK, 23]);
      expect([...copy.lossMask]).toEqual([0, 0, 1, 0, 1, 0, 0]);
    }
    const [row] = duplicate(short, { loss: 'masked-only', layout: 'concatenated' }).rows;
    expect([...row.lossMask]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0]);
  });

  it('masked-only: keeps no original whose only other answer is the first token, which nothing predicts', () => {
    const sample = sampleOf(answer(20), prompt(), answer(21));
    const { rows } = duplicate(sample, { loss: 'masked-only', threshold: 0 });
    expect(rows.map(plain)).toMatchObject([{ inputs: [20], targets: [21], lossMask: [1], kinds: [7] }]);
  });

  it('predicts a masked token after a masked token from the mask', () => {
    // Nine of ten tokens masked: at most one position of the copy reads an answer token.
    const ids = Array.from({ length: 10 }, (_, i) => 20 + i);
    const { rows } = duplicate(sampleOf(prompt(BOS), answer(...ids, EOS)), {
      ratio: 0.9,
      layout: 'separate-rows',
    });
    const copy = rows[1];
    expect([...copy.inputs].filter((id) => id === MASK).length).toBe(9);
    for (const i of copy.inputs.keys()) {
      // Position i predicts token i + 1, and has loss exactly if position i + 1 reads the mask.
      if (i + 1 < copy.inputs.length) {
        expect(copy.lossMask[i]).toBe(copy.inputs[i + 1] === MASK ? 1 : 0);
        expect(copy.targets[i]).toBe(rows[0].inputs[i + 1]);
      }
    }
  });
});

describe('threshold', () => {
  it('duplicates only answers strictly longer: 50 tokens by default', () => {
    for (const [length, numCopies] of [
      [50, 0],
      [51, 1],
    ]) {
      const sample = sampleOf(prompt(BOS, 3), answer(...new Array(length).fill(9), EOS));
      const { statistics, rows } = duplicate(sample, { threshold: undefined, maxLength: 200 });
      expect(statistics.numCopies).toBe(numCopies);
      expect(statistics.numLearned).toBe(length + 1 + numCopies * Math.floor(length * 0.5));
      expect(rows.length).toBe(1);
    }
  });

  it('counts characters where asked, of the whole answer', () => {
    const withCharacters = (numCharacters?: number) =>
      sampleOf(prompt(BOS, 3), { ...answer(9, 9, EOS), numCharacters });
    const options = { threshold: 50, thresholdUnit: 'characters' as const };
    expect(duplicate(withCharacters(50), options).statistics.numCopies).toBe(0);
    expect(duplicate(withCharacters(51), options).statistics.numCopies).toBe(1);
    expect(() => duplicate(withCharacters(), options)).toThrow(SftError);
    expect(() => duplicate(withCharacters(), options)).toThrow(
      /^sample 0, answer 0: no length in characters, got numCharacters NaN, expected .*$/,
    );
    // Two pieces of one answer: 30 + 30 characters.
    const pieces = [answer(9), answer(9, EOS)].map((piece) => ({ ...piece, numCharacters: 30 }));
    expect(duplicate(sampleOf(prompt(BOS), ...pieces), options).statistics.numCopies).toBe(1);
  });

  it('ratio 0 is plain next-token prediction', () => {
    const { rows, statistics } = duplicate(short, { ratio: 0 });
    expect(statistics.numCopies).toBe(0);
    expect(rows.map((row) => [...row.lossMask])).toEqual([[0, 0, 1, 1, 1, 1, 1]]);
  });
});

describe('several turns', () => {
  const conversation = sampleOf(
    system(BOS, 3),
    prompt(10),
    answer(20, 21, 22, EOS),
    prompt(11, 12),
    answer(30, EOS),
    prompt(13),
    answer(40, 41, 42, 43, EOS),
    prompt(14, 15),
  );

  it('with history: one sequence, long answers masked in the copy, what follows the last answer left out', () => {
    const { rows, statistics } = duplicate(conversation, { layout: 'separate-rows' });
    expect([...rows[0].inputs]).toEqual([BOS, 3, 10, 20, 21, 22, EOS, 11, 12, 30, EOS, 13, 40, 41, 42, 43]);
    expect([...rows[0].lossMask]).toEqual([0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 0, 1, 1, 1, 1, 1]);
    const masked = [...rows[1].inputs.keys()].filter((i) => rows[1].inputs[i] === MASK);
    expect(masked.filter((i) => i >= 3 && i <= 5).length).toBe(1);
    expect(masked.filter((i) => i >= 12 && i <= 15).length).toBe(2);
    expect(masked.length).toBe(3);
    expect([...rows[1].lossMask.keys()].filter((i) => rows[1].lossMask[i])).toEqual(masked.map((i) => i - 1));
    // The short answer is copied, but not masked, and has loss once.
    expect(statistics).toMatchObject({ numCopies: 1, numMasked: 3, numCopiedAnswerTokens: 8 });
  });

  it('masked-only: a short answer still has loss in the original', () => {
    const { rows } = duplicate(conversation, { layout: 'separate-rows', loss: 'masked-only' });
    expect([...rows[0].lossMask]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0]);
  });

  it('separate: every turn after the system prompt, without history, with the same masks', () => {
    const { rows } = duplicate(conversation, { ...sftPresets.reference, ratio: 0.5, threshold: 2 });
    expect(rows.map((row) => [...row.inputs].map((id) => (id === MASK ? '#' : id)).length)).toEqual([
      6, 6, 5, 7, 7,
    ]);
    expect([rows[0], rows[2], rows[3]].map((row) => [...row.inputs])).toEqual([
      [BOS, 3, 10, 20, 21, 22],
      [BOS, 3, 11, 12, 30],
      [BOS, 3, 13, 40, 41, 42, 43],
    ]);
    expect([...rows[0].targets]).toEqual([3, 10, 20, 21, 22, EOS]);
    expect([...rows[2].lossMask]).toEqual([0, 0, 0, 1, 1]);
    const history = duplicate(conversation, { layout: 'separate-rows' }).rows[1].inputs;
    expect([...rows[1].inputs.subarray(3)]).toEqual([...history.subarray(3, 6)]);
    expect([...rows[4].inputs.subarray(3)]).toEqual([...history.subarray(12, 16)]);
  });

  it('has loss on the chosen roles only', () => {
    const tools = sampleOf(
      prompt(BOS, 10),
      { ids: [20, EOS], role: 'assistant', trainable: true },
      { ids: [30, EOS], role: 'tool', trainable: true },
      { ids: [21, EOS], role: 'assistant', trainable: false },
    );
    const learned = (lossRoles?: string[]) =>
      duplicate(tools, { lossRoles }).rows.map((row) => [...row.lossMask]);
    expect(learned()).toEqual([[0, 1, 1]]);
    expect(learned(['tool'])).toEqual([[0, 0, 0, 1, 1]]);
    expect(learned(['assistant', 'tool'])).toEqual([[0, 1, 1, 1, 1]]);
    expect(learned(['user'])).toEqual([]);
    // Two roles, two answers: each has its own masks.
    const both = duplicate(tools, { lossRoles: ['assistant', 'tool'], threshold: 0 });
    expect(both.statistics.numMasked).toBe(2);
  });
});

describe('samples without loss', () => {
  it('are dropped and counted by reason', () => {
    const samples = [
      sampleOf(),
      sampleOf(prompt(BOS, 10)),
      sampleOf(prompt(BOS, 10), answer(EOS)),
      sampleOf(prompt(BOS, 10), answer()),
      sampleOf(answer(20)),
      sampleOf(prompt(BOS, ...new Array(62).fill(10)), answer(20, 21, EOS)),
      sampleOf(prompt(...new Array(100).fill(10)), answer(20, 21, EOS)),
      short,
    ];
    for (const turns of ['with-history', 'separate'] as const) {
      const { rows, statistics } = createDuplicator({ ...base, turns }).duplicateAll(samples, { epoch: 0 });
      expect(rows.length).toBe(1);
      expect(statistics).toMatchObject({
        numSamples: 8,
        dropped: { noAnswer: 5, promptFillsWindow: 2 },
        numCut: 0,
      });
    }
  });

  it('an empty answer among others has no loss: it would teach the model to answer nothing', () => {
    const { rows } = duplicate(sampleOf(prompt(BOS, 10), answer(EOS), prompt(11), answer(20, EOS)));
    expect(rows.map((row) => [...row.lossMask])).toEqual([[0, 0, 0, 1, 1]]);
  });

  it.each<[string, SftSample]>([
    ['the mask id is inside the text', sampleOf(prompt(BOS, MASK), answer(20, EOS))],
    ['not a token id', sampleOf(prompt(BOS, 10), answer(20.5, EOS))],
    ['not a token id', sampleOf(prompt(BOS, -1), answer(20, EOS))],
    ['not a token id', sampleOf(prompt(2 ** 31), answer(20, EOS))],
  ])('%s: refused with its position', (reason, sample) => {
    const call = () => duplicate(sample, {}, { epoch: 0, index: 7 });
    expect(call).toThrow(SftError);
    expect(call).toThrow(
      new RegExp(`^sample 7, token \\d of a (user|assistant) segment: ${reason}, got .*, expected [^\n]*$`),
    );
  });
});

describe('options', () => {
  it.each<[Partial<SftOptions>]>([
    [{ layout: 'rows' as 'separate-rows' }],
    [{ loss: 'all' as 'union' }],
    [{ refresh: 'step' as 'epoch' }],
    [{ turns: 'all' as 'separate' }],
    [{ thresholdUnit: 'words' as 'tokens' }],
    [{ ratio: 1 }],
    [{ ratio: Number.NaN }],
    [{ threshold: -1 }],
    [{ threshold: 1.5 }],
    [{ maxLength: 1 }],
    [{ maskId: -1 }],
    [{ seed: 0.5 }],
    [{ specialIds: [1, -2] }],
    [{ eosIdAfterCut: -1 }],
    [{ eosIdAfterCut: MASK }],
    [{ lossRoles: [] }],
  ])('refuses %o in one line', (options) => {
    expect(() => createDuplicator({ ...base, ...options })).toThrow(SftError);
    expect(() => createDuplicator({ ...base, ...options })).toThrow(
      /^createDuplicator: [^\n]*expected [^\n]*$/,
    );
  });

  it('refuses positions out of range and missing samples', () => {
    const duplicator = createDuplicator(base);
    expect(() => duplicator.duplicate(short, { epoch: -1, index: 0 })).toThrow(SftError);
    expect(() => duplicator.duplicate(short, { epoch: 0, index: 0.5 })).toThrow(SftError);
    expect(() => duplicator.duplicateAll([short], { epoch: 0, order: [1] })).toThrow(/no such sample, got 1/);
  });
});
