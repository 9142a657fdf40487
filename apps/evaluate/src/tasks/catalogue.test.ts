import { expect, it } from 'vitest';
import { DATA_SETS, families, TASKS } from './catalogue.ts';

it('no two families have a task of one name, or different data sets of one name', () => {
  const tasks = families.flatMap(([, { tasks }]) => Object.keys(tasks));
  expect(tasks).toEqual([...TASKS.keys()]);
  for (const [, { data }] of families) {
    for (const [name, dataSet] of Object.entries(data)) expect(DATA_SETS.get(name), name).toBe(dataSet);
  }
});

it('every data set of a task is one of its family', () => {
  for (const [family, { tasks, data }] of families) {
    for (const [task, entry] of Object.entries(tasks)) {
      expect(Object.keys(data), `${family}, ${task}`).toEqual(expect.arrayContaining([...entry.data]));
    }
  }
});

it('a report has a title for every task', () => {
  const named = ['niah', 'ruler_niah_single_1', 'mdqa_20', 'mdqa_10_other_answers', 'kv_retrieval_75'];
  for (const task of named)
    expect(families.some(([, family]) => family.title?.(task) !== undefined)).toBe(true);
});
