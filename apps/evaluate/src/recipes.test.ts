import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { configJsonSchema, readConfig } from './config.ts';

const recipes = fileURLToPath(new URL('../../../recipes/evaluate', import.meta.url));
const names = readdirSync(recipes).filter((name) => name.endsWith('.yaml'));

it.each(names)('%s is valid', (name) => {
  const config = readConfig(`${recipes}/${name}`);
  expect(name === 'attention.yaml' || config.tasks.length > 0).toBe(true);
});

it('recipes have the grids of the paper', () => {
  const { mdqa } = readConfig(`${recipes}/mdqa-10-documents.yaml`);
  expect(mdqa).toMatchObject({ documents: [10], positions: [1, 5, 10], max_new_tokens: 100 });
  const { attention } = readConfig(`${recipes}/attention.yaml`);
  expect(attention).toMatchObject({ sequences: 500, lengths: [1024, 4096], mask_ratio: 0.15 });
});

it('schema.json equals the schema; `pnpm --dir apps/evaluate run schema` writes it', () => {
  expect(JSON.parse(readFileSync(`${recipes}/schema.json`, 'utf8'))).toEqual(configJsonSchema());
});
