import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { associationNeedles, associationTask } from './association.ts';
import { EvalsError } from './error.ts';
import { evaluate } from './evaluate.ts';
import type { Generation } from './language-model.ts';
import { needleTask, sanFrancisco } from './needle.ts';
import { stem } from './porter-stemmer.ts';
import { BOS, characters, functionModel } from './testing.ts';
import { onlyRequest } from './testing-data.ts';

const haystack = ['One sentence. Another one! ', 'A third. '];
const secret = { needle: 'The code is 7.', question: 'Which code?', answer: '7' };
const template = '{context}|{question}';

/** Contexts by id of the row, without question and BOS. */
function contexts(options: Partial<Parameters<typeof needleTask>[0]>): Record<string, string> {
  const task = needleTask({ haystack, lengths: [400], depths: [0], needles: [secret], template, ...options });
  const rows = [...task.items({ tokenizer: characters, contextLength: 10_000 })];
  return Object.fromEntries(
    rows.map((item) => {
      const { prompt } = onlyRequest(item);
      expect(prompt[0]).toBe(BOS);
      return [item.id, characters.decode(prompt).split('|')[0]];
    }),
  );
}

test('depths: at the start, after the previous sentence, at the end', () => {
  const byId = contexts({ lengths: [260], depths: [0, 50, 100] });
  expect(byId).toEqual({
    '260-0-0': 'The code is 7.One sentence. Another one! A third. One senten',
    '260-50-0': 'One sentence.The code is 7. Another one! A third. One senten',
    '260-100-0': 'One sentence. Another one! A third. One sentenThe code is 7.',
  });
});

test('haystack and needle fill the length minus 200 tokens; the needle follows a full stop or nothing', () => {
  fc.assert(
    fc.property(fc.integer({ min: 230, max: 900 }), fc.integer({ min: 0, max: 100 }), (length, depth) => {
      const [context] = Object.values(contexts({ lengths: [length], depths: [depth] }));
      expect(context).toHaveLength(length - 200);
      const [before, after] = context.split(secret.needle);
      expect((before + after).replaceAll(haystack.join(''), '').length).toBeLessThan(
        haystack.join('').length,
      );
      if (depth < 100) expect(before === '' || before.endsWith('.')).toBe(true);
      // Moved back by less than the longest text without a full stop.
      const position = Math.trunc(((context.length - secret.needle.length) * depth) / 100);
      expect(position - before.length).toBeGreaterThanOrEqual(depth === 100 ? 0 : -1);
    }),
  );
});

describe('a haystack in another script', () => {
  const groupsOf = (text: string, tokenizer = characters, depths = [0, 50, 90]) => {
    const task = needleTask({ haystack: [text], lengths: [1200], depths, needles: [secret], template });
    return [...task.items({ tokenizer, contextLength: 10_000 })].map(({ groups, ask }) => {
      if (ask.kind !== 'generate') throw new Error('skipped');
      const context = tokenizer.decode(ask.requests[0].prompt).split('|')[0];
      return { depth: groups!.depth, before: context.split(secret.needle)[0], context };
    });
  };

  test.each([
    ['Chinese', '船长看见了一条白鲸。水手们都不说话！“那是什么？”他问。', /[。！？]”?$/],
    ['Japanese', '吾輩は猫である。名前はまだ無い。「どこで生れたか?」とんと見当がつかぬ。', /。$/],
    ['Hindi', 'यह पहला वाक्य है। क्या यह दूसरा है? यह तीसरा वाक्य है॥ ', /[।॥] ?$/],
    ['Arabic', 'هل هذا سؤال؟ هذه جملة عربية۔ ', /[؟۔] ?$/],
    ['Amharic', 'ይህ አረፍተ ነገር ነው። ይህም ሌላ ነው። ', /። ?$/],
    ['Armenian', 'Սա առաջին նախադասությունն է։ Սա երկրորդն է։ ', /։ ?$/],
  ])('%s: the needle follows the end of a sentence, near its depth', (_, sentence, end) => {
    const found = groupsOf(sentence);
    expect(found.map(({ depth }) => depth)).toEqual([0, 50, 90]);
    expect(found[0].before).toBe('');
    for (const { before, depth } of found.slice(1)) {
      expect(before).toMatch(end);
      expect(Math.abs((100 * before.length) / (1000 - secret.needle.length) - Number(depth))).toBeLessThan(5);
    }
  });

  test('without any mark it stays at its depth, and no character is cut', () => {
    // One token a byte, as in byte-level vocabularies.
    const bytes = {
      encode: (text: string) => [...Buffer.from(text)],
      decode: (ids: readonly number[]) => Buffer.from(ids).toString(),
    };
    const thai = 'กาลครั้งหนึ่งนานมาแล้ว';
    for (const { before, context, depth } of groupsOf(thai, bytes).slice(1)) {
      expect(before.length).toBe(Math.trunc((986 * Number(depth)) / 100 / 3));
      // The haystack itself is cut after so many tokens, as published.
      expect(context.replace(secret.needle, '')).toBe(`${thai.repeat(20).slice(0, 328)}\ufffd`);
    }
  });

  test('a sentence of more than 1,000 tokens is cut, and the depth that came about is the group', () => {
    const text = `${'x'.repeat(300)}.${'y'.repeat(5000)}`;
    const task = needleTask({ haystack: [text], lengths: [3214], depths: [30, 80], needles: [secret] });
    const rows = [...task.items({ tokenizer: characters, contextLength: 10_000 })];
    // 900 tokens at 30 % of 3,000 move back to the full stop at 301; 2,400 would move further than allowed.
    expect(rows.map(({ id, groups, shown }) => [id, groups!.depth, shown.depth])).toEqual([
      ['3214-30-0', 10, (100 * 301) / 3000],
      ['3214-80-0', 80, 80],
    ]);
  });
});

