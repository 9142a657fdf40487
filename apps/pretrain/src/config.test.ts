import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { countParameters } from '@meap/llama-model';
import { ConfigurationError, configToYaml } from '@meap/recipe-cli';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { configJsonSchema } from './config.ts';
import { loadConfig } from './load-config.ts';
import { type PretrainConfig, resolveConfig } from './resolve-config.ts';
import { tinyRecipe } from './testing.ts';
import { modelConfig } from './training/model.ts';

const directory = mkdtempSync(join(tmpdir(), 'pretrain-config-'));
afterAll(() => rmSync(directory, { recursive: true }));

function write(name: string, content: string): string {
  writeFileSync(join(directory, name), content);
  return join(directory, name);
}

function problemsOf(action: () => unknown): readonly string[] {
  try {
    action();
  } catch (error) {
    if (error instanceof ConfigurationError) return error.problems;
    throw error;
  }
  return [];
}

const change = (section: string, keys: object) => ({
  ...tinyRecipe,
  [section]: { ...(tinyRecipe as Record<string, object>)[section], ...keys },
});

describe('resolveConfig', () => {
  it('takes the paper’s values by default', () => {
    const { masking, train, precision, seed } = resolveConfig(tinyRecipe);
    expect(masking).toEqual({
      strategy: 'per-sequence',
      ratio: 0.15,
      replace_with: 'mask',
      until: 1,
      keep_tokens: [],
    });
    expect(train).toMatchObject({ adam_beta1: 0.9, adam_beta2: 0.95, adam_epsilon: 1e-8 });
    expect(train).toMatchObject({ weight_decay: 0.05, max_grad_norm: 1, warmup_ratio: 0.1 });
    expect(resolveConfig(change('train', { learning_rate: undefined })).train).toMatchObject({
      learning_rate: 4e-4,
      min_learning_rate: 4e-5,
    });
    expect({ precision, seed }).toEqual({ precision: 'float32', seed: 0 });
  });

  it('overrides keys of a preset', () => {
    const { model } = resolveConfig({ ...tinyRecipe, model: { preset: '100m', hidden_size: 384 } });
    expect(model).toMatchObject({
      hidden_size: 384,
      head_dim: 32,
      vocab_size: 32_064,
      num_hidden_layers: 12,
    });
    expect(model).not.toHaveProperty('preset');
  });

  it('adds QK-norm to a preset, in the form that it resolves to', () => {
    const plain = resolveConfig({ ...tinyRecipe, model: { preset: '100m', model_type: 'llama' } });
    const normed = resolveConfig({ ...tinyRecipe, model: { preset: '100m', model_type: 'qwen3' } });
    expect(plain.model).not.toHaveProperty('model_type');
    expect(normed.model).toEqual({ ...plain.model, model_type: 'qwen3' });
    const again = resolveConfig(parse(configToYaml(normed)));
    expect(again).toEqual(normed);
    const count = (config: PretrainConfig) => countParameters(modelConfig(config, { vocabSize: 100 }));
    // 12 layers of two norms of 64.
    expect(count(normed) - count(plain)).toBe(12 * 2 * 64);
  });

  it.each([
    [
      { ...tinyRecipe, trian: {} },
      /^trian: unknown key; did you mean train\?; allowed here: extends, seed, /,
    ],
    [
      change('train', { lr: 1 }),
      /^train\.lr: unknown key; write train\.learning_rate: 1; allowed here: max_steps, /,
    ],
    [change('train', { steps: 1 }), /^train\.steps: unknown key; did you mean max_steps\?/],
    [change('train', { optim: 'lion' }), /^train\.optim: got "lion", expected one of adamw, muon$/],
    [
      change('train', { muon_momentum: 0.9 }),
      /^train\.muon_momentum: got 0\.9, expected none with optim adamw; null removes it$/,
    ],
    [
      { ...change('train', { optim: 'muon' }), distributed: { zero_stage: 1 } },
      /^distributed\.zero_stage: got 1, expected 0 with train\.optim muon, which needs whole matrices; /,
    ],
    [
      { ...change('train', { optim: 'muon' }), precision: 'float16' },
      /^precision: got "float16", expected float32 or bfloat16 with train\.optim muon, /,
    ],
    [change('train', { z_loss: -1 }), /^train\.z_loss: got -1, expected a number from 0$/],
    [
      change('model', { model_type: 'qwen2' }),
      /^model\.model_type: got "qwen2", expected one of llama, qwen3$/,
    ],
    [
      change('model', { qk_norm: true }),
      /^model\.qk_norm: unknown key; write model\.model_type: qwen3 \(QK-norm of heads\)/,
    ],
    [
      change('train', { learning_rate: 'fast' }),
      /^train\.learning_rate: got "fast", expected a number above 0$/,
    ],
    [change('train', { max_steps: 0 }), /^train\.max_steps: got 0, expected a whole number above 0$/],
    [
      change('train', { max_steps: undefined }),
      /^train\.max_steps: got nothing, expected a whole number above 0$/,
    ],
    [
      change('train', { micro_batch_size: 3 }),
      /^train\.micro_batch_size: got 3, expected a divisor of global_batch_size 4$/,
    ],
    [
      change('train', { min_learning_rate: 1 }),
      /^train\.min_learning_rate: got 1, expected at most learning_rate 0.01$/,
    ],
    [change('train', { warmup_ratio: 1.5 }), /^train\.warmup_ratio: got 1.5, expected a number from 0 to 1$/],
    [
      change('model', { max_position_embeddings: 8 }),
      /^train\.sequence_length: got 16, expected at most the model/,
    ],
    [change('model', { num_key_value_heads: 3 }), /^model\.num_key_value_heads: got 3, expected a divisor/],
    [
      change('model', { hidden_size: undefined }),
      /^model\.hidden_size: got nothing, expected .*or a preset$/,
    ],
    [change('model', { preset: '7b' }), /^model\.preset: got "7b", expected one of 100m, 300m, /],
    [change('masking', { until: 0 }), /^masking\.until: got 0, expected a number above 0, up to 1$/],
    [change('masking', { ratio: 0, until: 0.9 }), /^masking\.until: got 0\.9, expected 1 with ratio 0/],
    [
      change('masking', { ratio: 0, replace_with: 'random' }),
      /^masking\.replace_with: got "random", expected mask with ratio 0/,
    ],
    [change('masking', { ratio: 1 }), /^masking\.ratio: got 1, expected a number from 0 and below 1$/],
    [
      change('masking', { strategy: 'spans' }),
      /^masking\.strategy: got "spans", expected one of per-sequence, /,
    ],
    [
      change('masking', { strategy: 'span' }),
      /^masking\.span_length: got nothing, expected a whole number above 0/,
    ],
    [
      change('masking', { span_length: 5 }),
      /^masking\.span_length: got 5, expected none with strategy per-sequence/,
    ],
    [
      { ...tinyRecipe, model: { from: 'x' }, tokenizer: {}, init_seed: 1 },
      /^init_seed: got 1, expected none beside model\.from/,
    ],
    [change('data', { files: undefined }), /^data: got {}, expected one of files, npm and sources$/],
    [change('data', { npm: ['sotu'] }), /^data: got .*, expected one of files, npm and sources$/],
    [change('data', { npm: ['emma'] }), /^data\.npm\.0: got "emma", expected one of moby-dick, sotu$/],
    [
      change('data', { validation_fraction: 0 }),
      /^data\.validation_fraction: got 0, expected a number above 0 and/,
    ],
    [
      change('tokenizer', { vocab_size: undefined }),
      /^tokenizer: got {}, expected either path or vocab_size$/,
    ],
    [
      change('samples', { prompts: [] }),
      /^samples\.prompts: got \[\], expected at least one prompt, which may be empty, or held_out/,
    ],
    [change('samples', { held_out: -1 }), /^samples\.held_out: got -1, expected a whole number from 0/],
    [change('samples', { max_new_tokens: 16 }), /^samples\.max_new_tokens: got 16, expected less than/],
    [
      { ...tinyRecipe, model: 3 },
      /^model: got 3, expected keys with values \(from, preset, model_type, vocab_size, /,
    ],
    [
      { ...tinyRecipe, extends: './x.yaml' },
      /^extends: got ".\/x.yaml", expected none outside a recipe file/,
    ],
    [null, /^configuration: got null, expected keys with values \(extends, seed, /],
  ])('refuses with a one-line error: case %#', (input, expected) => {
    const problems = problemsOf(() => resolveConfig(input as object));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(expected);
    expect(problems[0]).not.toContain('\n');
  });

  it('reports all problems at once', () => {
    const input = { ...change('train', { max_steps: -1, lr: 2 }), seeds: 1 };
    expect(problemsOf(() => resolveConfig(input)).map((line) => line.split(':')[0])).toEqual([
      'train.max_steps',
      'train.lr',
      'seeds',
    ]);
  });

  it('throws only ConfigurationError', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom('seed', 'model', 'train', 'data', 'x'), fc.anything()),
        (input) => {
          for (const problem of problemsOf(() => resolveConfig(input))) expect(problem).toMatch(/^[^\n]+$/);
        },
      ),
    );
  });
});

