import { expect, it } from 'vitest';
import { packRequests } from './pack-requests.ts';

/** Four choices after each of some prompts of these lengths, such as questions with many examples. */
const questions = (...lengths: number[]) =>
  lengths.flatMap((length, question) =>
    Array.from({ length: 4 }, (_, choice) => ({
      context: Array.from({ length }, (_, i) => question * 100_000 + i),
      continuation: [1, 2, choice],
    })),
  );

const numTokens = (requests: ReturnType<typeof questions>, rowTokens: number) =>
  [...packRequests(requests, { contextLength: 100_000, rowTokens, shareContexts: true })].map(
    ({ ids }) => ids.length,
  );

it('reads the prompt of a question once, also one that does not fit a row with its choices', () => {
  // Each choice reads two tokens.
  expect(numTokens(questions(3000), 2048)).toEqual([3008]);
  expect(numTokens(questions(2045, 2045), 2048)).toEqual([2053, 2053]);
  // The second would fit only with a part of its choices.
  expect(numTokens(questions(1024, 1010), 2048)).toEqual([1032, 1018]);
  expect(numTokens(questions(1016, 1016), 2048)).toEqual([2048]);
});

it('reads examples before every question once a row', () => {
  const examples = Array.from({ length: 700 }, (_, i) => i);
  const ask = (numTokens: number) =>
    Array.from({ length: 40 }, (_, question) =>
      Array.from({ length: 4 }, (_, choice) => ({
        context: [...examples, ...Array.from({ length: 100 }, (_, i) => 1000 * (question + 1) + i)],
        continuation: Array.from({ length: numTokens }, () => choice),
      })),
    ).flat();
  // Instead of 40 times 800 tokens.
  expect(numTokens(ask(1), 2048)).toEqual([700 + 40 * 100]);
  // Longer answers come after the question again; an eighth of a row is examples.
  expect(numTokens(ask(3), 2048)).toEqual([...Array(3).fill(700 + 48 * 102), 700 + 16 * 102]);
  expect(Math.max(...numTokens(ask(3), 256))).toBeLessThanOrEqual(1024);
});

it('keeps rows short with many continuations of a long context', () => {
  const [{ context }] = questions(3000);
  const requests = Array.from({ length: 600 }, (_, i) => ({ context, continuation: [1, 2, i] }));
  expect(Math.max(...numTokens(requests, 2048))).toBeLessThanOrEqual(3000 + 512);
});
