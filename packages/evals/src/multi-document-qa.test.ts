import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareResults } from './compare-results.ts';
import { EvalsError } from './error.ts';
import { evaluate } from './evaluate.ts';
import type { GenerateRequest, Generation, LanguageModel } from './language-model.ts';
import { multiDocumentQaTask } from './multi-document-qa.ts';
import { characters, functionModel } from './testing.ts';
import { onlyRequest } from './testing-data.ts';

const document = (title: string, isgold: boolean) => ({ title, text: `Text of ${title}.`, isgold });
const row = (question: string, documents: string) => ({
  question,
  answers: [`${question}-answer`],
  // Documents with a capital letter have the answer.
  ctxs: Array.from(documents, (title) => document(title, title === title.toUpperCase())),
});

/** Titles in the order of a prompt, by id of the row. */
function titles(...[rows, options]: Parameters<typeof multiDocumentQaTask>): Record<string, string> {
  const items = [
    ...multiDocumentQaTask(rows, options).items({ tokenizer: characters, contextLength: 10_000 }),
  ];
  return Object.fromEntries(
    items.map(({ id, ask }) => {
      if (ask.kind === 'skip') return [id, ask.reason];
      const text = characters.decode((ask.requests[0] as GenerateRequest).prompt);
      return [id, [...text.matchAll(/\(Title: (.+?)\)/g)].map(([, title]) => title).join('')];
    }),
  );
}

test('the document with the answer moves to each position, the others keep their order', () => {
  expect(titles([row('q', 'abGcdef')], { numDocuments: 5 })).toEqual({ '0-1': 'Gabcd', '0-5': 'abcdG' });
  expect(titles([row('q', 'abGcdef')], { numDocuments: 3, positions: [2] })).toEqual({ '0-2': 'aGb' });
});

test('several documents with the answer stay together and end with the last document', () => {
  expect(titles([row('q', 'GaHbc')], { numDocuments: 4, positions: [1, 2, 4] })).toEqual({
    '0-1': 'GHab',
    '0-2': 'aGHb',
    '0-4': 'abGH',
  });
});

test('rows with too few documents are skipped', () => {
  expect(titles([row('q', 'Ga')], { numDocuments: 3, positions: [1] })).toEqual({
    '0-1': '2 documents, expected 3',
  });
});

test('the prompt is the published one', () => {
  const [item] = multiDocumentQaTask([row('why', 'Ga')], { numDocuments: 2 }).items({
    tokenizer: characters,
    contextLength: 10_000,
  });
  const { prompt, ...rest } = onlyRequest(item);
  expect(rest).toEqual({ maxNewTokens: 100, stop: ['\n'] });
  expect(characters.decode(prompt)).toBe(
    'Write a high-quality answer for the given question using only the provided search results (some of which might be irrelevant).\n\nDocument [1](Title: G) Text of G.\nDocument [2](Title: a) Text of a.\n\nQuestion: why\nAnswer:',
  );
});

describe('distractors of other questions', () => {
  const rows = Array.from({ length: 30 }, (_, index) => row(`q${index}`, String.fromCharCode(65 + index)));

  test('exclude the own document, are distinct, and are the same at all positions', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 1000 }),
        fc.integer({ min: 2, max: 25 }),
        (seed, numDocuments) => {
          const shown = titles(rows, { numDocuments, positions: [1, 2], distractors: 'other-answers', seed });
          for (const [index, { ctxs }] of rows.entries()) {
            const [first, second] = [shown[`${index}-1`], shown[`${index}-2`]];
            expect(first[0]).toBe(ctxs[0].title);
            expect(new Set(first).size).toBe(numDocuments);
            expect(second).toBe(first[1] + first[0] + first.slice(2));
          }
        },
      ),
      { numRuns: 20 },
    );
  });

  test('contain none of the answers, and change the name of the task', () => {
    const hint = { ...row('z', 'Z'), answers: ['text of b'] };
    const options = { numDocuments: 20, positions: [1], distractors: 'other-answers' } as const;
    const shown = titles([hint, ...rows.slice(0, 20)], options)['0-1'];
    expect(shown).toHaveLength(20);
    expect(shown).not.toContain('B');
    expect(multiDocumentQaTask(rows, options).name).toBe('mdqa_20_other_answers');
    expect(titles([hint, ...rows.slice(0, 3)], options)['0-1']).toBe('3 documents, expected 20');
  });
});

const speaker = (answer: (prompt: string) => string): LanguageModel => ({
  ...functionModel(() => ({ logLikelihood: 0, isGreedy: false })),
  generate: async (requests) =>
    requests.map(
      ({ prompt }): Generation => ({ text: answer(characters.decode(prompt)), ids: [], finish: 'stop' }),
    ),
});

test('only the first line counts; prompts that are too long are skipped and counted', async () => {
  const rows = [row('q', 'Ga'), row('q', 'Ga'), row(`${'long '.repeat(60)}q`, 'Ga')];
  const task = multiDocumentQaTask(rows, { numDocuments: 2, maxPromptTokens: 400 });
  const said = await evaluate(
    task,
    speaker(() => ' It is the Q-Answer!\nno'),
  );
  expect(said.results.best_subspan_em).toMatchObject({ value: 1, numItems: 4 });
  expect(said.skipped.map(({ id, reason }) => [id, reason.replace(/\d+/, 'N')])).toEqual([
    ['2-1', 'a prompt of N tokens, expected at most 400'],
    ['2-2', 'a prompt of N tokens, expected at most 400'],
  ]);
  const later = await evaluate(
    task,
    speaker(() => 'no\nq-answer'),
  );
  expect(later.results.best_subspan_em.value).toBe(0);
});

test('two results are compared in points and in relative percent, by position', async () => {
  const rows = Array.from({ length: 4 }, (_, index) => row(`q${index}`, 'Ga'));
  const task = multiDocumentQaTask(rows, { numDocuments: 2 });
  const knows = (wanted: RegExp) => speaker((prompt) => prompt.match(wanted)?.[0].concat('-answer') ?? '');
  const [before, after] = [await evaluate(task, knows(/q[0]/)), await evaluate(task, knows(/q[012]/))];
  const { best_subspan_em: change } = compareResults(before, after).metrics;
  expect(change).toMatchObject({ a: 0.25, b: 0.75, points: 50, relativePercent: 200 });
  expect(change.groups.position.map(({ value, points }) => [value, points])).toEqual([
    [1, 50],
    [2, 50],
  ]);
});

describe('is refused', () => {
  test.each([
    [[row('q', 'ab')], { numDocuments: 2 }, 'mdqa_2, row 0: field ctxs is wrong'],
    [[row('q', 'Ga')], { numDocuments: 1 }, 'numDocuments is out of range, got 1'],
    [[row('q', 'Ga')], { numDocuments: 2, positions: [0] }, 'mdqa_2: positions are wrong, got 0'],
    [[{ question: 'q' }], { numDocuments: 2 }, 'field ctxs is wrong, got nothing'],
  ])('%#', (rows, options, message) => {
    expect(() => multiDocumentQaTask(rows, options)).toThrow(EvalsError);
    expect(() => multiDocumentQaTask(rows, options)).toThrow(message);
  });
});
