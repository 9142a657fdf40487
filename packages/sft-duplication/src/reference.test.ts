import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createDuplicator } from './duplicate.ts';
import { sftPresets } from './options.ts';

/**
 * The authors' rules written down plainly, in their terms: rows of ids and labels that are not shifted, −100 where
 * no loss counts. Only the draw is left open: `choose` picks `count` of the positions from `start` to `end` − 1.
 */
function authorsRows(
  prompt: number[],
  answer: number[],
  rules: { eos: number; mask: number; maxLength: number; ratio: number; threshold: number },
  choose: (start: number, end: number, count: number) => number[],
) {
  const { eos, mask, maxLength, ratio, threshold } = rules;
  const whole = [...prompt, ...answer, eos];
  const isCut = whole.length > maxLength;
  const original = {
    ids: isCut ? [...whole.slice(0, maxLength - 1), eos] : whole,
    labels: [...prompt.map(() => -100), ...answer, eos].slice(0, maxLength),
  };
  if (answer.length <= threshold) return [original];
  const end = Math.min(prompt.length + answer.length, maxLength - 1);
  const count = Math.max(1, Math.floor((end - prompt.length) * ratio));
  const chosen = choose(prompt.length, end, count);
  const copy = {
    ids: [...whole.slice(0, end).map((id, t) => (chosen.includes(t) ? mask : id)), eos],
    labels: [...whole.slice(0, end).map((id, t) => (chosen.includes(t) ? id : -100)), -100],
  };
  return [original, copy];
}

const [MASK, EOS, BOS] = [0, 1, 2];
const ids = (minLength: number, maxLength: number) =>
  fc.array(fc.integer({ min: 3, max: 50 }), { minLength, maxLength });

describe('preset reference', () => {
  it('gives the rows and labels of the authors’ rules, turn by turn', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(ids(0, 40), ids(1, 90)), { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 60, max: 110 }),
        fc.nat(),
        (turns, maxLength, seed) => {
          const system = [BOS, 60, 61];
          const { rows, statistics } = createDuplicator({
            ...sftPresets.reference,
            maskId: MASK,
            specialIds: [EOS, BOS],
            maxLength,
            seed,
          }).duplicate(
            {
              segments: [
                { ids: system, role: 'system', trainable: false },
                ...turns.flatMap(([question, answer]) => [
                  { ids: question, role: 'user', trainable: false },
                  { ids: [...answer, EOS], role: 'assistant', trainable: true },
                ]),
              ],
            },
            { epoch: 0, index: 0 },
          );
          const left = [...rows];
          let numDropped = 0;
          for (const [question, answer] of turns) {
            const prompt = [...system, ...question];
            if (prompt.length >= maxLength - 1) {
              // Here the authors' code crashes on the copy, or keeps a row without an answer token.
              numDropped++;
              continue;
            }
            const rules = { eos: EOS, mask: MASK, maxLength, ratio: 0.1, threshold: 50 };
            const expected = authorsRows(prompt, answer, rules, (start, end, count) => {
              const chosen = [...left[1].inputs.keys()].filter((t) => left[1].inputs[t] === MASK);
              expect(chosen.length).toBe(count);
              expect(chosen.every((t) => t >= start && t < end)).toBe(true);
              return chosen;
            });
            for (const { ids, labels } of expected) {
              const row = left.shift()!;
              // The last id of theirs predicts nothing; position i of ours predicts their label i + 1.
              expect([...row.inputs]).toEqual(ids.slice(0, -1));
              expect([...row.targets].map((id, i) => (row.lossMask[i] ? id : -100))).toEqual(labels.slice(1));
            }
          }
          expect(left).toEqual([]);
          expect(statistics.dropped).toEqual({ noAnswer: 0, promptFillsWindow: numDropped });
        },
      ),
      { numRuns: 500 },
    );
  });

  it('differs from the default where it is documented to, and nowhere else', () => {
    expect(sftPresets.default).toEqual({
      layout: 'packed-isolated',
      loss: 'union',
      refresh: 'epoch',
      turns: 'with-history',
      ratio: 0.1,
      threshold: 50,
      thresholdUnit: 'tokens',
    });
    expect(sftPresets.reference).toEqual({
      ...sftPresets.default,
      layout: 'separate-rows',
      refresh: 'static',
      turns: 'separate',
    });
  });
});
