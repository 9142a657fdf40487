import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { FakeHub } from '@meap/test-support';
import { stepDirectory } from '@meap/trainer';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ModelError } from './errors.ts';
import { findModel, modelName } from './find-model.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'find-model-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function write(files: Readonly<Record<string, string>>): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
}

/** Writes a checkpoint in the trainer's format. */
function checkpoint(step: number, { damaged = false } = {}): void {
  const name = `checkpoints/${stepDirectory(step)}`;
  const files = {
    'config.json': '{}',
    'trainer/optimizer.safetensors': 'x',
    'trainer/state.json': JSON.stringify({
      ...{ formatVersion: 1, step, tokens: 0, optimizerStep: step, validatedStep: 0, sampledStep: 0 },
      guard: { losses: [], gradNorms: [], nonFiniteInARow: 0 },
      fingerprints: {},
      weightsSha256: 'f'.repeat(64),
    }),
  };
  const sums = Object.entries(files).map(
    ([file, text]) => `${createHash('sha256').update(text).digest('hex')}  ${file}\n`,
  );
  const all = { ...files, ...(damaged && { 'config.json': '{' }), 'trainer/SHA256SUMS': sums.join('') };
  write(Object.fromEntries(Object.entries(all).map(([file, text]) => [`${name}/${file}`, text])));
}

describe('findModel', () => {
  it('finds a Hugging Face folder', async () => {
    write({ 'm/config.json': '{}' });
    expect(await findModel(join(folder, 'm'))).toEqual({
      base: join(folder, 'm'),
      tokenizer: join(folder, 'm'),
    });
  });

  it('finds the finished model of a run, or else its newest complete checkpoint', async () => {
    checkpoint(2);
    checkpoint(4);
    checkpoint(6, { damaged: true });
    const newest = join(folder, 'checkpoints/step-00000004');
    expect(await findModel(folder)).toEqual({ base: newest, tokenizer: newest });
    write({ 'model/config.json': '{}' });
    expect((await findModel(folder)).base).toBe(join(folder, 'model'));
  });

  it('finds a PEFT adapter, with its tokenizer or that of its base', async () => {
    write({ 'base/config.json': '{}', 'a/adapter_config.json': '{"base_model_name_or_path":"base"}' });
    const [base, adapter] = [join(folder, 'base'), join(folder, 'a')];
    expect(await findModel(adapter)).toEqual({ base, adapter, tokenizer: base });
    write({ 'a/tokenizer.json': '{}' });
    expect(await findModel(adapter)).toEqual({ base, adapter, tokenizer: adapter });
    expect(relative(folder, adapter)).toBe('a');
  });
});

it('reports what is missing', async () => {
  await expect(findModel(folder)).rejects.toThrow(ModelError);
  await expect(findModel(folder)).rejects.toThrow(/contains no config\.json, model or checkpoints/);
  await expect(findModel(join(folder, 'none'))).rejects.toThrow(/no such folder/);
  write({ 'a/adapter_config.json': '{"base_model_name_or_path":"gone"}' });
  await expect(findModel(join(folder, 'a'))).rejects.toThrow(/got "gone", expected the folder of a model/);
  write({ 'a/adapter_config.json': '{' });
  await expect(findModel(join(folder, 'a'))).rejects.toThrow(/cannot be read as JSON/);
});

describe('a name of the Hub', () => {
  const hub = new FakeHub();
  let endpoint: string;
  beforeEach(async () => {
    endpoint = await hub.start();
    vi.stubEnv('HF_ENDPOINT', endpoint);
    vi.stubEnv('HF_HUB_CACHE', join(folder, 'cache'));
    hub.repositories.set('me/tiny', {
      files: { 'config.json': '{}', 'model.safetensors': 'weights', 'tokenizer.json': '{}' },
    });
    hub.repositories.set('me/adapted', {
      files: {
        'adapter_config.json': '{"base_model_name_or_path":"me/tiny"}',
        'adapter_model.safetensors': 'weights',
      },
    });
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await hub.close();
  });
  const snapshot = (name: string) =>
    join(folder, `cache/models--${name.replace('/', '--')}/snapshots`, hub.commitOf(name));

  it('is a folder in the cache, with the name of its repository', async () => {
    const { base, tokenizer } = await findModel('me/tiny');
    expect([base, tokenizer]).toEqual([snapshot('me/tiny'), snapshot('me/tiny')]);
    expect(modelName(base)).toBe('tiny');
    expect(modelName('runs/quickstart')).toBe('quickstart');
  });

  it('may be an adapter whose base is on the Hub', async () => {
    const { base, adapter } = await findModel('hf://me/adapted');
    expect({ base, adapter }).toEqual({ base: snapshot('me/tiny'), adapter: snapshot('me/adapted') });
  });

  it('that does not exist is refused as folder and as name', async () => {
    await expect(findModel('runs/typo')).rejects.toThrow(
      `model runs/typo: no such folder, and on the Hub runs/typo: no model of this name at ${endpoint}`,
    );
    hub.repositories.delete('me/tiny');
    await expect(findModel('hf://me/adapted')).rejects.toThrow(
      /me--adapted\S+: the base model me\/tiny: no model/,
    );
  });
});
