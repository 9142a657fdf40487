import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { countParameters } from '@meap/llama-model';
import { changedKeys, configuredSchedule, EXIT } from '@meap/recipe-cli';
import { describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { loadConfig } from './load-config.ts';
import { modelConfig } from './training/model.ts';

const folder = join(import.meta.dirname, '../../../recipes/pretrain');
const names = readdirSync(folder)
  .filter((name) => name.endsWith('.yaml'))
  .map((name) => name.slice(0, -'.yaml'.length));
const load = (name: string) => loadConfig(join(folder, `${name}.yaml`));
const twins = names.filter((name) => name.endsWith('-ntp'));

describe('recipes', () => {
  // `paper` is the base of the others and has neither shape nor steps.
  it.each(names.filter((name) => name !== 'paper'))('%s is valid and names its schema', (name) => {
    expect(() => load(name)).not.toThrow();
    const [first] = readFileSync(join(folder, `${name}.yaml`), 'utf8').split('\n');
    expect(first).toBe('# yaml-language-server: $schema=./schema.json');
  });

  // MEAP.md §1: parameters in millions with 32064 rows, steps, tokens in billions.
  it.each([
    ['100m', 122.4, 1907, 2],
    ['300m', 324.1, 4768, 5],
    ['500m', 481.0, 10_000, 10.5],
    ['1.1b-20k-steps', 1176, 20_000, 21],
    ['1.1b-40k-steps', 1176, 40_000, 42],
    ['1.1b-60k-steps', 1176, 60_000, 63],
    ['1.1b-190k-steps', 1176, 190_000, 199],
  ])('%s is the paper’s', (name, millions, steps, billions) => {
    const config = load(name);
    const { train, masking, precision } = config;
    const parameters = countParameters(modelConfig(config, { vocabSize: 32_001 }));
    expect(parameters / 1e6).toBeCloseTo(millions, millions < 1000 ? 1 : -1);
    expect(train.max_steps).toBe(steps);
    expect((steps * train.global_batch_size * train.sequence_length) / 1e9).toBeCloseTo(billions, 0);
    expect(train).toMatchObject({ global_batch_size: 256, sequence_length: 4096, weight_decay: 0.05 });
    expect(train).toMatchObject({ learning_rate: 4e-4, min_learning_rate: 4e-5, warmup_ratio: 0.1 });
    expect(train).toMatchObject({ adam_beta1: 0.9, adam_beta2: 0.95, adam_epsilon: 1e-8, max_grad_norm: 1 });
    expect(masking).toMatchObject({ strategy: 'per-sequence', ratio: 0.15 });
    expect(precision).toBe('bfloat16');
  });

  it('extend-64k is the paper’s extension, with and without masks', () => {
    const config = load('extend-64k');
    const { train, data, extension } = config;
    expect((train.max_steps * train.global_batch_size * train.sequence_length) / 1e9).toBeCloseTo(4, 1);
    expect(train).toMatchObject({ sequence_length: 65_536, recompute: true });
    expect(extension).toEqual({ context_length: 65_536, method: 'theta', rope_theta: 640_000 });
    expect(data.long_documents).toEqual({ min_tokens: 4096, keep_shorter: 0.1 });
    const shares = Object.values(data.sources!).map(({ share }) => share);
    expect(shares).toEqual([0.53375, 0.2661, 0.05005, 0.0429, 0.04148, 0.03402, 0.0317]);
    expect(shares.reduce((sum, share) => sum + share)).toBeCloseTo(1, 9);
    expect(changedKeys(config, load('extend-64k-ntp'))).toEqual(['masking.ratio: 0.15 → 0']);
  });

  it('has the learning rates of the authors’ code', () => {
    const long = load('1.1b-190k-steps').train;
    const { lr_scheduler_type } = load('reference').train;
    const reference = configuredSchedule({ ...long, lr_scheduler_type }, long.max_steps);
    expect(reference(0)).toBeCloseTo(2.0395e-8, 12);
    expect(reference(100_000)).toBeCloseTo(2.34861e-4, 9);
    // The cosine schedule differs by less than one warm-up step, and does not depend on the micro-batch size.
    const schedule = configuredSchedule(long, long.max_steps);
    const other = configuredSchedule({ ...long, micro_batch_size: 1 }, long.max_steps);
    for (const step of [0, 1, 9_500, 18_999, 19_000, 100_000, 189_999]) {
      expect(Math.abs(schedule(step) - reference(step))).toBeLessThan(4e-4 / 19_000);
      expect(other(step)).toBe(schedule(step));
    }
  });

  it('has an NTP twin for each run of the paper', () => {
    const runs = names.filter((name) => /^(quickstart|extend-64k|\d+m|1\.1b-\d+k-steps)$/.test(name));
    expect(runs).toHaveLength(9);
    expect(twins).toEqual(runs.map((name) => `${name}-ntp`));
  });

  it.each(twins)('%s differs from its MEAP twin only in the ratio', (name) => {
    const meap = name.slice(0, -'-ntp'.length);
    expect(changedKeys(load(meap), load(name))).toEqual(['masking.ratio: 0.15 → 0']);
  });

  it.each([
    ['ablation-mask-ratio-0.05', ['masking.ratio: 0.15 → 0.05']],
    ['ablation-mask-ratio-0.10', ['masking.ratio: 0.15 → 0.1']],
    ['ablation-mask-ratio-0.20', ['masking.ratio: 0.15 → 0.2']],
    [
      'reference',
      ['masking.strategy: "per-sequence" → "reference"', 'train.lr_scheduler_type: "cosine" → "reference"'],
    ],
    ['ablation-bernoulli', ['masking.strategy: "per-sequence" → "bernoulli"']],
    ['ablation-span-5', ['masking.strategy: "per-sequence" → "span"', 'masking.span_length: nothing → 5']],
    ['ablation-span-50', ['masking.strategy: "per-sequence" → "span"', 'masking.span_length: nothing → 50']],
  ])('%s differs from the 300M recipe only in this', (name, changes) => {
    expect(changedKeys(load('300m'), load(name))).toEqual(changes);
  });
});

describe('recipes/cluster', () => {
  const read = (name: string) => readFileSync(join(folder, '../cluster', name), 'utf8');
  /** Returns the overrides in a command line. */
  const overridesIn = (args: readonly string[]) => args.filter((_, i) => args[i - 1] === '--set');

  it('mpijob.yaml starts one rank per slot of its workers, with valid flags', () => {
    const { apiVersion, kind, spec } = parse(read('mpijob.yaml'));
    expect([apiVersion, kind]).toEqual(['kubeflow.org/v2beta1', 'MPIJob']);
    const { Launcher, Worker } = spec.mpiReplicaSpecs;
    const [{ command }] = Launcher.template.spec.containers;
    expect(command[command.indexOf('-n') + 1]).toBe(String(spec.slotsPerWorker * Worker.replicas));
    const overrides = overridesIn(command);
    expect(overrides).toHaveLength(2);
    expect(loadConfig(join(folder, 'quickstart.yaml'), overrides)).toMatchObject({
      data: { cache_dir: '/data/cache' },
      distributed: { zero_stage: 2 },
    });
    const [volume] = Worker.template.spec.volumes;
    expect(Worker.template.spec.containers[0].volumeMounts).toEqual([
      { name: volume.name, mountPath: '/data' },
    ]);
  });

  it('pretrain.sbatch is a shell script with valid flags', () => {
    const script = read('pretrain.sbatch');
    execFileSync('bash', ['-n', join(folder, '../cluster/pretrain.sbatch')]);
    const overrides = overridesIn(script.split(/\s+/));
    expect(overrides).toEqual(['distributed.zero_stage=2']);
    expect(() => loadConfig(join(folder, 'quickstart.yaml'), overrides)).not.toThrow();
  });

  // Stubs of Slurm's programs; the code is the exit code of the ranks.
  it.each([
    ['some ranks were killed while they ended', true, 143, 'requeue 7'],
    ['all ranks stopped', true, EXIT.SIGUSR2, 'requeue 7'],
    ['the run had just finished', true, 0, ''],
    ['a rank failed', false, 1, ''],
  ])('pretrain.sbatch, %s: time is up %s, code %i', async (_, isTimeUp, code, asked) => {
    const directory = mkdtempSync(join(tmpdir(), 'meap-sbatch-'));
    const stub = (name: string, body: string) => {
      writeFileSync(join(directory, name), `#!/bin/bash\n${body}\n`, { mode: 0o755 });
    };
    const until = isTimeUp ? 'until [ -e stop ]; do sleep .05; done; ' : '';
    stub('srun', `echo "$@" > started; ${until}exit ${code}`);
    stub('scancel', 'echo "$@" > stop');
    stub('scontrol', 'echo "$@" > asked');
    try {
      const env = { ...process.env, PATH: `${directory}:${process.env.PATH}` };
      const job = spawn('bash', [join(folder, '../cluster/pretrain.sbatch'), 'recipe.yaml', 'runs/mine'], {
        cwd: directory,
        env: { ...env, SLURM_JOB_ID: '7', SLURM_CPUS_PER_TASK: '2' },
      });
      const ended = once(job, 'exit');
      await vi.waitUntil(() => existsSync(join(directory, 'started')), 10_000);
      if (isTimeUp) job.kill('SIGUSR2');
      expect(await ended).toEqual([code, null]);
      const read = (name: string) => {
        return existsSync(join(directory, name)) ? readFileSync(join(directory, name), 'utf8').trim() : '';
      };
      expect(read('started')).toContain('meap-pretrain --config recipe.yaml --out runs/mine --resume auto');
      expect([read('stop'), read('asked')]).toEqual([isTimeUp ? '--signal=USR2 7' : '', asked]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
