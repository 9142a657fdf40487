import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Llama, loadLlama } from '@meap/llama-model';
import { hashFiles, readMetrics } from '@meap/recipe-cli';
import { setFlags } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { loadConfig } from '../load-config.ts';
import { corpus, readNpy, Workbench } from '../testing.ts';
import { pretrain } from '../training/run.ts';
import { writeHandoff } from './write-handoff.ts';

const bench = new Workbench();
const step = (run: string, number: number) => `${run}/checkpoints/step-0000000${number}`;
const indexOf = (out: string) => JSON.parse(readFileSync(bench.path(out, 'handoff.json'), 'utf8'));

/** Returns the rows of all shards of a part of a hand-off. */
function rowsOf(out: string, part: 'train' | 'validation', key: 'inputs' | 'targets'): number[][] {
  const { shards, sequence_length: length } = indexOf(out)[part];
  return shards.flatMap((shard: Record<string, { file: string }>) => {
    const { values, shape } = readNpy(bench.path(out, shard[key].file));
    return Array.from({ length: shape[0] }, (_, row) => values.slice(row * length, (row + 1) * length));
  });
}

/** Returns the mean loss of rows under the model of a folder. */
async function lossOf(folder: string, inputs: number[][], targets: number[][]): Promise<number> {
  const model = await loadLlama(folder);
  const { sum, count } = model.loss(
    tf.tensor2d(inputs, undefined, 'int32'),
    tf.tensor2d(targets, undefined, 'int32'),
  );
  const mean = sum.dataSync()[0] / count;
  model.dispose();
  return mean;
}

beforeAll(async () => {
  const { code } = await bench.pretrain('run', '--set', 'checkpoint.keep_every=2');
  expect(code).toBe(0);
});
afterAll(() => bench.dispose());

