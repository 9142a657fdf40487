import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { configJsonSchema, loadConfig } from './config.ts';
import { makePlan, planFromYaml, planToYaml } from './plan.ts';

const folder = fileURLToPath(new URL('../../../recipes/studies', import.meta.url));
const files = readdirSync(folder).filter((file) => file.endsWith('.yaml'));

describe.each(files)('%s', (file) => {
  it('is a study whose plan survives writing', () => {
    const plan = makePlan(loadConfig(`${folder}/${file}`));
    expect(planToYaml(planFromYaml(planToYaml(plan)))).toBe(planToYaml(plan));
  });
});

it('schema.json is current', () => {
  expect(JSON.parse(readFileSync(`${folder}/schema.json`, 'utf8'))).toEqual(configJsonSchema());
});
