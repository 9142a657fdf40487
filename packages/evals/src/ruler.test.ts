import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EvalsError } from './error.ts';
import { evaluate } from './evaluate.ts';
import type { GenerateRequest, Generation, TextTokenizer } from './language-model.ts';
import { effectiveLength, type RulerTaskName, rulerTask, rulerTaskNames } from './ruler.ts';
import { splitSentences } from './ruler-needles.ts';
import { functionModel } from './testing.ts';
import { onlyRequest } from './testing-data.ts';

/** A token for each word, and one for each mark: fewer than characters, so that the tests are quick. */
function wordTokenizer(): TextTokenizer {
  const ids = new Map<string, number>();
  const pieces: string[] = [];
  return {
    bosId: 0,
    encode: (text) =>
      (text.match(/\w+|\s|[^\w\s]/g) ?? []).map((piece) => {
        if (!ids.has(piece)) ids.set(piece, pieces.push(piece));
        return ids.get(piece)!;
      }),
    decode: (ids) => ids.map((id) => pieces[id - 1] ?? '').join(''),
  };
}

const haystack = ['Some writers write. Others, it is said, do not! "Why?" asked one. '.repeat(30)];
const tokenizer = wordTokenizer();

function rows(task: RulerTaskName, length: number, numSamples = 3, seed = 42) {
  const made = rulerTask(task, { lengths: [length], numSamples, seed, haystack });
  return [...made.items({ tokenizer, contextLength: length + 1 })].map((item) => {
    const request = onlyRequest(item);
    return { ...request, text: tokenizer.decode(request.prompt), answers: item.shown.answers as string[] };
  });
}

describe.each(rulerTaskNames)('%s', (task) => {
  test('prompts fill the length with the answer, contain the answers, and differ', () => {
    for (const length of [2500, 4200]) {
      const made = rows(task, length);
      for (const { prompt, maxNewTokens, text, answers } of made) {
        const numTokens = prompt.length - 1 + maxNewTokens;
        expect(numTokens).toBeLessThanOrEqual(length);
        // RULER removes 500 words from an essay that is too long.
        expect(numTokens).toBeGreaterThan(length - 1500);
        expect(answers.length).toBeGreaterThan(0);
        for (const answer of answers) expect(text).toContain(answer);
      }
      expect(new Set(made.map(({ text }) => text)).size).toBe(made.length);
    }
  });

  test('the same seed draws the same prompts, another seed draws others', () => {
    const texts = (seed: number) => rows(task, 2500, 2, seed).map(({ text }) => text);
    expect(texts(1)).toEqual(texts(1));
    expect(texts(1)).not.toEqual(texts(2));
  });
});

test('sentences end with the marks of their script; of English, where they did', () => {
  const cases = [
    ['One. Two? “Three!” Four 3.5 e.g. five', 5],
    ['第一句。第二句！“第三句？”第四句', 4],
    ['यह एक है। यह दो है॥ यह तीन है।', 3],
    ['سؤال؟ جملة۔ أخرى', 3],
  ] as const;
  for (const [text, count] of cases) {
    const sentences = splitSentences(text);
    expect(sentences, text).toHaveLength(count);
    expect(sentences.join('').replaceAll(' ', '')).toBe(text.replaceAll(' ', ''));
  }
});

test('wording: one value is requested in the singular', () => {
  const [{ text, answers }] = rows('niah_single_1', 600, 1);
  expect(text).toMatch(
    /^A special magic number is hidden within the following text\. .*\nThe grass is green\./s,
  );
  expect(text).toMatch(
    /\nWhat is the special magic number for (\w[\w' -]+) mentioned in the provided text\? The special magic number for \1 mentioned in the provided text is$/,
  );
  expect(answers).toEqual([expect.stringMatching(/^\d{7}$/)]);
  const [many] = rows('niah_multiquery', 2500, 1);
  expect(many.text).toMatch(/What are all the special magic numbers for .+, .+, .+, and .+ mentioned/);
  expect(many.answers).toHaveLength(4);
});

test('values are UUIDs of version 4', () => {
  for (const { answers } of rows('niah_multikey_3', 2000, 5)) {
    expect(answers[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  }
});

test('variable tracking: the chain leads from the value to all names', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 10_000 }), (seed) => {
      const [{ text, answers }] = rows('vt', 1500, 1, seed);
      const question = text.slice(text.lastIndexOf('Memorize'));
      const value = question.match(/assigned the value (\d{5}) in/)![1];
      const holds = new Map<string, string>();
      for (const [, name, other] of question.matchAll(/^VAR ([A-Z]+) = (?:VAR )?(\w+) ?$/gm)) {
        holds.set(name, holds.get(other) ?? other);
      }
      expect([...holds.keys()]).toEqual(answers);
      expect([...holds.values()]).toEqual(answers.map(() => value));
    }),
    { numRuns: 10 },
  );
});

