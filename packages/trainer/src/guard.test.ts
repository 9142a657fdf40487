import { describe, expect, it } from 'vitest';
import { NonFiniteError } from './errors.ts';
import { Guard } from './guard.ts';

/** A calm run: losses near 3, norms near 1. */
function feed(guard: Guard, steps: number): void {
  for (let step = 1; step <= steps; step++) {
    expect(guard.judge(step, 3 + 0.1 * Math.sin(step), 1 + 0.1 * Math.cos(step))).toEqual({ skip: false });
  }
}

describe('Guard', () => {
  it('stops at the first non-finite loss or gradient by default', () => {
    expect(() => new Guard().judge(1, Number.NaN, 1)).toThrow(NonFiniteError);
    expect(() => new Guard().judge(4, 2, Number.POSITIVE_INFINITY)).toThrow(
      'step 4 has loss 2 and gradient norm Infinity',
    );
  });

  it('skips as many consecutive steps as allowed; a finite step resets the count', () => {
    const guard = new Guard({ maxNonFiniteSteps: 2 });
    const bad = () => guard.judge(1, Number.NaN, Number.NaN);
    expect([bad(), bad()]).toEqual(Array(2).fill({ anomaly: 'non-finite', skip: true }));
    guard.judge(2, 3, 1);
    expect([bad(), bad()].length).toBe(2);
    expect(bad).toThrow(NonFiniteError);
  });

  it('names a spike of the loss, but not a fall, and only once half a window is there', () => {
    const young = new Guard();
    feed(young, 63);
    expect(young.judge(64, 30, 1)).toEqual({ skip: false });
    for (const [loss, gradNorm, spike] of [
      [4.5, 1, true],
      [3, 2.5, false],
      [3.3, 1.2, false],
      [0.1, 0.1, false],
    ] as const) {
      const guard = new Guard();
      feed(guard, 64);
      expect(guard.judge(65, loss, gradNorm)).toMatchObject(
        spike ? { anomaly: 'spike', skip: false, reason: 'loss 4.500, usual 3.002' } : { skip: false },
      );
    }
  });

  it('names a gradient norm that is high for three steps in a row', () => {
    const guard = new Guard();
    feed(guard, 128);
    const norms = [5, 5, 1, 5, 5, 5, 1, 1];
    const anomalies = norms.map((norm, i) => guard.judge(129 + i, 3, norm).anomaly);
    expect(anomalies).toEqual([...Array(5).fill(undefined), 'spike', undefined, undefined]);
  });

  it('skips at the first high norm where updates are left out, and ignores all where it is to', () => {
    const verdicts = (['skip', 'ignore'] as const).map((onSpike) => {
      const guard = new Guard({ onSpike });
      feed(guard, 128);
      return [guard.judge(129, 3, 5), guard.judge(130, 9, 1)].map(({ skip, anomaly }) => [skip, anomaly]);
    });
    expect(verdicts).toEqual([
      [
        [true, 'spike'],
        [true, 'spike'],
      ],
      [
        [false, undefined],
        [false, undefined],
      ],
    ]);
  });

  it('skips spikes when asked, yet lets a lasting change of level through', () => {
    const guard = new Guard({ onSpike: 'skip' });
    feed(guard, 128);
    const verdicts = Array.from({ length: 20 }, (_, i) => guard.judge(129 + i, 6, 1).skip);
    expect(verdicts[0]).toBe(true);
    expect(verdicts.at(-1)).toBe(false);
  });

  it('takes the state of checkpoints that do not count high norms', () => {
    const guard = new Guard();
    feed(guard, 128);
    const { highNormsInARow: _, ...older } = guard.state();
    const restored = new Guard();
    restored.restore(older as ReturnType<Guard['state']>);
    expect(restored.state()).toEqual(guard.state());
  });

  it('judges the same after its state went through JSON', () => {
    const [a, b] = [new Guard(), new Guard()];
    feed(a, 200);
    b.restore(JSON.parse(JSON.stringify(a.state())));
    expect(b.state()).toEqual(a.state());
    expect(a.state().losses.length).toBe(128);
    expect(b.judge(201, 5, 1)).toMatchObject({ anomaly: 'spike', skip: false });
    expect(b.state()).not.toEqual(a.state());
  });
});
