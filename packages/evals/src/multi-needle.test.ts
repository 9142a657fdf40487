import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EvalsError } from './error.ts';
import { evaluate } from './evaluate.ts';
import type { GenerateRequest, Generation } from './language-model.ts';
import { type MultiNeedleOptions, multiNeedleTask } from './multi-needle.ts';
import { characters, functionModel } from './testing.ts';
import { onlyRequest } from './testing-data.ts';

const record = (derivations: string[]) => ({
  derivations,
  derivation_count: derivations.length,
  question: 'Who? ',
  answer: 'Ada Lovelace',
});
const haystack = ['.'.repeat(2000), '.'.repeat(3000)];
const records = [record(['AAA', 'BBBB']), record(['CC', 'DD', 'EE'])];

function asked(options: Partial<MultiNeedleOptions>) {
  const task = multiNeedleTask(records, { haystack, numRepeats: 1, numNeedles: [2], ...options });
  return [...task.items({ tokenizer: characters, contextLength: 100_000 })].map((item) =>
    characters.decode(onlyRequest(item).prompt),
  );
}

test('prompt and positions are the published ones', () => {
  // 1,000 tokens without the facts' 11; the first fact at half, the second a tenth further and twice past the first.
  const [prompt] = asked({ lengths: [4011], depths: [50] });
  const context = `${'.'.repeat(500)}\nAAA\n${'.'.repeat(105)}\nBBBB\n${'.'.repeat(395)}`;
  expect(prompt).toBe(
    `You are an intelligent AI assistant skilled in answering user questions.\nPlease keep your answers concise and clear. Do not talk about irrelevant topics or repeat your answers.\nThe document given to you by the user is ${context}\n\nNow, the question is: Who? Before answering, please consider what in the document is most relevant to this question.`,
  );
});

test('all facts occur once, in order, in a text of the length minus 3000', () => {
  const lengths = fc.integer({ min: 3020, max: 7000 });
  fc.assert(
    fc.property(lengths, fc.integer({ min: 0, max: 100 }), (length, depth) => {
      const [prompt] = asked({ lengths: [length], depths: [depth], numNeedles: [3] });
      const context = prompt.split('user is ')[1].split('\n\nNow')[0];
      expect(context.replaceAll('.', '')).toBe('\nCC\n\nDD\n\nEE\n');
      expect(context).toHaveLength(length - 3000);
    }),
  );
});

test('grid, groups and the published score', async () => {
  const model = {
    ...functionModel(() => ({ logLikelihood: 0, isGreedy: false })),
    generate: async (requests: readonly GenerateRequest[]) =>
      requests.map((): Generation => ({ text: 'It was ADA.', ids: [], finish: 'stop' })),
  };
  const options = { haystack, lengths: [3500, 20_000], depths: [0, 100], numNeedles: [2, 3], numRepeats: 2 };
  const task = multiNeedleTask(records, options);
  const { results, groups, skipped } = await evaluate(task, model);
  expect(task.numItems).toBe(16);
  expect(results.score).toMatchObject({ value: 50, numItems: 16 });
  expect(skipped).toEqual([]); // The haystack ends before 20,000 tokens and is not repeated.
  expect(Object.keys(groups)).toEqual(['needles', 'length', 'depth']);
});

test.each([
  [records, { numNeedles: [4] }, 'no record has 4 derivations'],
  [records, { haystack: [] }, 'the haystack is empty'],
  [[{ derivations: 'x' }], {}, 'row 0: field derivations is wrong'],
])('is refused: %#', (rows, options, message) => {
  const make = () => multiNeedleTask(rows, { haystack, numNeedles: [2], ...options });
  expect(make).toThrow(EvalsError);
  expect(make).toThrow(message);
});
