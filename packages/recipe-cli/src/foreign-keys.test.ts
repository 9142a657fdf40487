import { describe, expect, it } from 'vitest';
import { equivalentOf } from './foreign-keys.ts';

const everywhere = () => true;
const hint = (
  key: string,
  given: unknown,
  train: object = {},
  hasKey: (path: string) => boolean = everywhere,
) => equivalentOf(key, given, { train: { ...train, [key]: given } }, hasKey);

describe('equivalentOf', () => {
  it.each([
    [
      'gradient_accumulation_steps',
      8,
      { micro_batch_size: 4 },
      'write train.global_batch_size: 32 (rows of a step on all devices: ',
    ],
    [
      'gradient_accumulation_steps',
      8,
      { micro_batch_size: 4, per_device_train_batch_size: 2 },
      'write train.global_batch_size: 16 (',
    ],
    ['gradient_accumulation_steps', 8, {}, 'write train.global_batch_size (rows of a step'],
    ['per_device_train_batch_size', 4, {}, 'write train.micro_batch_size: 4 (rows per forward pass'],
    ['num_train_epochs', 3, {}, 'write train.epochs: 3'],
    ['warmup_steps', 100, { max_steps: 2000 }, 'write train.warmup_ratio: 0.05 (a share of the steps)'],
    ['num_warmup_steps', 100, {}, 'write train.warmup_ratio (a share of the steps)'],
    ['warmup_steps', 100, { max_steps: 10 }, 'write train.warmup_ratio (a share of the steps)'],
    ['num_decay_steps', 400, { max_steps: 2000 }, 'write train.decay_ratio: 0.2 (a share of the steps)'],
    ['min_lr_ratio', 0.1, { learning_rate: 3e-4 }, 'write train.min_learning_rate: 0.00003 ('],
    [
      'lr_scheduler',
      'cosine_with_restarts',
      {},
      'write train.lr_scheduler_type (cosine, linear, constant or warmup_stable_decay)',
    ],
    ['dropout', 0.1, {}, 'write train.dropout: 0.1'],
    ['bf16', true, {}, 'write precision: bfloat16'],
    ['bf16', 'auto', {}, 'write precision'],
    ['gradient_checkpointing', true, {}, 'write train.recompute: true'],
    ['dataset', 'rows.jsonl', {}, 'write data.files: ["rows.jsonl"]'],
    ['lora_target', 'all', {}, 'write lora.target_modules: all-linear'],
    ['use_peft', true, {}, 'write lora (the section enable'],
    ['peft_use_dora', true, {}, 'write lora.use_dora: true'],
    ['loraplus_lr_ratio', 16, {}, 'write lora.loraplus_lr_ratio: 16'],
    ['output_dir', 'out', {}, 'use the flag --out DIR'],
    ['optim', 'adamw_torch', {}, 'write train.optim: adamw (adamw or muon; '],
    ['optimizer', { type: 'Muon' }, {}, 'write train.optim: muon ('],
  ])('%s: %j beside %j', (key, given, train, expected) => {
    expect(hint(key, given, train)?.slice(0, expected.length)).toBe(expected);
  });

  it('is a key that the program has', () => {
    const pretraining = (path: string) => path !== 'train.epochs';
    expect(hint('num_train_epochs', 3, {}, pretraining)).toBe(
      'write train.max_steps (epochs × tokens / (global_batch_size × sequence_length))',
    );
    expect(hint('max_seq_length', 512, {}, (path) => path === 'train.sequence_length')).toBe(
      'write train.sequence_length: 512',
    );
    expect(hint('optim', 'sgd', {}, () => false)).toBeUndefined();
  });

  it('is none for a name that nobody has, inherited names of objects among them', () => {
    expect(['max_stps', 'constructor', '__proto__'].map((key) => hint(key, 1))).toEqual(
      Array(3).fill(undefined),
    );
  });
});
