import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { configJsonSchema, readConfig } from './config.ts';

const recipes = fileURLToPath(new URL('../../../recipes', import.meta.url));
const names = readdirSync(recipes).filter((name) => /^evaluate-.*\.yaml$/.test(name));

it.each(names)('%s is a recipe', (name) => {
  const config = readConfig(`${recipes}/${name}`);
  expect(name.startsWith('evaluate-attention') || config.tasks.length > 0).toBe(true);
});

it('the grids are those of the paper', () => {
  const { mdqa } = readConfig(`${recipes}/evaluate-mdqa-10.yaml`);
  expect(mdqa).toMatchObject({ documents: [10], positions: [1, 5, 10], max_new_tokens: 100 });
  const { attention } = readConfig(`${recipes}/evaluate-attention.yaml`);
  expect(attention).toMatchObject({ sequences: 500, lengths: [1024, 4096], mask_ratio: 0.15 });
});

it('evaluate-schema.json is the schema', () => {
  expect(JSON.parse(readFileSync(`${recipes}/evaluate-schema.json`, 'utf8'))).toEqual(configJsonSchema());
});
