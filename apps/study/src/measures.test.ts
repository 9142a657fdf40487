import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Measure } from './config.ts';
import { measureRun } from './measures.ts';
import { newFolder, removeFolders } from './testing.ts';

removeFolders();

const steps = { train: { program: 'pretrain' }, eval: { program: 'evaluate' } } as never;

/** Lines of each kind: every step, every second validated, every one probed. */
function writeMetrics(gains: readonly (number | null)[], bits: readonly number[] = []): string {
  const out = newFolder();
  const lines = gains.flatMap((gain, i) => [
    { step: i + 1, tokens: 10 * (i + 1), loss: 8 - i, lr: 0.1, tokensPerSecond: 5 },
    ...(bits[i] === undefined
      ? []
      : [{ step: i + 1, tokens: 10 * (i + 1), valLoss: 1, bitsPerByte: bits[i] }]),
    { step: i + 1, tokens: 10 * (i + 1), probes: { 'induction/gain': gain }, seconds: 0.1 },
  ]);
  writeFileSync(join(out, 'metrics.jsonl'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  return out;
}

function measured(measure: Omit<Measure, 'step'>, out: string) {
  return measureRun({ measures: { x: { step: 'train', ...measure } }, steps }, () => out).measures.x;
}

const gain = { metric: 'probes/induction/gain' };

describe('values', () => {
  const out = writeMetrics([0.1, 0.2, 0.3], [3, 2, 2.5]);
  it('are the last, or the lowest or highest', () => {
    expect(measured({ metric: 'bitsPerByte' }, out)).toEqual({ value: 2.5 });
    expect(measured({ metric: 'bitsPerByte', take: 'min' }, out)).toEqual({ value: 2 });
    expect(measured({ ...gain, take: 'max' }, out)).toEqual({ value: 0.3 });
    expect(measured({ metric: 'loss' }, out)).toEqual({ value: 6 });
  });

  it('of metrics that a run does not have are an error that names those it has', () => {
    expect(() => measured({ metric: 'probes/recall/acc' }, out)).toThrow(
      /metrics\.jsonl: got no probes\/recall\/acc, expected one of bitsPerByte, loss, lr, probes\/induction\/gain, valLoss$/,
    );
  });
});

describe('times', () => {
  it('are the tokens of the first of some measurements in a row that hold', () => {
    const out = writeMetrics([0, 1.2, 0.5, 1, 1.1, 1.3]);
    expect(measured({ ...gain, at_least: 1 }, out)).toEqual({ value: 20, censored: false });
    expect(measured({ ...gain, at_least: 1, for: 3 }, out)).toEqual({ value: 40, censored: false });
    expect(measured({ ...gain, at_most: 0.5 }, out)).toEqual({ value: 10, censored: false });
  });

  it('are censored where the threshold is not reached, or not for long enough', () => {
    const out = writeMetrics([0, 0.2, 0.5, 1.5]);
    expect(measured({ ...gain, at_least: 2 }, out)).toEqual({ value: 40, censored: true });
    // Measurement 4 may have been the first of two: until 3 it is known that none was.
    expect(measured({ ...gain, at_least: 1, for: 2 }, out)).toEqual({ value: 30, censored: true });
    expect(measured({ ...gain, at_least: 1, for: 9 }, out)).toEqual({ value: 0, censored: true });
  });
});

describe('series', () => {
  it('keep every measurement, and average those of single steps where they are many', () => {
    const gains = Array.from({ length: 1200 }, (_, i) => i);
    const out = writeMetrics(gains);
    const measures = { a: { step: 'train', ...gain }, b: { step: 'train', metric: 'loss' } };
    const { series } = measureRun({ measures, steps }, () => out);
    expect(series.train['probes/induction/gain'].values).toEqual(gains);
    const { tokens, values } = series.train.loss;
    expect(values).toHaveLength(400);
    expect([values[0], tokens[0], tokens.at(-1)]).toEqual([7, 30, 12000]);
  });

  it('leave out what is not finite', () => {
    const { series } = measureRun({ measures: { a: { step: 'train', ...gain } }, steps }, () =>
      writeMetrics([0.5, null, 0.7]),
    );
    expect(series.train['probes/induction/gain']).toEqual({ tokens: [10, 30], values: [0.5, 0.7] });
  });
});

describe('evaluations', () => {
  const out = newFolder();
  mkdirSync(join(out, 'tasks'));
  const result = {
    results: { acc: { value: 0.5 } },
    groups: { pairs: [{ value: 4, results: { acc: { value: 0.25 } } }] },
  };
  writeFileSync(join(out, 'tasks/recall.json'), JSON.stringify(result));
  const read = (metric: string) =>
    measureRun({ measures: { x: { step: 'eval', metric } }, steps }, () => out).measures.x.value;

  it('are read by task, group and metric', () => {
    expect(read('recall/acc')).toBe(0.5);
    expect(read('recall/pairs=4/acc')).toBe(0.25);
  });

  it('without the metric are an error', () => {
    expect(() => read('recall/margin')).toThrow(
      'got no margin, expected one of recall/acc, recall/pairs=4/acc',
    );
    expect(() => read('niah/acc')).toThrow('no such file, expected results of the task niah');
  });
});
