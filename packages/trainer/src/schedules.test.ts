import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { constantRate, warmupCosine } from './schedules.ts';

const paper = { peak: 4e-4, minimum: 4e-5 };

describe('warmupCosine', () => {
  it('has the values of the 190k run of the paper', () => {
    const rate = warmupCosine({ ...paper, warmupSteps: 19_000, totalSteps: 190_000, microBatches: 32 });
    expect(rate(0)).toBeCloseTo(2.0395e-8, 12);
    expect(rate(100_000)).toBeCloseTo(2.34861e-4, 9);
  });

  it('starts at zero with one micro-batch, peaks after the warm-up, ends at the minimum', () => {
    const rate = warmupCosine({ ...paper, warmupSteps: 10, totalSteps: 100 });
    expect(rate(0)).toBe(0);
    expect(rate(10)).toBe(4e-4);
    expect(rate(55)).toBeCloseTo((4e-4 + 4e-5) / 2, 12);
    expect(rate(100)).toBe(4e-5);
    expect(rate(10_000)).toBe(4e-5);
  });

  it('has no gap in it when there is no warm-up or no cosine', () => {
    expect(warmupCosine({ ...paper, warmupSteps: 0, totalSteps: 10 })(0)).toBe(4e-4);
    expect(warmupCosine({ ...paper, warmupSteps: 10, totalSteps: 10 })(9)).toBeCloseTo(3.6e-4, 12);
    expect(warmupCosine({ ...paper, warmupSteps: 10, totalSteps: 10 })(10)).toBe(4e-5);
  });

  it('rises to the peak, then falls to the minimum, whatever the counts', () => {
    const counts = fc.record({
      warmupSteps: fc.integer({ min: 0, max: 50 }),
      cosineSteps: fc.integer({ min: 1, max: 200 }),
      microBatches: fc.integer({ min: 1, max: 64 }),
    });
    fc.assert(
      fc.property(counts, ({ warmupSteps, cosineSteps, microBatches }) => {
        const totalSteps = warmupSteps + cosineSteps;
        const rate = warmupCosine({ ...paper, warmupSteps, totalSteps, microBatches });
        for (let step = 0; step < totalSteps + 2; step++) {
          expect(rate(step)).toBeGreaterThanOrEqual(step < warmupSteps ? 0 : paper.minimum);
          expect(rate(step)).toBeLessThanOrEqual(paper.peak);
          const rises = step + 1 < warmupSteps;
          const falls = step >= warmupSteps;
          if (rises) expect(rate(step + 1)).toBeGreaterThan(rate(step));
          if (falls) expect(rate(step + 1)).toBeLessThanOrEqual(rate(step));
        }
      }),
    );
  });

  it('refuses a warm-up longer than the run', () => {
    expect(() => warmupCosine({ ...paper, warmupSteps: 11, totalSteps: 10 })).toThrow(
      'warmupSteps 11, expected 0 to totalSteps 10',
    );
  });
});

describe('constantRate', () => {
  it('is the same at every step', () => {
    expect([0, 5, 1e6].map(constantRate(2e-5))).toEqual([2e-5, 2e-5, 2e-5]);
  });
});
