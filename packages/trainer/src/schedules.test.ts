import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  referenceCosine,
  warmupConstant,
  warmupCosine,
  warmupLinear,
  warmupStableDecay,
} from './schedules.ts';

const paper = { peak: 4e-4, minimum: 4e-5 };
const counts = fc.record({
  warmupSteps: fc.integer({ min: 0, max: 50 }),
  decaySteps: fc.integer({ min: 1, max: 200 }),
});
const decaying = { warmupCosine, warmupLinear };

// transformers 5.24.0, get_cosine_… and get_linear_schedule_with_warmup(SGD of rate .5, 3 warm-up steps, 12 in all).
const TRANSFORMERS = {
  warmupCosine: [
    0.5, 0.4849231551964771, 0.4415111107797445, 0.375, 0.29341204441673263, 0.20658795558326742,
    0.12500000000000006, 0.058488889220255524, 0.01507684480352292,
  ],
  warmupLinear: [
    0.5, 0.4444444444444444, 0.3888888888888889, 0.3333333333333333, 0.2777777777777778, 0.2222222222222222,
    0.16666666666666666, 0.1111111111111111, 0.05555555555555555,
  ],
};

describe.each(['warmupCosine', 'warmupLinear'] as const)('%s', (name) => {
  const schedule = decaying[name];

  it('is that of transformers after a warm-up that begins above zero', () => {
    const rate = schedule({ peak: 0.5, minimum: 0, warmupSteps: 3, totalSteps: 12 });
    expect([0, 1, 2].map(rate)).toEqual([0.125, 0.25, 0.375]);
    TRANSFORMERS[name].forEach((expected, k) => {
      expect(rate(3 + k)).toBeCloseTo(expected, 14);
    });
    expect([12, 13, 10_000].map(rate)).toEqual([0, 0, 0]);
  });

  it('rises to the peak, then falls to the minimum, and is never zero before, for any counts', () => {
    fc.assert(
      fc.property(counts, ({ warmupSteps, decaySteps }) => {
        const totalSteps = warmupSteps + decaySteps;
        const rate = schedule({ ...paper, warmupSteps, totalSteps });
        const rates = Array.from({ length: totalSteps + 2 }, (_, step) => rate(step));
        expect(rates[warmupSteps]).toBe(paper.peak);
        expect(rates[totalSteps]).toBe(paper.minimum);
        rates.forEach((value, step) => {
          expect(value).toBeGreaterThan(0);
          if (step > 0 && step <= warmupSteps) expect(value).toBeGreaterThan(rates[step - 1]);
          if (step > warmupSteps) expect(value).toBeLessThanOrEqual(rates[step - 1]);
        });
      }),
    );
  });

  it('has no gap where all of the run is warm-up or none of it', () => {
    expect(schedule({ ...paper, warmupSteps: 0, totalSteps: 10 })(0)).toBe(4e-4);
    expect(schedule({ ...paper, warmupSteps: 10, totalSteps: 10 })(9)).toBeCloseTo((4e-4 * 10) / 11, 12);
    expect(schedule({ ...paper, warmupSteps: 10, totalSteps: 10 })(10)).toBe(4e-5);
  });

  it('refuses a warm-up longer than the run', () => {
    expect(() => schedule({ ...paper, warmupSteps: 11, totalSteps: 10 })).toThrow(
      `${name}: warmupSteps 11, expected 0 to totalSteps 10`,
    );
  });
});

