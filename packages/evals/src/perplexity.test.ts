import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EvalsError } from './error.ts';
import { evaluate } from './evaluate.ts';
import { perplexityTask, rollingWindows } from './perplexity.ts';
import { BOS, characters, functionModel } from './testing.ts';

test('windows predict every id once and in order, after the ids before it, and fit', () => {
  const cases = fc
    .record({ length: fc.integer({ min: 1, max: 60 }), contextLength: fc.integer({ min: 1, max: 20 }) })
    .chain((sizes) => fc.tuple(fc.constant(sizes), fc.integer({ min: 1, max: sizes.contextLength })));
  fc.assert(
    fc.property(cases, ([{ length, contextLength }, minContext]) => {
      const ids = Array.from({ length }, (_, i) => 10 + i);
      let next = 0;
      for (const { context, continuation } of rollingWindows(ids, BOS, contextLength, minContext)) {
        expect(context.length + continuation.length).toBeLessThanOrEqual(contextLength + 1);
        expect(continuation).toEqual(ids.slice(next, next + continuation.length));
        const before = next === 0 ? [BOS] : ids.slice(next - context.length, next);
        expect(context).toEqual(before);
        if (next > 0) expect(context.length).toBeGreaterThanOrEqual(minContext);
        next += continuation.length;
      }
      expect(next).toBe(length);
    }),
  );
});

test('a uniform model has the perplexity of its vocabulary, for any windows', async () => {
  const bitsPerCharacter = 6;
  const guess = functionModel(
    ({ continuation }) => ({
      logLikelihood: -continuation.length * bitsPerCharacter * Math.LN2,
      isGreedy: false,
    }),
    { contextLength: 16 },
  );
  const texts = ['twelve words '.repeat(6), 'a\u00e9', '', 'three words long'];
  const { results, skipped } = await evaluate(perplexityTask(texts, { minContext: 5 }), guess);
  const numCharacters = texts.join('').length;
  const numBytes = numCharacters + 1;
  expect(skipped).toEqual([{ id: '2', reason: 'an empty text' }]);
  expect(results.bits_per_byte.value).toBeCloseTo((bitsPerCharacter * numCharacters) / numBytes, 12);
  expect(results.byte_perplexity.value).toBeCloseTo(2 ** results.bits_per_byte.value, 9);
  // White space at an end makes an empty word more, as in the harness.
  expect(Math.log2(results.word_perplexity.value)).toBeCloseTo((bitsPerCharacter * numCharacters) / 17, 9);
});

test('BOS is a separate token if enabled, and not a text', () => {
  const model = functionModel(() => ({ logLikelihood: 0, isGreedy: true }));
  const [first, empty] = perplexityTask(['ab', ''], { bos: true }).items(model);
  expect(first.ask).toEqual({
    kind: 'score',
    requests: [{ context: [BOS], continuation: [BOS, ...characters.encode('ab')] }],
  });
  expect(empty.ask.kind).toBe('skip');
});

test('refuses a tokenizer without BOS and EOS, and invalid overlaps', async () => {
  const model = functionModel(() => ({ logLikelihood: 0, isGreedy: true }), {
    contextLength: 4,
    tokenizer: { encode: characters.encode, decode: characters.decode },
  });
  await expect(evaluate(perplexityTask(['ab']), model)).rejects.toThrow(EvalsError);
  expect(() => rollingWindows([1], BOS, 4, 5)).toThrow("from 1 to the model's context length 4");
  expect(() => rollingWindows([1], BOS, 4, 0)).toThrow(EvalsError);
});
