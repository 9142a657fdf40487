import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GenerateOptionError } from './errors.ts';
import { maskedLogits, penalizedLogits, requireSamplingOptions, sampleToken } from './sampling.ts';

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

  test('min-p keeps tokens with this share of the largest probability', () => {
    expect(shares({ temperature: 1, minP: 0.41 })).toEqual([0, 1, 0, 0]);
    expect(shares({ temperature: 1, minP: 0.39 }).map((share) => share > 0)).toEqual([
      true,
      true,
      false,
      true,
    ]);
    expect(shares({ temperature: 1, minP: 1 })).toEqual([0, 1, 0, 0]);
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

describe('penalizedLogits', () => {
  const given = Float32Array.of(2, -1, 0.5, 1.5, -3);
  const counts = { prompt: new Set([0]), generated: new Map([[4, 2]]) };

  test('repetition is that of transformers, over prompt and text', () => {
    // RepetitionPenaltyLogitsProcessor(1.3)(tensor([[0, 4, 4]]), …) of transformers 5.24.0.
    const expected = [1.5384615659713745, -1, 0.5, 1.5, -3.8999998569488525];
    expect(Array.from(penalizedLogits(given, { repetitionPenalty: 1.3 }, counts))).toEqual(expected);
  });

  test('frequency and presence are those of OpenAI, over the text', () => {
    const options = { frequencyPenalty: 0.25, presencePenalty: 1 };
    expect(Array.from(penalizedLogits(given, options, counts))).toEqual([2, -1, 0.5, 1.5, -4.5]);
  });

  test('a bias comes before penalties, and the given logits stay', () => {
    const options = { logitBias: { 0: 2, 3: -100 }, repetitionPenalty: 2 };
    expect(Array.from(penalizedLogits(given, options, counts))).toEqual([2, -1, 0.5, -98.5, -6]);
    expect(Array.from(given)).toEqual([2, -1, 0.5, 1.5, -3]);
    expect(penalizedLogits(given, { repetitionPenalty: 1, logitBias: {} }, counts)).toBe(given);
  });
});

test.each([
  { minP: -0.1 },
  { minP: 1.1 },
  { repetitionPenalty: 0 },
  { repetitionPenalty: Number.POSITIVE_INFINITY },
  { frequencyPenalty: Number.NaN },
  { presencePenalty: Number.POSITIVE_INFINITY },
  { logitBias: { 1: Number.NaN } },
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

test('maskedLogits keeps allowed tokens above others, even infinite ones', () => {
  const logits = Float32Array.of(5, Number.NEGATIVE_INFINITY, Number.NaN, 9, ...new Array(29).fill(1));
  const mask = Uint32Array.of(0b0110, 0);
  const masked = maskedLogits(logits, mask);
  expect(masked.filter((logit) => logit > Number.NEGATIVE_INFINITY)).toHaveLength(2);
  expect(sampleToken(masked, {}, 0)).toBe(1);
  expect(sampleToken(masked, { temperature: 1 }, 0.9)).toBe(2);
  // Bits of the second word; tokens beyond the mask are not allowed.
  expect(sampleToken(maskedLogits(logits, Uint32Array.of(0, 1)), {}, 0)).toBe(32);
  expect(maskedLogits(logits, Uint32Array.of(0))[32]).toBe(Number.NEGATIVE_INFINITY);
});