describe('a hand-off', () => {
  it('contains model, moments, rows, learning rates, scripts and an index with checksums', async () => {
    const { code, stdout, stderr } = await bench.handoff(step('run', 2), 'two');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('for steps 3 to 6');
    const files = hashFiles(bench.path('two'));
    const index = indexOf('two');
    const listed = [
      ...index.model.files,
      ...[...index.train.shards, ...index.validation.shards].flatMap(({ inputs, targets }) => [
        inputs,
        targets,
      ]),
      index.train.learning_rates,
      index.validation.bytes,
      index.optimizer,
    ];
    for (const { file, sha256 } of listed) expect(files[file], file).toBe(sha256);
    const others = ['README.md', 'check.py', 'handoff.json', 'handoff_rows.py', 'torchtitan_meap.py'];
    expect(Object.keys(files).sort()).toEqual([...listed.map(({ file }) => file), ...others].sort());

    const checkpoint = hashFiles(bench.path(step('run', 2)));
    expect(files['model/model.safetensors']).toBe(checkpoint['model.safetensors']);
    expect(files['optimizer.safetensors']).toBe(checkpoint['trainer/optimizer.safetensors']);
    expect(index).toMatchObject({
      step: 2,
      mask_token_id: 300,
      train: { first_step: 2, steps: 4, rows: 16, global_batch_size: 4, sequence_length: 16, dtype: '<u2' },
      validation: { rows: 5 },
      optimizer: { name: 'AdamW', step: 2, beta2: 0.95, weight_decay: 0.05, max_grad_norm: 1 },
    });
  });

  it('records the losses of the run itself', () => {
    const { expected, train } = indexOf('two');
    const { steps, validations } = readMetrics(bench.path('run'));
    const own = (n: number) => {
      const { step, loss, gradNorm, lr } = steps.find((metrics) => metrics.step === n)!;
      return { step, loss, grad_norm: gradNorm, learning_rate: lr, skipped: false };
    };
    expect(expected.steps).toEqual([own(3), own(4)]);
    const rates = readNpy(bench.path('two', train.learning_rates.file));
    expect(rates).toEqual({
      descr: '<f8',
      shape: [4],
      values: [3, 4, 5, 6].map((n) => own(n).learning_rate),
    });
    // The run validated at its last step too.
    expect(validations.at(-1)!.step).toBe(6);
  });

  it('contains the rows that the trainer feeds when the run is resumed', async () => {
    const fed: { inputs: number[][]; targets: number[][] } = { inputs: [], targets: [] };
    const original = Llama.prototype.loss;
    const spy = vi.spyOn(Llama.prototype, 'loss').mockImplementation(function (this: Llama, ...args) {
      const [inputs, targets, , training] = args;
      if (training) {
        fed.inputs.push(...(inputs.arraySync() as number[][]));
        fed.targets.push(...(targets.arraySync() as number[][]));
      }
      return original.apply(this, args);
    });
    try {
      const config = loadConfig(bench.recipe, [`data.cache_dir=${bench.path('cache')}`]);
      await pretrain(config, { out: bench.path('on'), resume: bench.path(step('run', 2)) });
    } finally {
      spy.mockRestore();
    }
    expect(fed.inputs).toHaveLength(16);
    expect(rowsOf('two', 'train', 'inputs')).toEqual(fed.inputs);
    expect(rowsOf('two', 'train', 'targets')).toEqual(fed.targets);
  });

  it('records losses that its files reproduce', async () => {
    const { expected, validation } = indexOf('two');
    const model = bench.path('two/model');
    const inputs = rowsOf('two', 'train', 'inputs');
    const first = await lossOf(model, inputs.slice(0, 4), rowsOf('two', 'train', 'targets').slice(0, 4));
    expect(first).toBeCloseTo(expected.steps[0].loss, 5);
    expect(inputs.flat().filter((id) => id === 300)).toHaveLength(indexOf('two').train.masked_tokens);
    const targets = rowsOf('two', 'validation', 'targets');
    const loss = await lossOf(model, rowsOf('two', 'validation', 'inputs'), targets);
    expect(loss).toBeCloseTo(expected.validation.loss, 5);
    const bytes = readNpy(bench.path('two', validation.bytes.file)).values.reduce((sum, n) => sum + n);
    const bits = (loss * targets.flat().length) / Math.LN2 / bytes;
    expect(bits).toBeCloseTo(expected.validation.bits_per_byte, 5);
  });

  it('of a finished run contains the next rows, in as many epochs as needed', async () => {
    const { code, stdout } = await bench.handoff('run', 'further', '--check-steps', '0', '--json');
    expect(code).toBe(0);
    const written = JSON.parse(stdout.trimEnd().split('\n').at(-1)!);
    expect(written).toMatchObject({
      type: 'written',
      firstStep: 6,
      steps: 100,
      rows: 400,
      expected: { steps: [] },
    });
    const { rows_per_epoch } = indexOf('further').train;
    expect(written.passes).toBe(Math.ceil(424 / rows_per_epoch));
    expect(written.passes).toBeGreaterThan(1);
    // The same rows as in the longer hand-off.
    await bench.handoff('run', 'short', '--steps', '1', '--check-steps', '9');
    expect(rowsOf('short', 'train', 'inputs')).toEqual(rowsOf('further', 'train', 'inputs').slice(0, 4));
    expect(indexOf('short').expected.steps).toHaveLength(1);
  });

  it('of a bfloat16 run records float32 losses', async () => {
    await bench.pretrain('bfloat16', '--set', 'precision=bfloat16', '--set', 'train.max_steps=2');
    expect((await bench.handoff('bfloat16', 'bfloat16-out', '--steps', '2')).code).toBe(0);
    const { expected } = indexOf('bfloat16-out');
    const rows = (key: 'inputs' | 'targets') => rowsOf('bfloat16-out', 'train', key).slice(0, 4);
    expect(await lossOf(bench.path('bfloat16-out/model'), rows('inputs'), rows('targets'))).toBeCloseTo(
      expected.steps[0].loss,
      5,
    );
  });

  it('splits rows into files of the given size', async () => {
    const out = bench.path('cut');
    await writeHandoff({ run: bench.path(step('run', 2)), out, steps: 4, checkSteps: 0, shardBytes: 3 * 32 });
    const { shards } = indexOf('cut').train;
    expect(shards.map(({ rows }: { rows: number }) => rows)).toEqual([3, 3, 3, 3, 3, 1]);
    expect(rowsOf('cut', 'train', 'inputs')).toEqual(rowsOf('two', 'train', 'inputs'));
  });

  it('leaves no files when stopped at any point, and replaces those of a killed process', async () => {
    const run = bench.path(step('run', 2));
    for (const at of ['data', 'measuring', 'rows']) {
      const controller = new AbortController();
      const summary = await writeHandoff({
        run,
        out: bench.path('stopped'),
        checkSteps: 1,
        signal: controller.signal,
        onEvent: ({ type }) => {
          if (type === at || (at === 'data' && type === 'backend')) controller.abort('SIGINT');
        },
      });
      expect(summary, at).toBeUndefined();
      expect(readdirSync(bench.directory).filter((name) => name.includes('stopped'))).toEqual([]);
    }
    mkdirSync(bench.path('.stopped.partial/train'), { recursive: true });
    writeFileSync(bench.path('.stopped.partial/train/inputs-00000.npy'), 'partial');
    await writeHandoff({ run, out: bench.path('stopped'), checkSteps: 0 });
    expect(rowsOf('stopped', 'train', 'inputs')).toEqual(rowsOf('two', 'train', 'inputs'));
    expect(existsSync(bench.path('stopped/run.lock'))).toBe(false);
  });

  it('leaks no tensors', async () => {
    const before = tf.memory().numTensors;
    await bench.handoff('run', 'leak', '--steps', '1', '--check-steps', '1');
    expect(tf.memory().numTensors).toBe(before);
  });
});