test('scores: recall of the answer, F1 with the needle, the published overlap', async () => {
  const task = needleTask({ haystack, lengths: [600, 20_000], depths: [0, 100] });
  const model = functionModel(() => ({ logLikelihood: 0, isGreedy: false }), { contextLength: 2000 });
  const says = (text: string): typeof model => ({
    ...model,
    generate: async (requests) => requests.map((): Generation => ({ text, ids: [], finish: 'stop' })),
  });
  const right = await evaluate(task, says(` Eat a sandwich and sit in Dolores Park on a sunny day. Yes.`));
  expect(right.results.rouge1_recall).toMatchObject({ value: 1, numItems: 2 });
  expect(right.results.rouge1_f1.value).toBeCloseTo((2 * (12 / 13) * (12 / 21)) / (12 / 13 + 12 / 21), 12);
  expect(right.results.unigram_overlap.value).toBeCloseTo(11 / 12, 12);
  // Prompts of 20,000 tokens do not fit.
  expect(right.skipped.map(({ id }) => id)).toEqual(['20000-0-0', '20000-100-0']);
  expect(right.groups.length.map(({ value, numSkipped }) => [value, numSkipped])).toEqual([
    [600, 0],
    [20_000, 2],
  ]);
  const wrong = await evaluate(task, says(''));
  expect(wrong.results.rouge1_recall.value).toBe(0);
});

test('the published prompt for base models, 50 new tokens', () => {
  const task = needleTask({ haystack, lengths: [600], depths: [0] });
  const [item] = task.items({ tokenizer: characters, contextLength: 10_000 });
  const request = onlyRequest(item);
  const text = characters.decode(request.prompt);
  expect(text.startsWith(`<|im_start|> This is a very long story book: <book> ${sanFrancisco.needle}`)).toBe(
    true,
  );
  expect(
    text.endsWith(
      '</book>.\n Based on the content of the book, Question: What is the best thing to do in San Francisco?\nAnswer:',
    ),
  ).toBe(true);
  expect(request.maxNewTokens).toBe(50);
});

describe('is refused', () => {
  test.each([
    [{ lengths: [] }, 'niah: lengths is empty'],
    [{ depths: [101] }, 'a depth is out of range, got 101'],
    [{ template: 'no field' }, 'template lacks {context} or {question}'],
    [{ haystack: [''] }, 'the haystack is empty'],
    [{ lengths: [214] }, 'length is too small, got 214, expected more than 214'],
  ])('%j', (options, message) => {
    expect(() => contexts(options)).toThrow(EvalsError);
    expect(() => contexts(options)).toThrow(message);
  });
});

describe('needles by association', () => {
  test('share no word and no stem with their question, which has one answer', () => {
    const stems = (text: string) =>
      text
        .toLowerCase()
        .match(/[a-z]+/g)!
        .flatMap((word) => [word, stem(word)]);
    const questions = associationNeedles.map(({ question }) => question);
    expect(new Set(questions).size).toBe(questions.length);
    expect(new Set(associationNeedles.map(({ answer }) => answer)).size).toBe(questions.length);
    for (const { needle, question, answer } of associationNeedles) {
      expect(needle).toContain(answer);
      expect(stems(question).filter((word) => stems(needle).includes(word))).toEqual([]);
      expect(sanFrancisco.needle).not.toContain(answer);
    }
  });

  test('count answers that name the person', async () => {
    const task = associationTask({ haystack, lengths: [600], depths: [0, 100] });
    const model = functionModel(() => ({ logLikelihood: 0, isGreedy: false }), { contextLength: 2000 });
    const { results, samples } = await evaluate(task, {
      ...model,
      generate: async (requests) =>
        requests.map((): Generation => ({ text: ' It is Oskar.\n', ids: [], finish: 'stop' })),
    });
    expect(Object.keys(results)).toEqual(['rouge1_recall']);
    expect(samples).toHaveLength(2 * associationNeedles.length);
    expect(results.rouge1_recall.value).toBeCloseTo(1 / associationNeedles.length, 12);
  });
});
