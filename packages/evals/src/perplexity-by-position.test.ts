import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EvalsError } from './error.ts';
import { evaluate } from './evaluate.ts';
import { perplexityByPositionTask } from './perplexity-by-position.ts';
import { BOS, characters, functionModel } from './testing.ts';

test('scores every token of every full window once, after all earlier ones', () => {
  const sizes = fc.record({
    lengths: fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 4 }),
    length: fc.integer({ min: 1, max: 20 }),
    maxWindows: fc.integer({ min: 1, max: 3 }),
    firstGroup: fc.integer({ min: 1, max: 8 }),
  });
  fc.assert(
    fc.property(sizes, ({ lengths, length, maxWindows, firstGroup }) => {
      const texts = lengths.map((n, text) =>
        Array.from({ length: n }, (_, i) => String.fromCodePoint(100 + 60 * text + i)).join(''),
      );
      const model = functionModel(() => ({ logLikelihood: 0, isGreedy: false }), { contextLength: 20 });
      const items = [...perplexityByPositionTask(texts, { length, maxWindows, firstGroup }).items(model)];
      const asked = items.flatMap(({ ask }) => (ask.kind === 'score' ? ask.requests : []));
      const wanted = texts.flatMap((text) =>
        characters.encode(text).slice(0, length * Math.min(maxWindows, Math.floor(text.length / length))),
      );
      expect(asked.flatMap(({ continuation }) => continuation)).toEqual(wanted);
      let window: number[] = [];
      for (const { context, continuation } of asked) {
        if (context.length === 1) window = [];
        expect(context).toEqual([BOS, ...window]);
        window.push(...continuation);
        expect(window.length).toBeLessThanOrEqual(length);
      }
    }),
  );
});

test('has the perplexity of each group of positions', async () => {
  // Half as many choices after each doubling.
  const bits = (position: number) => 10 - Math.floor(Math.log2(Math.max(position, 4)));
  const model = functionModel(
    ({ context, continuation }) => ({
      logLikelihood: -Math.LN2 * continuation.length * bits(context.length - 1),
      isGreedy: false,
    }),
    { contextLength: 32 },
  );
  const { groups, skipped } = await evaluate(
    perplexityByPositionTask(['a'.repeat(70), 'b'.repeat(20)], { firstGroup: 4, length: 40 }),
    model,
  );
  expect(skipped.map(({ reason }) => reason)).toEqual(['position 39 is beyond the context of 32']);
  expect(groups.positions.map(({ value }) => value)).toEqual(['0-3', '4-7', '8-15', '16-31', '32-39']);
  for (const [i, wanted] of [8, 8, 7, 6].entries()) {
    expect(Math.log2(groups.positions[i].results.token_perplexity.value)).toBeCloseTo(wanted, 9);
  }
});

test.each([{ length: 0 }, { maxWindows: 0.5 }, { firstGroup: -1 }])('%j is refused', (options) => {
  expect(() => perplexityByPositionTask(['a'], options)).toThrow(EvalsError);
});
