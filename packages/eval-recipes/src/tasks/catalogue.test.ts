import { hubAddress, parseHubAddress } from '@meap/hub';
import { expect, it } from 'vitest';
import { DATA_SETS, families, TASKS } from './catalogue.ts';
import { HUB_DATA, hubNameOf } from './hub-data.ts';

it('task names are unique, and data sets with the same name are the same', () => {
  const tasks = families.flatMap(([, { tasks }]) => Object.keys(tasks));
  expect(tasks).toEqual([...TASKS.keys()]);
  for (const [, { data }] of families) {
    for (const [name, dataSet] of Object.entries(data)) expect(DATA_SETS.get(name), name).toBe(dataSet);
  }
});

it('every data set of a task belongs to its family', () => {
  for (const [family, { tasks, data }] of families) {
    for (const [task, entry] of Object.entries(tasks)) {
      expect(Object.keys(data), `${family}, ${task}`).toEqual(expect.arrayContaining([...entry.data]));
    }
  }
});

it('what the Hub has is a data set, with an address', () => {
  for (const [name, data] of HUB_DATA) {
    expect(DATA_SETS.has(name), name).toBe(true);
    expect(parseHubAddress(hubAddress(hubNameOf(data)))).toEqual(hubNameOf(data));
  }
});

it('long-context tasks have titles', () => {
  const named = ['niah', 'ruler_niah_single_1', 'mdqa_20', 'mdqa_10_other_answers', 'kv_retrieval_75'];
  for (const task of named)
    expect(families.some(([, family]) => family.title?.(task) !== undefined)).toBe(true);
});
