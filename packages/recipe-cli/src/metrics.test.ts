import { describe, expect, it } from 'vitest';
import { lossCurve } from './metrics.ts';

const step = (number: number, loss: number | null) => ({
  step: number,
  tokens: number * 64,
  loss,
  lr: 1e-3,
  gradNorm: 1,
  tokensPerSecond: 1000,
  mfu: 0.4,
  residentBytes: 1e9,
  backendBytes: 5e8,
});

describe('lossCurve', () => {
  it('averages equal runs of steps and leaves out what is not finite', () => {
    const steps = [step(1, 4), step(2, 2), step(3, null), step(4, 1), step(5, 3)];
    expect(lossCurve(steps, 2)).toEqual([
      { step: 2, loss: 3 },
      { step: 5, loss: 2 },
    ]);
    expect(lossCurve(steps, 10)).toHaveLength(4);
    expect(lossCurve([], 10)).toEqual([]);
  });
});
