import { describe, expect, it } from 'vitest';
import { Series } from './series.ts';

function seriesOf(...lines: unknown[]): Series {
  const series = new Series();
  for (const line of lines) series.add(typeof line === 'string' ? line : JSON.stringify(line));
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
  it('computes training time from tokens and throughput, also for validations', () => {
    const series = seriesOf(step(1), step(2, { tokensPerSecond: 100 }), {
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

  it('skips and counts lines that are not metrics', () => {
    const series = seriesOf(
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

  it('keeps the z-loss of runs that have one', () => {
    const { metrics } = seriesOf(step(1, { zLoss: 0.02 }), step(2)).table(0, 2, 1);
    expect(metrics.zLoss.mean).toEqual([0.02, null]);
  });

  it('records steps that were not finite or were skipped', () => {
    const series = seriesOf(
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
    for (let i = 6; i < 300; i++) series.add(JSON.stringify(step(i, { loss: null })));
    expect(series.anomalies.count).toBe(298);
    expect(series.anomalies.last).toHaveLength(100);
  });

  it('keeps probes as columns by value, without groups, and no step for them', () => {
    const series = seriesOf(
      { step: 0, tokens: 0, probes: { 'induction/gain': 0.1, 'recall/acc/pairs=4': 1 }, seconds: 9 },
      step(1),
      step(2, { tokensPerSecond: 100 }),
      { step: 2, tokens: 200, probes: { 'recall/acc': 0.5, 'induction/gain': null, odd: 1 }, seconds: 9 },
      { step: 2, tokens: 200, valLoss: 3 },
      { step: 4, probes: null },
    );
    expect([series.generation, series.length, series.badLines]).toEqual([0, 2, 0]);
    expect(series.validations.step).toEqual([2]);
    expect(series.probes).toEqual({
      step: [0, 2, 4],
      tokens: [0, 200, 200],
      seconds: [0, 3, 3],
      values: { 'induction/gain': [0.1, null, null], 'recall/acc': [null, 0.5, null] },
    });
    expect(series.probesFrom(1)).toMatchObject({ step: [2, 4], values: { 'recall/acc': [0.5, null] } });
    const names = Array.from({ length: 200 }, (_, i) => [`p/${i}`, i]);
    series.add(JSON.stringify({ step: 4.5, probes: Object.fromEntries(names) }));
    expect(Object.keys(series.probes.values)).toHaveLength(64);
  });

  it('drops what a run that restarts at a probe has measured again', () => {
    const probe = (step: number, gain: number) => ({ step, probes: { 'induction/gain': gain } });
    const series = seriesOf(probe(0, 1), step(1), probe(1, 2), step(2), probe(2, 3), probe(1, 4), step(2));
    expect([series.generation, series.length]).toEqual([1, 2]);
    expect(series.probes.values).toEqual({ 'induction/gain': [1, 4] });
    series.add(JSON.stringify(probe(0, 5)));
    series.add(JSON.stringify(step(1)));
    expect([series.generation, series.length]).toEqual([2, 1]);
    expect(series.probes).toMatchObject({ step: [0], values: { 'induction/gain': [5] } });
    series.reset();
    expect(series.probes.step).toEqual([]);
  });

  it('starts a new generation if steps decrease without the log being truncated', () => {
    const series = seriesOf(
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

  it('grows beyond its initial capacity', () => {
    const series = seriesOf(...Array.from({ length: 5000 }, (_, i) => step(i + 1, { lr: i })));
    expect(series.table(0, 5000, 1).metrics.lr.mean).toEqual(Array.from({ length: 5000 }, (_, i) => i));
  });
});
