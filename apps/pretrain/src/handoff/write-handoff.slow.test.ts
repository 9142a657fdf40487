import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { setFlags } from '@meap/test-support';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { tinyRecipe, Workbench } from '../testing.ts';

// A Python with torch, transformers and safetensors: MEAP_PYTHON=/path/to/python.
const python = process.env.MEAP_PYTHON;
const bench = new Workbench();
afterAll(() => bench.dispose());

/** Runs the `check.py` of a hand-off. */
async function check(out: string): Promise<{ code: number; stdout: string; stderr: string }> {
  try {
    const env = { ...process.env, HF_HUB_OFFLINE: '1', TRANSFORMERS_OFFLINE: '1' };
    const { stdout, stderr } = await promisify(execFile)(python!, [bench.path(out, 'check.py')], { env });
    return { code: 0, stdout, stderr };
  } catch (error) {
    return error as { code: number; stdout: string; stderr: string };
  }
}

/** Runs all steps of a hand-off; prints the distance to given weights, relative to the distance covered. */
const WEIGHTS = `
import sys
sys.path.insert(0, sys.argv[1])
import torch, check
from safetensors.torch import load_file
folder = check.Path(sys.argv[1])
index = check.read_index(folder)
model = check.AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
optimizer = check.load_optimizer(folder, model, index["optimizer"])
ours, begun = load_file(sys.argv[2]), {name: p.detach().clone() for name, p in model.named_parameters()}
first = index["train"]["first_step"]
for step in range(first, first + index["train"]["steps"]):
    check.train_step(model, optimizer, folder, index, step)
length = lambda tensors: sum(t.double().square().sum().item() for t in tensors) ** 0.5
own = dict(model.named_parameters())
print(length(own[n].detach() - w for n, w in ours.items()) / length(w - begun[n] for n, w in ours.items()))
`;

describe.skipIf(!python)('a hand-off in PyTorch (MEAP_PYTHON)', () => {
  beforeAll(async () => {
    await bench.pretrain('run');
    await bench.handoff('run', 'out', '--steps', '4', '--check-steps', '3');
  });

  it('reproduces the losses of every step and validation', async () => {
    const { code, stdout, stderr } = await check('out');
    expect(stdout, stderr).toMatch(/all checks passed\n$/);
    expect(code).toBe(0);
    expect(stdout.match(/^ok /gm)).toHaveLength(3 + 2 + 2 * 3 + 2);
  });

  it.each([
    ['a tied head', { model: { ...tinyRecipe.model, tie_word_embeddings: true } }, []],
    [
      'grouped queries and spans',
      { model: { ...tinyRecipe.model, num_key_value_heads: 1 } },
      ['masking.strategy=span', 'masking.span_length=3'],
    ],
    ['a bfloat16 run', {}, ['precision=bfloat16']],
    [
      'a context extended with YaRN',
      { model: { from: bench.path('run') }, tokenizer: {} },
      ['extension.method=yarn', 'extension.context_length=64', 'train.sequence_length=64'],
    ],
  ])('reproduces the losses of %s', async (name, changes, sets) => {
    const folder = name.replaceAll(/\W+/g, '-');
    bench.recipe = bench.write('other.yaml', stringify({ ...tinyRecipe, ...changes }));
    const trained = await bench.pretrain(folder, ...setFlags(...sets));
    expect(trained.stderr).toBe('');
    await bench.handoff(folder, `${folder}-out`, '--steps', '2');
    const { code, stdout, stderr } = await check(`${folder}-out`);
    expect(stdout, stderr).toMatch(/all checks passed\n$/);
    expect(code).toBe(0);
  });

  it('reaches the weights of our next checkpoint in four steps', async () => {
    bench.recipe = bench.path('tiny.yaml');
    await bench.pretrain('long', '--set', 'checkpoint.keep_every=2');
    await bench.handoff('long/checkpoints/step-00000002', 'four');
    const { stdout } = await promisify(execFile)(python!, [
      '-c',
      WEIGHTS,
      bench.path('four'),
      bench.path('long/checkpoints/step-00000006/model.safetensors'),
    ]);
    // Relative to the sum of the four updates.
    expect(Number(stdout)).toBeLessThan(1e-3);
  });

  it('fails for a changed row, optimizer step or recorded loss', async () => {
    const rows = bench.path('out/train/inputs-00000.npy');
    const bytes = readFileSync(rows);
    writeFileSync(
      rows,
      bytes.map((byte, i) => (i === bytes.length - 2 ? byte ^ 1 : byte)),
    );
    const damaged = await check('out');
    expect(damaged.code).toBe(1);
    expect(damaged.stdout).toMatch(/^FAIL {2}files {20}\d+ checked, damaged: train\/inputs-00000\.npy\n$/);
    writeFileSync(rows, bytes);

    const path = bench.path('out/handoff.json');
    const index = readFileSync(path, 'utf8');
    const edited = JSON.parse(index);
    edited.optimizer.step += 100;
    edited.expected.validation.loss += 0.001;
    writeFileSync(path, JSON.stringify(edited));
    const { code, stdout } = await check('out');
    expect(code).toBe(1);
    expect(stdout).toMatch(/^FAIL {2}validation loss/m);
    expect(stdout).toMatch(/^ok {4}step 7 loss/m);
    // The bias correction of the first update differed.
    expect(stdout).toMatch(/^FAIL {2}step 8 loss/m);
    writeFileSync(path, index);
  });
});
