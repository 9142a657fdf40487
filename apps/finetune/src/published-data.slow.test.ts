/** Runs the recipes on data in Alpaca's published layout, with a tiny model and short rows. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setFlags } from '@meap/test-support';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Workbench } from './testing.ts';

const recipes = join(import.meta.dirname, '../../../recipes/finetune');
// Each `-ntp` recipe is its twin with a mask ratio of 0, which recipes.test.ts checks: one of them is enough.
const names = readdirSync(recipes).filter(
  (name) => name.endsWith('.yaml') && !/(?<!^stories)-ntp\.yaml/.test(name),
);

const bench = new Workbench();
beforeAll(async () => {
  await bench.fill();
  // A pretty-printed array with optional inputs.
  const records = Array.from({ length: 40 }, (_, i) => ({
    instruction: `Say what the captain sees, number ${i}.`,
    input: i % 2 ? 'The harbour' : '',
    output: `The captain sees ${'a whale and '.repeat(1 + (i % 5))}the moon.`,
  }));
  bench.write('alpaca_data.json', JSON.stringify(records, null, 4));
});
afterAll(() => bench.dispose());

it.each(names)('%s trains', async (name) => {
  const sets = [
    `model.path=${bench.path('model')}`,
    `data.files=[${bench.path('alpaca_data.json')}]`,
    // The tiny tokenizer lacks the special tokens of the recipes' templates.
    'data.chat_template=alpaca',
    'precision=float32',
    'train.global_batch_size=2',
    'train.micro_batch_size=1',
    'train.max_steps=1',
    'train.max_length=96',
    'masking.threshold=5',
    'samples.max_new_tokens=4',
    'samples.count=1',
  ];
  const run = ['--config', join(recipes, name), ...setFlags(...sets)];
  const { code, stdout, stderr } = await bench.finetune(`run-${name}`, ...run);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toMatch(/step +1 of 1/);
});
