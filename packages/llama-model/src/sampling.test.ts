import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GenerateOptionError } from './errors.ts';
import { requireSamplingOptions, sampleToken } from './sampling.ts';

// Probabilities .5, .2, .2, .1 in another order.
const logits = [0.2, 0.5, 0.1, 0.2].map(Math.log);

/** Share of each token over evenly spaced draws. */
function shares(options: Parameters<typeof sampleToken>[1], numDraws = 1000): number[] {
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < numDraws; i++) counts[sampleToken(logits, options, (i + 0.5) / numDraws)]++;
  return counts.map((count) => count / numDraws);
}

describe('sampleToken', () => {
  test('greedy takes the first of the most likely', () => {
    expect(sampleToken([1, 3, 2, 3], {}, 0.99)).toBe(1);
  });

  test('temperature 1 reproduces the distribution', () => {
    expect(shares({ temperature: 1 })).toEqual([0.2, 0.5, 0.1, 0.2]);
  });

  test('temperature sharpens: p^(1/T), normalised', () => {
    const squares = [0.04, 0.25, 0.01, 0.04].map((p) => p / 0.34);
    shares({ temperature: 0.5 }, 10_000).forEach((share, id) => {
      expect(share).toBeCloseTo(squares[id], 3);
    });
  });

  test('top-k keeps the k most likely and their equals', () => {
    expect(shares({ temperature: 1, topK: 1 })).toEqual([0, 1, 0, 0]);
    expect(shares({ temperature: 1, topK: 2 }).map((share) => share > 0)).toEqual([true, true, false, true]);
    expect(shares({ temperature: 1, topK: 100 })).toEqual([0.2, 0.5, 0.1, 0.2]);
  });

  test('top-p keeps the smallest set that reaches it', () => {
    expect(shares({ temperature: 1, topP: 0.49 })).toEqual([0, 1, 0, 0]);
    expect(shares({ temperature: 1, topP: 0 })).toEqual([0, 1, 0, 0]);
    expect(shares({ temperature: 1, topP: 0.85 }).map((share) => share > 0)).toEqual([
      true,
      true,
      false,
      true,
    ]);
    expect(shares({ temperature: 1, topP: 0.95 })).toEqual([0.2, 0.5, 0.1, 0.2]);
  });

  test('top-p applies to the tokens that top-k kept', () => {
    // Of .5, .2, .2 normalised, .5 alone is .556.
    expect(shares({ temperature: 1, topK: 3, topP: 0.55 })).toEqual([0, 1, 0, 0]);
  });

  test('always chooses a token that is allowed', () => {
    const inputs = fc.record({
      // Whole numbers, so that no two logits become equal by rounding.
      logits: fc.array(fc.integer({ min: -100, max: 100 }), { minLength: 1, maxLength: 40 }),
      temperature: fc.double({ min: 1e-3, max: 10, noNaN: true }),
      topK: fc.integer({ min: 1, max: 50 }),
      topP: fc.double({ min: 0, max: 1, noNaN: true }),
      draw: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    });
    fc.assert(
      fc.property(inputs, ({ logits, draw, ...options }) => {
        const id = sampleToken(logits, options, draw);
        const numMoreLikely = logits.filter((logit) => logit > logits[id]).length;
        expect(numMoreLikely).toBeLessThan(Math.min(options.topK, logits.length));
      }),
    );
  });
});

test.each([
  { temperature: -1 },
  { temperature: Number.NaN },
  { topK: 0 },
  { topK: 1.5 },
  { topP: -1e-9 },
  { topP: Number.NaN },
  { topP: 1.1 },
])('refuses %j', (options) => {
  expect(() => requireSamplingOptions(options)).toThrow(GenerateOptionError);
});
