import { join } from 'node:path';
import { ConfigurationError } from '@meap/recipe-cli';
import { describe, expect, it } from 'vitest';
import { loadConfig } from './config.ts';
import { removeFolders, STUDY, writeStudy } from './testing.ts';

removeFolders();

function problemsOf(change: object): readonly string[] {
  try {
    loadConfig(writeStudy({ ...STUDY, ...change }));
  } catch (error) {
    if (error instanceof ConfigurationError) return error.problems;
    throw error;
  }
  return [];
}

describe('loadConfig', () => {
  it('reads a study with its defaults', () => {
    const file = writeStudy(STUDY);
    const { steps, vary, comparisons, keep_checkpoints } = loadConfig(file);
    expect(steps.pretrain).toMatchObject({ program: 'pretrain', recipe: join(file, '../base.yaml') });
    expect(vary).toEqual(['init', 'data', 'masks']);
    expect(comparisons[1].primary).toBe(false);
    expect(keep_checkpoints).toBe(false);
  });

  it('takes a recipe without folder and extension for a built-in one, unless there is such a file', () => {
    const read = (recipe: string) =>
      loadConfig(writeStudy({ ...STUDY, steps: { pretrain: { recipe } } })).steps.pretrain.recipe;
    expect(read('quickstart')).toBe('quickstart');
    expect(read('base.yaml')).toMatch(/\/base\.yaml$/);
  });

  it.each([
    [{ kind: 'casual' }, 'kind: got "casual", expected one of confirmatory, exploratory'],
    [{ seeds: [1, 1] }, 'seeds: got [1,1], expected different seeds'],
    [{ arms: { 'a/b': {} } }, 'arms: got "a/b", expected names that begin with a letter'],
    [{ arms: { ...STUDY.arms, x: { set: { sft: {} } } } }, 'arms.x.set: got "sft", expected names of steps'],
    [
      { steps: { ...STUDY.steps, evaluate: { model: 'sft' } } },
      'steps.evaluate.model: got "sft", expected an earlier step (pretrain)',
    ],
    [
      { steps: { ...STUDY.steps, second: { recipe: 'a' } } },
      'steps.second.program: got nothing, expected one of',
    ],
    [
      { measures: { ...STUDY.measures, x: { step: 'y', metric: 'z' } } },
      'measures.x.step: got "y", expected a step',
    ],
    [
      { measures: { ...STUDY.measures, x: { step: 'pretrain', metric: 'z', at_least: 1, take: 'min' } } },
      'measures.x.take: got "min", expected nothing beside at_least or at_most',
    ],
    [
      { measures: { ...STUDY.measures, x: { step: 'pretrain', metric: 'z', for: 3 } } },
      'measures.x.for: got 3, expected at_least or at_most beside it',
    ],
    [
      { comparisons: [{ measure: 'los', arms: ['ntp', 'meap'] }] },
      'comparisons.0.measure: got "los", expected a measure (loss, induction)',
    ],
    [
      { comparisons: [{ measure: 'loss', arms: ['ntp', 'ntp'] }] },
      'comparisons.0.arms: got ["ntp","ntp"], expected different arms of ntp, meap',
    ],
    [{ primary: true }, 'primary: unknown key'],
  ])('refuses %j', (change, problem) => {
    expect(problemsOf(change).join('\n')).toContain(problem);
  });
});
