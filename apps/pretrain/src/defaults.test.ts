/** Defaults never invalidate a recipe whose own keys are consistent. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type PresetName, parseConfig, presets, toHuggingFaceConfig } from '@meap/llama-model';
import { MASKING_STRATEGIES } from '@meap/meap-masking';
import { parseConfig as checkKeys, configToYaml } from '@meap/recipe-cli';
import { setFlags } from '@meap/test-support';
import fc from 'fast-check';
import { afterAll, expect, it } from 'vitest';
import { parse } from 'yaml';
import { configSchema } from './config.ts';
import { resolveConfig } from './resolve-config.ts';
import { tinyRecipe, Workbench } from './testing.ts';

const few = (max: number, min = 1) => fc.integer({ min, max });
const maybe = <T>(one: fc.Arbitrary<T>) => fc.option(one, { nil: undefined });
const section = <T extends object>(keys: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(keys, { requiredKeys: [] });

const shape = { hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 4 };

/** Recipes with any keys that depend on each other. */
const recipes = fc.record({
  model: fc.oneof(
    section({ vocab_size: few(500), max_position_embeddings: few(200, 2), num_key_value_heads: few(4) }).map(
      (keys) => ({ ...shape, ...keys }),
    ),
    fc
      .record({
        preset: fc.constantFrom(...(Object.keys(presets) as PresetName[])),
        num_attention_heads: maybe(fc.constantFrom(1, 2, 4, 8)),
        max_position_embeddings: maybe(few(9000, 2)),
      })
      .map(({ preset, ...keys }) => ({ preset, ...defined(keys) })),
  ),
  data: fc.oneof(
    section({ validation_fraction: fc.constantFrom(0.01, 0.5) }).map((keys) => ({
      files: ['a.txt'],
      ...keys,
    })),
    fc.constant({ files: ['a.txt'], validation_files: ['b.txt'] }),
    section({ token_budget: few(10) }).map((keys) => ({
      sources: { a: { files: ['a.txt'], share: 1 } },
      ...keys,
    })),
  ),
  tokenizer: fc.oneof(fc.constant({ path: 'tokenizer' }), fc.constant({ vocab_size: 300 })),
  masking: fc.oneof(
    section({
      strategy: fc.constantFrom(...MASKING_STRATEGIES.filter((name) => name !== 'span')),
      ratio: fc.constantFrom(0, 0.9),
    }),
    fc.record({ strategy: fc.constant('span'), span_length: few(60) }),
  ),
  train: section({
    global_batch_size: few(300),
    micro_batch_size: few(300),
    sequence_length: few(9000, 2),
    learning_rate: fc.constantFrom(1e-9, 1e-3, 10),
    min_learning_rate: fc.constantFrom(0, 1e-4, 1),
    warmup_ratio: fc.constantFrom(0, 0.5, 1),
    recompute: fc.boolean(),
  }).chain((keys) => few(300).map((max_steps) => ({ max_steps, ...keys }))),
  validation: section({ every: few(300), max_rows: few(300) }),
  checkpoint: section({
    every: few(300),
    keep_best: fc.boolean(),
    keep_last: few(3),
    keep_every: few(300),
  }),
  samples: section({ every: few(300), max_new_tokens: few(9000), temperature: fc.constantFrom(0, 1) }),
});

type Recipe = typeof recipes extends fc.Arbitrary<infer T> ? T : never;

function defined<T extends object>(keys: T): Partial<T> {
  return Object.fromEntries(Object.entries(keys).filter(([, value]) => value !== undefined)) as Partial<T>;
}

/** Returns whether the given keys of a recipe are consistent. */
function fits({ model, train, validation, checkpoint, samples }: Recipe): boolean {
  const { max_position_embeddings: context = Infinity, num_key_value_heads: heads = 1 } = model as {
    max_position_embeddings?: number;
    num_key_value_heads?: number;
  };
  const { global_batch_size: rows = 0, micro_batch_size: micro = 1, sequence_length: length = 2 } = train;
  const { learning_rate = Infinity, min_learning_rate = 0 } = train;
  const { every: saved = 0, keep_best = false } = checkpoint;
  // The context defaults to the length of a row.
  const room = context === Infinity && !('preset' in model) ? (train.sequence_length ?? 4096) : context;
  const preset = 'preset' in model ? Math.max(presets[model.preset].max_position_embeddings, length) : room;
  return (
    (shape.num_attention_heads % heads === 0 || 'preset' in model) &&
    rows % micro === 0 &&
    length <= context &&
    min_learning_rate <= learning_rate &&
    (!keep_best || saved % (validation.every ?? saved) === 0 || saved === 0) &&
    (samples.max_new_tokens ?? 1) < Math.min(room, context === Infinity ? preset : context)
  );
}

it('property: a consistent recipe resolves, and resolving the result again changes nothing', () => {
  let valid = 0;
  const property = fc.property(recipes, (recipe) => {
    fc.pre(fits(recipe));
    valid++;
    expect(() => checkKeys(configSchema, recipe)).not.toThrow();
    const config = resolveConfig(recipe);
    for (const [name, keys] of Object.entries(recipe)) {
      const { preset, ...given } = keys as { preset?: string };
      expect(config[name as 'train']).toMatchObject(given);
    }
    expect(resolveConfig(parse(configToYaml(config)))).toEqual(config);
  });
  fc.assert(property, { numRuns: 100 });
  expect(valid).toBe(100);
});

it('short rows shorten samples, and a short context shortens rows', () => {
  const train = { max_steps: 1 };
  const of = (changes: object) => resolveConfig({ ...tinyRecipe, samples: {}, ...changes });
  expect(of({ train: { ...train, sequence_length: 64 } }).samples.max_new_tokens).toBe(63);
  expect(of({ train: { ...train, sequence_length: 256 } }).samples.max_new_tokens).toBe(64);
  const model = { ...tinyRecipe.model, max_position_embeddings: 32 };
  expect(of({ train, model }).train.sequence_length).toBe(32);
  expect(of({ train, model: { preset: 'tinyllama-1.1b' } }).train.sequence_length).toBe(2048);
  const long = of({ train: { ...train, sequence_length: 5000 }, model: { preset: '100m' } });
  expect(long.model).toMatchObject({ max_position_embeddings: 5000 });
});

it('rows and samples default to the context of a checkpoint', () => {
  const from = mkdtempSync(join(tmpdir(), 'pretrain-defaults-'));
  afterAll(() => rmSync(from, { recursive: true }));
  const model = parseConfig({ ...shape, vocab_size: 64, max_position_embeddings: 24 });
  const folder = join(from, 'checkpoints', 'step-00000001');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), JSON.stringify(toHuggingFaceConfig(model)));
  const { train, samples } = resolveConfig({
    model: { from },
    data: { files: ['a.txt'] },
    train: { max_steps: 1 },
  });
  expect([train.sequence_length, samples.max_new_tokens]).toEqual([24, 23]);
});

it('a run with very short rows trains, and samples after a prompt that nearly fills the context', async () => {
  const bench = new Workbench();
  afterAll(() => bench.dispose());
  const keys = ['train.sequence_length=8', 'samples.max_new_tokens=null', 'samples.prompts=["The sea"]'];
  const { code, stderr } = await bench.pretrain('short', ...setFlags(...keys));
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
});