test.each([
  ['cwe', 10, /Below.*?(?=\nQuestion)/gs],
  ['fwe', 3, /(?<=coded words\. ).*?(?=\nQuestion)/gs],
] as const)('%s: the answers are the most common words', (task, numAnswers, context) => {
  for (const { text, answers } of rows(task, 4200)) {
    const counts = new Map<string, number>();
    const words = text
      .match(context)!
      .at(-1)!
      .split(task === 'cwe' ? /\s*\d+\. / : ' ');
    for (const word of words.slice(task === 'cwe' ? 1 : 0)) counts.set(word, (counts.get(word) ?? 0) + 1);
    counts.delete('...');
    const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, numAnswers);
    expect(most.map(([word]) => word).sort()).toEqual([...answers].sort());
  }
});

const model = (answer: (text: string) => string, contextLength: number) => ({
  ...functionModel(() => ({ logLikelihood: 0, isGreedy: false }), { contextLength, tokenizer }),
  generate: async (requests: readonly GenerateRequest[]) =>
    requests.map(
      ({ prompt }): Generation => ({ text: answer(tokenizer.decode(prompt)), ids: [], finish: 'stop' }),
    ),
});

test('score: the share of answers in the response, times 100; lengths past the context are skipped', async () => {
  const task = rulerTask('niah_multivalue', { lengths: [2500, 3000], numSamples: 2, haystack });
  const twoOfFour = model((text) => text.match(/\d{7}/g)!.slice(0, 2).join(' '), 2600);
  const result = await evaluate(task, twoOfFour);
  expect(result.results.string_match_all).toMatchObject({ value: 50, numItems: 2 });
  expect(result.skipped.map(({ id, reason }) => `${id}: ${reason}`)).toEqual([
    '3000-0: a length of 3000 tokens, the model reads 2600',
    '3000-1: a length of 3000 tokens, the model reads 2600',
  ]);
});

test('a length without a fitting prompt is skipped', () => {
  const task = rulerTask('niah_multivalue', { lengths: [500], numSamples: 2, haystack });
  const items = [...task.items({ tokenizer, contextLength: 1000 })];
  expect(items.map(({ ask }) => ask)).toEqual(
    [1, 2].map(() => ({ kind: 'skip', reason: 'no prompt of 500 tokens could be drawn' })),
  );
});

describe('effective length', () => {
  const result = async (task: RulerTaskName, rightUpTo: number) => {
    const made = rulerTask(task, { lengths: [600, 900, 1200], numSamples: 1 });
    const value = (text: string) => text.match(/(?<=is: )[^.]+/)![0];
    return evaluate(
      made,
      model((text) => (tokenizer.encode(text).length <= rightUpTo ? value(text) : 'no'), 2000),
    );
  };

  test('is the longest up to which the mean of all tasks exceeds the threshold', async () => {
    const results = [await result('niah_single_1', 2000), await result('niah_multikey_2', 0)];
    expect(effectiveLength(results).effective).toBeUndefined();
    expect(effectiveLength([results[0]]).effective).toBe(1200);
    const some = [await result('niah_single_1', 900)];
    expect(effectiveLength(some)).toEqual({
      effective: 900,
      lengths: [
        { length: 600, score: 100, exceeds: true },
        { length: 900, score: 100, exceeds: true },
        { length: 1200, score: 0, exceeds: false },
      ],
    });
    expect(effectiveLength(results, 49.9).effective).toBe(1200);
    expect(() => effectiveLength([...some, ...some])).toThrow('expected different RULER tasks');
    expect(() => effectiveLength([])).toThrow('got no results');
  });
});

test.each([
  ['niah', { lengths: [4096] }, 'ruler: got task niah, expected one of niah_single_1'],
  ['vt', { lengths: [] }, 'ruler_vt: lengths are wrong, got none'],
  ['vt', { lengths: [100] }, 'ruler_vt: lengths are wrong, got 100'],
  ['niah_single_2', { lengths: [4096] }, 'ruler_niah_single_2: the haystack is empty'],
])('is refused: %s %j', (task, options, message) => {
  expect(() => rulerTask(task as RulerTaskName, options)).toThrow(EvalsError);
  expect(() => rulerTask(task as RulerTaskName, options)).toThrow(message);
});
