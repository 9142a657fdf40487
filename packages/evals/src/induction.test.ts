import { describe, expect, it } from 'vitest';
import { EvalsError } from './error.ts';
import { evaluate } from './evaluate.ts';
import { inductionTask, prefixMatching } from './induction.ts';
import { keyValueRecallTask } from './key-value-recall.ts';
import type { LanguageModel, ScoreRequest } from './language-model.ts';
import { functionModel } from './testing.ts';

const KNOWN = Math.log(0.75);
const UNKNOWN = Math.log(0.01);

/** Predicts what followed the previous occurrence of the last token; all else is equally improbable. */
function copies({ context, continuation }: ScoreRequest) {
  let [logLikelihood, isGreedy] = [0, true];
  const read = [...context];
  for (const id of continuation) {
    const before = read.lastIndexOf(read.at(-1)!, -2);
    const isKnown = before >= 0 && read[before + 1] === id;
    logLikelihood += isKnown ? KNOWN : UNKNOWN;
    isGreedy &&= isKnown;
    read.push(id);
  }
  return { logLikelihood, isGreedy };
}
const blind = ({ continuation }: ScoreRequest) => ({
  logLikelihood: UNKNOWN * continuation.length,
  isGreedy: false,
});

describe('inductionTask', () => {
  it('has the gain of a model that copies, and none of one that does not look back', async () => {
    const task = inductionTask({ length: 8, numSequences: 5 });
    const { results } = await evaluate(task, functionModel(copies));
    expect(results.gain.value).toBeCloseTo(KNOWN - UNKNOWN, 12);
    expect(results.acc.value).toBe(1);
    const other = await evaluate(task, functionModel(blind));
    expect(other.results).toMatchObject({ gain: { value: 0 }, acc: { value: 0 } });
  });

  it('draws different tokens of words, by seed, and repeats them', async () => {
    const model = functionModel(blind);
    await evaluate(inductionTask({ length: 20, numSequences: 3, seed: 4 }), model);
    const requests = model.calls.flat();
    const longer = requests.filter(({ context }) => context.length === 22);
    expect(longer).toHaveLength(3);
    for (const { context, continuation } of longer) {
      const tokens = context.slice(1, 21);
      expect(new Set(tokens).size).toBe(20);
      expect([context[21], ...continuation]).toEqual(tokens);
    }
    const again = functionModel(blind);
    await evaluate(inductionTask({ length: 20, numSequences: 3, seed: 5 }), again);
    expect(again.calls.flat()).not.toEqual(requests);
  });

  it('skips what the model cannot read, and refuses what nobody can draw', async () => {
    const { skipped } = await evaluate(inductionTask(), functionModel(blind, { contextLength: 49 }));
    expect(skipped).toHaveLength(32);
    expect(() => inductionTask({ length: 0 })).toThrow('length: got 0, expected a whole number from 2');
    await expect(evaluate(inductionTask({ ids: [5, 6], length: 3 }), functionModel(blind))).rejects.toThrow(
      'induction: needs 3 different tokens, got 2',
    );
  });
});

describe('prefixMatching', () => {
  /** Two heads: one attends to the token after the previous occurrence, one evenly; blocks of three queries. */
  const model: LanguageModel = {
    ...functionModel(blind),
    async attention(ids, visit) {
      const numKeys = ids.length;
      for (const head of [0, 1]) {
        for (let queryStart = 0; queryStart < numKeys; queryStart += 3) {
          const numQueries = Math.min(3, numKeys - queryStart);
          const probabilities = new Float32Array(numQueries * numKeys);
          for (let i = 0; i < numQueries; i++) {
            const query = queryStart + i;
            const before = ids.slice(0, query).lastIndexOf(ids[query]);
            for (let key = 0; key <= query; key++) {
              const induced = Number(key === (before < 0 ? query : before + 1));
              probabilities[i * numKeys + key] = head === 0 ? induced : 1 / (query + 1);
            }
          }
          visit({ layer: 0, head, queryStart, numQueries, numKeys, probabilities });
        }
      }
    },
  };

  it('is 1 for an induction head, and that of chance for an even one', async () => {
    const { score, heads } = await prefixMatching(model, { length: 6, numSequences: 2 });
    expect(score).toBeCloseTo(1, 6);
    const even = [8, 9, 10, 11, 12, 13].reduce((sum, seen) => sum + 1 / seen, 0) / 6;
    expect(heads).toHaveLength(1);
    expect(heads[0][1]).toBeCloseTo(even, 6);
  });

  it('refuses a model without attention, and a context that is too short', async () => {
    await expect(prefixMatching(functionModel(blind))).rejects.toThrow(EvalsError);
    await expect(prefixMatching({ ...model, contextLength: 50 })).rejects.toThrow('expected at least 51');
  });
});

describe('keyValueRecallTask', () => {
  it('has all values of a model that copies, by pairs and distance', async () => {
    const result = await evaluate(keyValueRecallTask({ pairs: [2, 3], numRows: 6 }), functionModel(copies));
    expect(result.results.acc.value).toBe(1);
    expect(result.results.margin.value).toBeCloseTo(KNOWN - UNKNOWN, 12);
    const distances = result.samples.map(({ groups }) => [groups!.pairs, groups!.distance]);
    expect(distances.filter(([pairs]) => pairs === 3).map(([, distance]) => distance)).toEqual([
      0, 1, 2, 0, 1, 2,
    ]);
  });

  it('has none of a model that does not look back: a tie is no recall', async () => {
    const { results } = await evaluate(keyValueRecallTask({ pairs: [4], numRows: 8 }), functionModel(blind));
    expect(results).toMatchObject({ acc: { value: 0 }, margin: { value: 0 } });
  });

  it('keeps the rows of one number of pairs where another is left out', async () => {
    const rowsOf = async (pairs: number[]) => {
      const { samples } = await evaluate(keyValueRecallTask({ pairs, numRows: 4 }), functionModel(blind));
      return samples.filter(({ groups }) => groups!.pairs === 4).map(({ shown }) => shown);
    };
    expect(await rowsOf([2, 4])).toEqual(await rowsOf([4]));
  });

  it('refuses a single pair', () => {
    expect(() => keyValueRecallTask({ pairs: [1] })).toThrow('pairs: got 1, expected a whole number from 2');
  });
});
