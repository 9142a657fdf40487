import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TemporaryFolder } from '@meap/test-support';
import { afterAll, expect, it } from 'vitest';
import { findData } from './find-data.ts';

const folder = new TemporaryFolder();
afterAll(() => folder.dispose());

it('passes over results of earlier runs in the data folder, which are named after their tasks', async () => {
  const data = folder.directory;
  const out = join(data, 'runs/first');
  mkdirSync(join(out, 'tasks'), { recursive: true });
  const file = join(data, 'piqa_valid.jsonl');
  for (const path of [file, join(out, 'tasks/piqa_valid.jsonl')]) writeFileSync(path, '{}\n');
  await expect(findData(['piqa'], { data: { folder: data } })).rejects.toThrow('got 2 matching files');
  writeFileSync(join(out, 'results.json'), '{}');
  expect(await findData(['piqa'], { data: { folder: data } })).toEqual({ piqa: [file] });
  writeFileSync(join(data, 'results.json'), '{}');
  expect(await findData(['piqa'], { data: { folder: data } })).toEqual({ piqa: [file] });
});
