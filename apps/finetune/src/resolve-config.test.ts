import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseConfig, toHuggingFaceConfig } from '@meap/llama-model';
import { configToYaml } from '@meap/recipe-cli';
import fc from 'fast-check';
import { afterAll, expect, it } from 'vitest';
import { parse } from 'yaml';
import { resolveConfig } from './resolve-config.ts';

const few = (max: number, min = 1) => fc.integer({ min, max });
const section = <T extends object>(keys: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(keys, { requiredKeys: [] });

const recipes = fc.record({
  model: fc.constant({ path: '/no/such/model' }),
  data: section({ validation_fraction: fc.constantFrom(0.01, 0.5), max_samples: few(9) }).map((keys) => ({
    files: ['a.json'],
    ...keys,
  })),
  masking: section({ ratio: fc.constantFrom(0.05, 0.5), loss: fc.constantFrom('union', 'masked-only') }),
  train: section({
    epochs: few(3),
    max_steps: few(300),
    global_batch_size: few(600),
    micro_batch_size: few(600),
    max_length: few(9000, 2),
    learning_rate: fc.constantFrom(1e-9, 1e-3, 10),
    min_learning_rate: fc.constantFrom(0, 1e-4, 1),
    warmup_ratio: fc.constantFrom(0, 1),
  }),
  validation: section({ every: few(300), max_samples: few(300) }),
  checkpoint: section({ every: few(300), keep_best: fc.boolean(), keep_every: few(300) }),
  samples: section({ every: few(300), count: few(5), max_new_tokens: few(9000) }),
});

type Recipe = typeof recipes extends fc.Arbitrary<infer T> ? T : never;

/** Returns whether the given keys of a recipe are consistent. */
function fits({ train, validation, checkpoint }: Recipe): boolean {
  const { global_batch_size: rows = 0, micro_batch_size: micro = 1 } = train;
  const { learning_rate = Infinity, min_learning_rate = 0 } = train;
  const { every: saved = 0, keep_best = false } = checkpoint;
  return (
    rows % micro === 0 &&
    min_learning_rate <= learning_rate &&
    (!keep_best || saved % (validation.every ?? 1) === 0)
  );
}

it('property: a consistent recipe resolves, and resolving the result again changes nothing', () => {
  const property = fc.property(recipes, (recipe) => {
    fc.pre(fits(recipe));
    const config = resolveConfig(recipe);
    for (const [name, keys] of Object.entries(recipe)) expect(config[name as 'train']).toMatchObject(keys);
    expect(resolveConfig(parse(configToYaml(config)))).toEqual(config);
  });
  fc.assert(property, { numRuns: 100 });
});

it('max_length defaults to the model’s context, at most 4096', () => {
  const path = mkdtempSync(join(tmpdir(), 'finetune-config-'));
  afterAll(() => rmSync(path, { recursive: true }));
  const shape = { hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 1 };
  const lengthWith = (context: number) => {
    const model = parseConfig({ ...shape, vocab_size: 8, max_position_embeddings: context });
    writeFileSync(join(path, 'config.json'), JSON.stringify(toHuggingFaceConfig(model)));
    return resolveConfig({ model: { path }, data: { files: ['a.json'] } }).train.max_length;
  };
  expect([lengthWith(512), lengthWith(8192)]).toEqual([512, 4096]);
});
