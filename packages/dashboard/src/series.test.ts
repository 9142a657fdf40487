import { describe, expect, it } from 'vitest';
import { Series } from './series.ts';

function take(...lines: unknown[]): Series {
  const series = new Series();
  for (const line of lines) series.take(typeof line === 'string' ? line : JSON.stringify(line));
  return series;
}

const step = (number: number, more: object = {}) => ({
  step: number,
  tokens: number * 100,
  loss: 4,
  tokensPerSecond: 50,
  ...more,
});

describe('Series', () => {
  it('counts training time from tokens and pace, for validations too', () => {
    const series = take(step(1), step(2, { tokensPerSecond: 100 }), {
      step: 2,
      tokens: 200,
      valLoss: 3,
      parts: { masked: 5 },
    });
    expect(series.table(0, 2, 1).seconds).toEqual([2, 3]);
    expect(series.validations).toEqual({
      step: [2],
      tokens: [200],
      seconds: [3],
      valLoss: [3],
      bitsPerByte: [null],
      maskedLoss: [5],
    });
  });

  it('leaves out what is no metrics, and counts it', () => {
    const series = take(
      'not JSON',
      '[1]',
      '7',
      'null',
      '{"loss":3}',
      '{"step":"1"}',
      '',
      '{"step":1e999}',
      step(1),
      '{"step":2}',
    );
    expect(series.badLines).toBe(7);
    expect(series.length).toBe(2);
    const { loss, lr } = series.table(0, 2, 1).metrics;
    expect(loss.mean).toEqual([4, null]);
    expect(lr.mean).toEqual([null, null]);
    expect(series.table(0, 2, 1).tokens).toEqual([100, 100]);
  });

  it('tells of steps that were not finite or left out', () => {
    const series = take(
      step(1),
      step(2, { loss: null }),
      step(3, { anomaly: 'spike' }),
      step(4, { anomaly: 'non-finite', loss: null, skipped: true }),
      step(5, { skipped: true }),
    );
    expect(series.anomalies).toEqual({
      count: 4,
      last: [
        { step: 2, what: 'non-finite' },
        { step: 3, what: 'spike' },
        { step: 4, what: 'non-finite, skipped' },
        { step: 5, what: 'overflow, skipped' },
      ],
    });
    for (let i = 6; i < 300; i++) series.take(JSON.stringify(step(i, { loss: null })));
    expect(series.anomalies.count).toBe(298);
    expect(series.anomalies.last).toHaveLength(100);
  });

  it('begins another history where steps go back without the log being cut', () => {
    const series = take(
      step(1),
      step(2),
      { step: 2, valLoss: 1 },
      step(3, { loss: null }),
      step(2, { loss: 9 }),
      step(3),
    );
    expect(series.generation).toBe(1);
    expect(series.table(0, 3, 1).metrics.loss.mean).toEqual([4, 9, 4]);
    expect(series.validations.step).toEqual([]);
    expect(series.anomalies.count).toBe(0);
    series.reset();
    expect([series.generation, series.length]).toEqual([2, 0]);
  });

  it('grows beyond what it began with', () => {
    const series = take(...Array.from({ length: 5000 }, (_, i) => step(i + 1, { lr: i })));
    expect(series.table(0, 5000, 1).metrics.lr.mean).toEqual(Array.from({ length: 5000 }, (_, i) => i));
  });
});
