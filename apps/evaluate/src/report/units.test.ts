import { describe, expect, it } from 'vitest';
import { metricTitle, taskTitle } from './task-names.ts';
import { syntheticModel, syntheticResult } from './testing.ts';
import { unitOf } from './units.ts';

const percent = { isPercent: true, factor: 100 };
const plain = { isPercent: false, factor: 1 };

describe('metrics', () => {
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
});
