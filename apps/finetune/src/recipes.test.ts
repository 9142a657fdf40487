import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { configJsonSchema } from './config.ts';
import { loadConfig } from './resolve-config.ts';

const folder = join(import.meta.dirname, '../../../recipes/finetune');
const names = readdirSync(folder)
  .filter((name) => name.endsWith('.yaml'))
  .map((name) => name.slice(0, -'.yaml'.length));
const load = (name: string) =>
  loadConfig(join(folder, `${name}.yaml`), ['model.path=model', 'data.files=[a.json]']);

describe('recipes', () => {
  it.each(names)('%s is valid and names its schema', (name) => {
    expect(() => load(name)).not.toThrow();
    const [first] = readFileSync(join(folder, `${name}.yaml`), 'utf8').split('\n');
    expect(first).toBe('# yaml-language-server: $schema=./schema.json');
  });

  it.each(['llama-3-8b', 'llama-3.2-3b', 'qwen2.5-14b', 'mistral-7b-v0.2'])(
    '%s and its NTP twin have the paper’s hyperparameters and differ only in ratio and epochs',
    (model) => {
      const [meap, ntp] = [load(model), load(`${model}-ntp`)];
      expect(meap.train).toMatchObject({
        epochs: 2,
        global_batch_size: 512,
        max_length: 4096,
        learning_rate: 2e-5,
        warmup_ratio: 0.1,
        adam_beta1: 0.9,
        adam_beta2: 0.95,
        weight_decay: 0.01,
        max_grad_norm: 1,
      });
      expect(meap.masking).toMatchObject({
        ratio: 0.1,
        threshold: 50,
        threshold_unit: 'tokens',
        loss: 'union',
      });
      expect(ntp).toEqual({
        ...meap,
        masking: { ...meap.masking, ratio: 0 },
        train: { ...meap.train, epochs: 4 },
      });
    },
  );

  it('the recipes of Table 9 have 3 and 6 epochs', () => {
    expect([load('ablation-mask-ratio').train.epochs, load('ablation-mask-ratio-ntp').train.epochs]).toEqual([
      3, 6,
    ]);
  });

  it('schema.json equals the schema; `pnpm --dir apps/finetune run schema` writes it', () => {
    expect(JSON.parse(readFileSync(join(folder, 'schema.json'), 'utf8'))).toEqual(configJsonSchema());
  });
});