it('docs/handoff.md quotes its scripts', () => {
  const page = readFileSync(join(import.meta.dirname, '../../../../docs/handoff.md'), 'utf8');
  const code = [...page.matchAll(/```python\n(.*?)```/gs)].map(([, text]) => text);
  const script = (name: string) => readFileSync(join(import.meta.dirname, '../../handoff', name), 'utf8');
  expect(code).toEqual(['check.py', 'handoff_rows.py'].map(script));
});

describe('a refused hand-off', () => {
  async function expectRefused(run: string, message: RegExp, ...more: string[]) {
    const { code, stderr } = await bench.handoff(run, 'refused', ...more);
    expect(stderr.split('\n').at(-2)).toMatch(message);
    expect(code).not.toBe(0);
    expect(readdirSync(bench.directory).filter((name) => name.includes('refused'))).toEqual([]);
  }

  it('names what is missing in one line', async () => {
    await expectRefused(
      'nowhere',
      /^meap-handoff: --run \S+nowhere: no such folder, expected a run of meap-pretrain$/,
    );
    mkdirSync(bench.path('none'));
    await expectRefused('none', /--run \S+none: no config\.yaml in \S+none, expected a run/);
    cpSync(bench.path('run/config.yaml'), bench.path('none/config.yaml'));
    await expectRefused('none', /--run \S+none: got no checkpoint, expected at least one; continue the run/);
    await expectRefused(
      'run',
      /argument '0' is invalid.*got 0, expected a whole number from 1/,
      '--steps',
      '0',
    );
    await expectRefused('run', /got 1\.5, expected a whole number from 0/, '--check-steps', '1.5');
  });

  it('names dropout, optimizer and z-loss that other programs lack', async () => {
    await bench.pretrain('dropped', ...setFlags('train.dropout=0.1', 'train.max_steps=2'));
    await expectRefused('dropped', /--run \S+dropped: got a run with train\.dropout 0\.1, expected none: /);
    cpSync(bench.path('run'), bench.path('other'), { recursive: true });
    const recipe = bench.path('other', 'config.yaml');
    const written = readFileSync(recipe, 'utf8');
    writeFileSync(recipe, written.replace('optim: adamw', 'optim: muon'));
    await expectRefused('other', /got a run with train\.optim muon, expected adamw: /);
    writeFileSync(recipe, written.replace('z_loss: 0', 'z_loss: 0.1'));
    await expectRefused('other', /got a run with train\.z_loss 0\.1, expected 0: /);
  });

  it('names a damaged checkpoint', async () => {
    cpSync(bench.path('run'), bench.path('damaged'), { recursive: true });
    writeFileSync(bench.path(step('damaged', 2), 'model.safetensors'), 'x');
    await expectRefused(step('damaged', 2), /checkpoint \S+ is damaged: model\.safetensors has SHA-256/);
  });

  it('overwrites nothing', async () => {
    const before = hashFiles(bench.path('two'));
    const { code, stderr } = await bench.handoff('run', 'two');
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^meap-handoff: --out \S+two: the folder is not empty, expected a missing or empty one; /,
    );
    expect(hashFiles(bench.path('two'))).toEqual(before);
    writeFileSync(bench.path('file'), '');
    expect((await bench.handoff('run', 'file')).stderr).toMatch(/--out \S+file: cannot be used: ENOTDIR/);
    expect((await bench.handoff('run', 'file/below')).stderr).toMatch(/cannot be used: (ENOTDIR|EEXIST)/);
  });

  it('names the free disk space where it is too little', async () => {
    await expectRefused(
      'run',
      /--out: got a hand-off of [\d.]+ .iB, expected at most the [\d.]+ \S+ free on the disk; use fewer/,
      '--steps',
      '1000000000000',
    );
  });

  it('names data that were moved or changed', async () => {
    const own = new Workbench();
    try {
      await own.pretrain('run');
      own.write('corpus.txt', corpus(400).replace('whale', 'Whale'));
      const changed = await own.handoff('run', 'out');
      expect(changed.stdout).toMatch(/data changed since the run: \S+corpus\.txt: [\d,]+ bytes → /);
      expect(changed.stderr).toMatch(
        /^meap-handoff: resume: (data|model|\w+) differs from the run of [^\n]+\n$/,
      );
      rmSync(own.path('corpus.txt'));
      const moved = await own.handoff('run', 'out');
      expect(moved.stderr).toMatch(/^meap-handoff: [^\n]*no such file \S+corpus\.txt[^\n]*\n$/);
      expect(readdirSync(own.directory).filter((name) => name.includes('out'))).toEqual([]);
    } finally {
      own.dispose();
    }
  });

  it('names masking that differs from that of the run', async () => {
    cpSync(bench.path('run'), bench.path('edited'), { recursive: true });
    const recipe = join(bench.path('edited'), 'config.yaml');
    writeFileSync(recipe, readFileSync(recipe, 'utf8').replace('ratio: 0.15', 'ratio: 0.2'));
    await expectRefused('edited', /resume: masking differs from the run of/);
  });
});
