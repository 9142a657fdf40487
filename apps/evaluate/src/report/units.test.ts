import { describe, expect, it } from 'vitest';
import { fileName, metricTitle, taskTitle } from './task-names.ts';
import { syntheticModel, syntheticResult } from './testing.ts';
import { format, formatDifference, formatLength, formatProbability, unitOf } from './units.ts';

const percent = { isPercent: true, factor: 100 };
const plain = { isPercent: false, factor: 1 };

describe('numbers', () => {
  it('have a fixed number of digits and a minus sign', () => {
    expect([0.35, 0.3549, 0, 1].map((value) => format(value, percent))).toEqual([
      '35.0',
      '35.5',
      '0.0',
      '100.0',
    ]);
    expect([31.69, 0.8312, 12345, 1e-5, 0].map((value) => format(value, plain))).toEqual([
      '31.69',
      '0.831',
      '12345',
      '1.00e−5',
      '0.0000',
    ]);
    expect([0.031, -0.031, 0, -0.0001].map((value) => formatDifference(value, percent))).toEqual([
      '+3.1',
      '−3.1',
      '0.0',
      '0.0',
    ]);
    expect([0.0002, 0.05, 1].map(formatProbability)).toEqual(['< 0.001', '0.050', '1.000']);
    expect([300, 4096, 9000, 10240, 1500].map(formatLength)).toEqual(['300', '4K', '9k', '10K', '1.5k']);
  });

  it('are percentages if all rows are between 0 and 1, or for metrics from 0 to 100', async () => {
    const result = await syntheticResult(
      {
        name: 'x',
        metrics: ['share', 'count', 'word_perplexity', 'score'],
        groups: [{}, {}],
        measure: (_, __, draw) => draw,
      },
      syntheticModel('m', 0),
      0,
    );
    const counted = {
      ...result,
      samples: result.samples.map((sample) => ({
        ...sample,
        measured: { ...sample.measured, count: { value: 2 } },
      })),
    };
    expect(unitOf('share', [counted])).toEqual(percent);
    expect(unitOf('count', [result])).toEqual(percent);
    expect(unitOf('count', [result, counted])).toEqual(plain);
    expect(unitOf('word_perplexity', [result])).toEqual(plain);
    expect(unitOf('score', [result])).toEqual({ isPercent: true, factor: 1 });
  });
});

describe('names', () => {
  it('are those of papers by default', () => {
    expect(
      ['arc_easy', 'mdqa_20', 'ruler_vt', 'hallucination_xsum', 'mine', 'constructor'].map(taskTitle),
    ).toEqual([
      'ARC-e',
      'Multi-document QA, 20 documents',
      'vt',
      'Contextual hallucination, xsum',
      'mine',
      'constructor',
    ]);
    expect(['acc', 'toString'].map(metricTitle)).toEqual(['Accuracy', 'toString']);
  });

  it('of files contain no paths', () => {
    expect(fileName('../../etc/passwd', 'by', 'length')).toBe('-etc-passwd-by-length');
    expect(fileName('C:\\x', '\0')).toMatch(/^[a-z0-9_-]+$/);
  });
});