describe('referenceCosine', () => {
  it('has the values of the 190k run of the paper', () => {
    const rate = referenceCosine({ ...paper, warmupSteps: 19_000, totalSteps: 190_000, microBatches: 32 });
    expect(rate(0)).toBeCloseTo(2.0395e-8, 12);
    expect(rate(100_000)).toBeCloseTo(2.34861e-4, 9);
  });

  it('starts at zero with one micro-batch, and is that of transformers then', () => {
    const rate = referenceCosine({ peak: 0.5, minimum: 0, warmupSteps: 3, totalSteps: 12, microBatches: 1 });
    expect([0, 1, 2].map(rate)).toEqual([0, 1 / 6, 1 / 3]);
    TRANSFORMERS.warmupCosine.forEach((expected, k) => {
      expect(rate(3 + k)).toBeCloseTo(expected, 14);
    });
  });

  it('is between the steps before and after of the plain cosine', () => {
    const numMicro = fc.integer({ min: 1, max: 64 });
    fc.assert(
      fc.property(counts, numMicro, ({ warmupSteps, decaySteps }, microBatches) => {
        const shape = { ...paper, warmupSteps, totalSteps: warmupSteps + decaySteps };
        const [rate, plain] = [referenceCosine({ ...shape, microBatches }), warmupCosine(shape)];
        for (let step = warmupSteps; step < shape.totalSteps + 2; step++) {
          expect(rate(step)).toBeLessThanOrEqual(plain(step) + 1e-18);
          expect(rate(step)).toBeGreaterThanOrEqual(plain(step + 1) - 1e-18);
        }
      }),
    );
  });

  it('refuses a warm-up longer than the run', () => {
    const shape = { ...paper, warmupSteps: 11, totalSteps: 10, microBatches: 1 };
    expect(() => referenceCosine(shape)).toThrow('warmupSteps 11, expected 0 to totalSteps 10');
  });
});

describe('warmupConstant', () => {
  it('warms up and stays', () => {
    expect([0, 1, 2, 3, 4, 1e6].map(warmupConstant({ peak: 0.5, warmupSteps: 3 }))).toEqual([
      0.125, 0.25, 0.375, 0.5, 0.5, 0.5,
    ]);
    expect([0, 5].map(warmupConstant({ peak: 2e-5, warmupSteps: 0 }))).toEqual([2e-5, 2e-5]);
  });

  it('refuses a negative warm-up', () => {
    expect(() => warmupConstant({ peak: 1, warmupSteps: -1 })).toThrow('warmupSteps -1, expected 0 or more');
  });
});

describe('warmupStableDecay', () => {
  // transformers 5.24.0, get_wsd_schedule(SGD of rate .5, 3, 5, 12, min_lr_ratio=0.1, decay_type=…), in its decay.
  it.each([
    [undefined, [0.29875388202501896, 0.21539501058484584, 0.15143149884133247, 0.09750776405003786]],
    ['linear', [0.41, 0.32, 0.23, 0.14]],
    ['cosine', [0.45702882373436315, 0.34452882373436317, 0.20547117626563688, 0.09297117626563686]],
  ] as const)('is that of transformers after the warm-up, with a decay of type %s', (decayType, decay) => {
    const shape = { peak: 0.5, minimum: 0.05, warmupSteps: 3, totalSteps: 12, decaySteps: 5, decayType };
    const rate = warmupStableDecay(shape);
    expect([0, 1, 2].map(rate)).toEqual([0.125, 0.25, 0.375]);
    [0.5, 0.5, 0.5, 0.5, 0.5, ...decay, 0.05, 0.05].forEach((value, k) => {
      expect(rate(3 + k)).toBeCloseTo(value, 14);
    });
  });

  it('does not depend on the length of the run before the decay', () => {
    const long = warmupStableDecay({ ...paper, warmupSteps: 5, totalSteps: 100, decaySteps: 20 });
    const short = warmupStableDecay({ ...paper, warmupSteps: 5, totalSteps: 50, decaySteps: 10 });
    for (let step = 0; step <= 40; step++) expect(short(step)).toBe(long(step));
    expect(short(41)).toBeLessThan(long(41));
  });

  it('has no gap without warm-up, stable part or decay', () => {
    expect(
      [0, 1, 2].map(warmupStableDecay({ ...paper, warmupSteps: 0, totalSteps: 2, decaySteps: 0 })),
    ).toEqual([4e-4, 4e-4, 4e-5]);
    expect(
      [0, 1, 2].map(warmupStableDecay({ ...paper, warmupSteps: 1, totalSteps: 2, decaySteps: 1 })),
    ).toEqual([2e-4, 4e-4, 4e-5]);
  });

  it.each([
    [-1, 'decaySteps -1, expected 0 to 7, the steps after the warm-up'],
    [8, 'decaySteps 8, expected 0 to 7, the steps after the warm-up'],
  ])('refuses a decay of %i steps', (decaySteps, message) => {
    const shape = { ...paper, warmupSteps: 3, totalSteps: 10, decaySteps };
    expect(() => warmupStableDecay(shape)).toThrow(message);
  });
});