describe('loadConfig', () => {
  const base = write('base.yaml', configToYaml(resolveConfig(change('data', { files: ['/a/b.txt'] }))));

  it('merges a recipe over its base, and overrides over both', () => {
    const file = write(
      'derived.yaml',
      'extends: ./base.yaml\nmasking:\n  ratio: 0.2\ntrain:\n  max_steps: 9\n',
    );
    const config = loadConfig(file, ['train.max_steps=10', 'train.max_steps=11', 'samples.prompts=[a, b]']);
    expect(config.masking.ratio).toBe(0.2);
    expect(config.train).toMatchObject({ max_steps: 11, sequence_length: 16 });
    expect(config.samples.prompts).toEqual(['a', 'b']);
    expect(loadConfig(base).masking.ratio).toBe(0.15);
  });

  it('removes an inherited key with null', () => {
    expect(loadConfig(base, ['data.separator=null']).data).not.toHaveProperty('separator');
  });

  it('removes an inherited alternative, and refuses two alternatives in one recipe', () => {
    expect(loadConfig(base, ['data.npm=[sotu]']).data).toMatchObject({ npm: ['sotu'] });
    expect(loadConfig(base, ['data.npm=[sotu]']).data).not.toHaveProperty('files');
    expect(loadConfig(base, ['tokenizer.path=t']).tokenizer).not.toHaveProperty('vocab_size');
    const both = write('both.yaml', 'extends: base.yaml\ndata:\n  npm: [sotu]\n  files: [a.txt]\n');
    expect(problemsOf(() => loadConfig(both))).toHaveLength(1);
  });

  it('resolves paths relative to the recipe, those of overrides relative to the working directory', () => {
    const file = write('paths.yaml', 'extends: ./base.yaml\ndata:\n  files: [x/*.txt, /y.txt]\n');
    expect(loadConfig(file).data.files).toEqual([join(directory, 'x/*.txt'), '/y.txt']);
    expect(loadConfig(file, ['data.files=[z.txt]']).data.files).toEqual([resolve('z.txt')]);
  });

  it.each([
    ['missing.yaml', undefined, /missing\.yaml: cannot be read: ENOENT/],
    ['list.yaml', '- a\n', /list\.yaml: got \["a"\], expected keys with values$/],
    ['broken.yaml', 'a: [1\n', /broken\.yaml: not YAML: /],
    ['twice.yaml', 'seed: 1\nseed: 2\n', /twice\.yaml: not YAML: Map keys must be unique/],
    [
      'circle.yaml',
      'extends: ./circle.yaml\n',
      /circle\.yaml.*: circular extends, expected recipes that do not extend each other$/,
    ],
    ['lost.yaml', 'extends: ./nowhere.yaml\n', /nowhere\.yaml \(extended by .*lost\.yaml\): cannot be read/],
    ['number.yaml', 'extends: 3\n', /number\.yaml: extends: got 3, expected the path of a recipe$/],
    ['proto.yaml', 'extends: ./base.yaml\n__proto__: {polluted: 1}\n', /^__proto__: unknown key/],
  ])('refuses %s', (name, content, expected) => {
    const file = content === undefined ? join(directory, name) : write(name, content);
    const problems = problemsOf(() => loadConfig(file));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(expected);
    expect({}).not.toHaveProperty('polluted');
  });

  it.each([
    ['train.max_steps', /^--set train\.max_steps: expected path\.to\.key=value/],
    ['=3', /^--set =3: expected path/],
    ['train..x=3', /^--set train\.\.x=3: expected path/],
    ['seed=[1', /^--set seed=\[1: the value is not YAML: /],
    ['seed=1.5', /^seed: got 1\.5, expected a whole number from 0$/],
    ['model.n.m=3', /^model\.n: unknown key/],
  ])('refuses --set %s', (override, expected) => {
    expect(problemsOf(() => loadConfig(base, [override]))[0]).toMatch(expected);
  });
});

describe('configToYaml', () => {
  it('round-trips a configuration', () => {
    const config = resolveConfig(
      change('masking', { strategy: 'span', span_length: 3, keep_tokens: ['<s>'] }),
    );
    expect(resolveConfig(parse(configToYaml(config)))).toEqual(config);
  });
});

describe('configJsonSchema', () => {
  it('equals recipes/pretrain/schema.json; `pnpm --dir apps/pretrain run schema` writes it', () => {
    const file = join(import.meta.dirname, '../../../recipes/pretrain/schema.json');
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(configJsonSchema());
  });

  it('describes every key and requires none, since a recipe may inherit it', () => {
    const schema = configJsonSchema() as Node;
    const visit = (node: Node, path: string) => {
      expect(node.required, path).toBeUndefined();
      if (path) expect(node.description, path).toMatch(/\.$/);
      for (const [key, inner] of Object.entries(node.properties ?? {})) visit(inner, `${path}.${key}`);
    };
    visit(schema, '');
    expect(schema.additionalProperties).toBe(false);
  });
});

interface Node {
  required?: string[];
  description?: string;
  properties?: Record<string, Node>;
  additionalProperties?: boolean;
}
