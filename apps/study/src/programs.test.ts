import { describe, expect, it } from 'vitest';
import { findProgram, flatten, type StepCall, stepArguments } from './programs.ts';

const call: StepCall = {
  step: { program: 'pretrain', recipe: 'quickstart', set: { train: { max_steps: 4 }, 'data.npm': ['sotu'] } },
  set: { 'train.max_steps': 8, 'model.preset': null },
  vary: ['init', 'data', 'masks'],
  seed: 3,
  out: 'runs/a',
};
const setsOf = (change: Partial<StepCall>) =>
  stepArguments({ ...call, ...change }).filter((_, i, args) => args[i - 1] === '--set');

describe('stepArguments', () => {
  it('sets the arm’s keys over the step’s, then the seed', () => {
    expect(stepArguments(call)).toEqual([
      '--config',
      'quickstart',
      '--set',
      'train.max_steps=8',
      '--set',
      'data.npm=["sotu"]',
      '--set',
      'model.preset=null',
      '--set',
      'seed=3',
      '--out',
      'runs/a',
    ]);
  });

  it('sets only what the seed varies', () => {
    expect(setsOf({ vary: ['masks'] }).slice(3)).toEqual(['mask_seed=3']);
    expect(setsOf({ vary: ['data', 'init'] }).slice(3)).toEqual(['data_seed=3', 'init_seed=3']);
  });

  it('passes the model of an earlier step by each program’s key, and no seed to evaluations', () => {
    const model = 'runs/b';
    const step = { ...call.step, set: {} };
    const of = (program: 'pretrain' | 'finetune' | 'evaluate') =>
      setsOf({ step: { ...step, program }, set: {}, model });
    expect(of('pretrain')).toEqual(['model.from="runs/b"', 'seed=3']);
    expect(of('finetune')).toEqual(['model.path="runs/b"', 'seed=3']);
    expect(of('evaluate')).toEqual(['model.path="runs/b"']);
  });
});

it('flatten keeps lists, null and empty sections', () => {
  expect(flatten({ a: { b: { c: 1 }, d: [1, { e: 2 }] }, f: null, g: {}, 'h.i': 'x' })).toEqual({
    'a.b.c': 1,
    'a.d': [1, { e: 2 }],
    f: null,
    g: {},
    'h.i': 'x',
  });
});

it('finds every program in a clone', () => {
  for (const program of ['pretrain', 'finetune', 'evaluate'] as const) {
    expect(findProgram(program).cli).toMatch(new RegExp(`apps/${program}/dist/cli\\.js$`));
  }
});
