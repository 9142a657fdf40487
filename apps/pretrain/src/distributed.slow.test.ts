/**
 * The built command on ranks started by mpirun: compared with one process, killed, hung, stopped by signals. Then runs over
 * meshes of four devices of XLA's CPU plugin, compared with one device and with theory.
 */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parameterShapes, readLlamaConfig } from '@meap/llama-model';
import { type Executable, findPlugin, type HloModule } from '@meap/pjrt';
import { captureOutput, hashFiles, readExactMetrics, readJsonLines } from '@meap/recipe-cli';
import { readSafetensors } from '@meap/safetensors';
import { setBackend } from '@meap/tensor-kernels';
import {
  compileQuickly,
  expectClose,
  mpirunFlags,
  type RunningRanks,
  setFlags,
  startRanks,
} from '@meap/test-support';
import { type StepMetrics, stepDirectory } from '@meap/trainer';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { pretrainCommand } from './command.ts';
import { Workbench } from './testing.ts';

const cli = join(import.meta.dirname, '../dist/cli.js');
const hasMpi = mpirunFlags() !== undefined;
if (!hasMpi) console.warn('ranks are not tested: no MPI (tried mpirun, mpicxx)');
compileQuickly();
const missing = await setBackend('xla').then(
  () => undefined,
  (error: Error) => error.message,
);
const tpu = await findPlugin('tpu').catch(() => undefined);
if (!tpu) console.warn('steps are not planned for TPUs: install the plugin with npx meap-pjrt install tpu');
if (missing) console.warn(`meshes are not tested: ${missing}`);
const isOpenMpi = hasMpi && mpirunFlags()!.length > 0;

const bench = new Workbench();
const STEPS = 24;
const argv = (out: string, ...more: string[]) => [
  ...['--config', bench.recipe, '--out', bench.path(out), '--set', `data.cache_dir=${bench.path('cache')}`],
  ...setFlags(`train.max_steps=${STEPS}`, 'train.global_batch_size=8'),
  ...setFlags('model.hidden_size=64', 'checkpoint.every=4', 'checkpoint.keep_last=9'),
  ...more,
];
const start = (size: number, out: string, ...more: string[]) =>
  startRanks(size, [cli, ...argv(out, ...more)]);

async function finish(size: number, out: string, ...more: string[]) {
  const ranks = start(size, out, ...more);
  expect(await ranks.ended, ranks.output.stderr).toBe(0);
  return ranks.output;
}

/** Runs the same in this process, without MPI. */
async function alone(out: string, ...more: string[]) {
  const outcome = await captureOutput((io) => pretrainCommand(argv(out, ...more), io));
  expect(outcome.code, outcome.stderr).toBe(0);
}

afterAll(() => bench.dispose());
afterEach(() => {
  vi.unstubAllEnvs();
});

const last = (out: string) => bench.path(out, `checkpoints/step-000000${STEPS}`);
const exact = (out: string) => ({
  files: hashFiles(last(out)),
  metrics: readExactMetrics(bench.path(out)),
  samples: readFileSync(bench.path(out, 'samples.jsonl'), 'utf8'),
});

async function numbersOf(path: string): Promise<Map<string, Float32Array>> {
  const { tensors } = await readSafetensors(path);
  return new Map([...tensors].map(([name, { data }]) => [name, new Float32Array(data.slice().buffer)]));
}

/** Returns the largest difference between two files of tensors with the same names. */
async function distance(a: string, b: string): Promise<number> {
  const [left, right] = [await numbersOf(a), await numbersOf(b)];
  expect([...left.keys()].sort()).toEqual([...right.keys()].sort());
  let max = 0;
  for (const [name, values] of left) {
    values.forEach((value, i) => {
      max = Math.max(max, Math.abs(value - right.get(name)![i]));
    });
  }
  return max;
}

/** Float32 sums in another order diverge over 24 steps at a high learning rate. */
const TOLERANCE = 2e-4;

/** Seconds that a rank waits for the others. */
const TIMEOUT = 3;
const pair = ['--set', 'train.micro_batch_size=2', '--set', `distributed.timeout_seconds=${TIMEOUT}`];

const numCheckpoints = (out: string) => {
  const folder = bench.path(out, 'checkpoints');
  return existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith('step-')).length : 0;
};

/** Starts ranks, calls `act` after their next checkpoint and waits for their end. */
async function interrupt(size: number, out: string, act: (ranks: RunningRanks) => void, ...more: string[]) {
  const before = numCheckpoints(out);
  const ranks = start(size, out, ...more);
  await ranks.until(() => numCheckpoints(out) > before);
  act(ranks);
  const code = await ranks.ended;
  expect(existsSync(last(out)), 'the run ended before it was interrupted').toBe(false);
  return { code, stderr: ranks.output.stderr };
}

beforeAll(async () => {
  if (hasMpi) await alone('alone', '--set', 'train.micro_batch_size=2');
});

describe.skipIf(!hasMpi)('meap-pretrain on ranks', () => {
  let two: RunningRanks['output'];
  beforeAll(async () => {
    two = await finish(2, '2-0', ...pair);
  });

  it.each([
    [2, 0, '2'],
    // ZeRO 1 is tested with threads as ranks, in the trainer. Without a size of micro-batches, ranks share a step equally.
    [4, 2, 'null'],
  ])(
    '%i ranks with ZeRO %i and micro-batches of %s match the weights and files of one process',
    async (size, stage, microBatch) => {
      const out = `${size}-${stage}`;
      const keys = [`train.micro_batch_size=${microBatch}`, `distributed.zero_stage=${stage}`];
      const { stdout } = out === '2-0' ? two : await finish(size, out, ...setFlags(...keys));
      expect(stdout.match(/^model /gm)).toHaveLength(1);
      const [whole, shared] = [readExactMetrics(bench.path('alone')), readExactMetrics(bench.path(out))];
      expect(shared).toHaveLength(whole.length);
      for (const [i, line] of shared.entries()) {
        const { loss = 0, valLoss = 0, gradNorm, bitsPerByte, ...same } = line;
        expect(Math.abs((loss ?? 0) - (whole[i].loss ?? 0))).toBeLessThan(TOLERANCE);
        expect(Math.abs(valLoss - (whole[i].valLoss ?? 0))).toBeLessThan(TOLERANCE);
        // Step, tokens and learning rate are identical.
        expect(whole[i]).toMatchObject(same);
      }
      expect(Object.keys(hashFiles(last(out)))).toEqual(Object.keys(hashFiles(last('alone'))));
      const tensors = ['model.safetensors', 'trainer/optimizer.safetensors'];
      for (const file of tensors) {
        expect(await distance(join(last(out), file), join(last('alone'), file))).toBeLessThan(TOLERANCE);
      }
      expect(readdirSync(bench.path(out)).sort()).toEqual(
        readdirSync(bench.path('alone'))
          .map((name) => name.replace(/^events.*/, 'events'))
          .sort()
          .map((name) => (name === 'events' ? expect.stringMatching(/^events/) : name)),
      );
    },
  );

  it('resume a killed run as more ranks, and as one', async () => {
    const out = 'other-numbers';
    const zero = ['--set', 'train.micro_batch_size=2', '--set', 'distributed.zero_stage=2'];
    const kill = ({ child, pids }: RunningRanks) => {
      const ranks = pids();
      child.kill('SIGKILL');
      for (const pid of ranks) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It ended with its launcher.
        }
      }
    };
    for (const size of [2, 4]) await interrupt(size, out, kill, ...zero);
    const { stdout } = await finish(1, out, ...zero);
    expect(stdout).toMatch(/^resume {7}at step (8|12|16|20)/m);
    const file = 'model.safetensors';
    expect(await distance(join(last(out), file), join(last('alone'), file))).toBeLessThan(TOLERANCE);
    expect(readExactMetrics(bench.path(out)).at(-1)?.tokens).toBe(
      readExactMetrics(bench.path('alone')).at(-1)?.tokens,
    );
  });

  it('refuse a step that they cannot share, with a one-line error', async () => {
    const ranks = start(3, 'refused');
    expect(await ranks.ended).toBe(2);
    const line =
      'meap-pretrain: train.global_batch_size: got 8, expected a multiple of 3, the number of ranks';
    const lines = ranks.output.stderr.match(/^.*meap-pretrain: .*$/gm);
    expect(lines).toContain(line);
    // Ranks that the launcher did not end before they gave up say the same.
    for (const other of lines!.filter((text) => text !== line)) expect(other).toMatch(/^rank [12]: /);
  });

  describe.skipIf(process.platform !== 'linux')('of which one fails', () => {
    it('killed, or hung: all ranks end, the launcher fails, and the resumed run gives the same bytes', async () => {
      const out = 'failed';
      const killed = await interrupt(2, out, ({ pids }) => process.kill(pids()[0], 'SIGKILL'), ...pair);
      expect(killed.code).not.toBe(0);
      let stopped = Number.POSITIVE_INFINITY;
      const { code, stderr } = await interrupt(
        2,
        out,
        ({ pids }) => {
          process.kill(pids()[0], 'SIGSTOP');
          stopped = performance.now();
        },
        ...pair,
      );
      expect(code).not.toBe(0);
      // The timeout, the grace period for rank 0, and the time of the launcher.
      expect((performance.now() - stopped) / 1000).toBeLessThan(30);
      expect(stderr).toMatch(
        /meap-pretrain: (?:\w+: )?rank 1 of 2 has waited 3 s for the others: one of them ended, was stopped or cannot be reached; start the run again, it resumes from its last checkpoint\n/,
      );
      const { stdout } = await finish(2, out, ...pair);
      expect(stdout).toMatch(/^resume {7}at step (8|12|16|20)/m);
      expect(exact(out)).toEqual(exact('2-0'));
    });

    it('signals to mpirun: each saves a checkpoint, from which the run resumes', async () => {
      const out = 'signalled';
      const more = [...pair, '--set', 'checkpoint.every=1000', '--set', 'train.max_steps=100000'];
      // MPICH's launcher does not forward SIGUSR2, and lets its ranks end by themselves after SIGINT. For Open MPI's,
      // SIGINT is the same as SIGTERM.
      const signals = isOpenMpi ? (['SIGUSR2', 'SIGTERM'] as const) : (['SIGTERM', 'SIGINT'] as const);
      let step = 0;
      for (const [i, signal] of signals.entries()) {
        // Open MPI kills its ranks one second after SIGTERM by default, too early on a loaded machine; it always waits so long.
        const ranks = startRanks(2, [cli, ...argv(out, ...more)], {
          OMPI_MCA_odls_base_sigkill_timeout: signal === 'SIGTERM' ? '3' : '1',
        });
        await ranks.until(() => /^step +\d+ of/m.test(ranks.output.stdout));
        ranks.child.kill(signal);
        const code = await ranks.ended;
        if (isOpenMpi || signal === 'SIGTERM') expect(code, signal).not.toBe(0);
        if (step > 0) expect(ranks.output.stdout).toMatch(new RegExp(`^resume {7}at step ${step},`, 'm'));
        expect(numCheckpoints(out), signal).toBe(i + 1);
        step = Number(/\d+$/.exec(readdirSync(bench.path(out, 'checkpoints')).sort().at(-1)!)?.[0]);
        expect(readExactMetrics(bench.path(out)).at(-1)?.step).toBe(step);
      }
      const { stdout } = await finish(2, out, ...pair, '--set', `train.max_steps=${step + 2}`);
      expect(stdout).toMatch(new RegExp(`^resume {7}at step ${step},`, 'm'));
    });
  });
});

const MPICH = 'mpiexec.mpich';
const hasBoth = isOpenMpi && mpirunFlags(MPICH) !== undefined;
if (!hasBoth) console.warn(`ranks of a second MPI are not tested: needs Open MPI and ${MPICH}`);

describe.skipIf(!hasBoth || process.platform !== 'linux')(
  'meap-pretrain on ranks of MPICH beside Open MPI',
  () => {
    const flags = ['--set', 'train.micro_batch_size=2', '--set', 'distributed.zero_stage=2'];
    const begin = (out: string, ...more: string[]) =>
      startRanks(2, [cli, ...argv(out, ...flags, ...more)], {}, MPICH);
    beforeAll(() => finish(2, 'open-mpi', ...flags));

    it('give the same bytes as those of Open MPI', async () => {
      const ranks = begin('mpich');
      expect(await ranks.ended, ranks.output.stderr).toBe(0);
      expect(exact('mpich')).toEqual(exact('open-mpi'));
    });

    it('end when one is killed, and give the same bytes when resumed', async () => {
      const ranks = begin('mpich-killed');
      await ranks.until(() => existsSync(bench.path('mpich-killed', 'checkpoints/step-00000004')));
      process.kill(ranks.pids()[1], 'SIGKILL');
      expect(await ranks.ended).not.toBe(0);
      const resumed = begin('mpich-killed');
      expect(await resumed.ended, resumed.output.stderr).toBe(0);
      expect(resumed.output.stdout).toMatch(/^resume {7}at step (4|8|12|16|20)/m);
      expect(exact('mpich-killed')).toEqual(exact('open-mpi'));
    });

    it.each(['SIGTERM', 'SIGINT'] as const)(
      'save one checkpoint after %s to the launcher',
      async (signal) => {
        const out = `mpich-${signal}`;
        const ranks = begin(out, '--set', 'checkpoint.every=1000', '--set', 'train.max_steps=100000');
        await ranks.until(() => ranks.output.stdout.includes('step       1 of'));
        ranks.child.kill(signal);
        await ranks.ended;
        expect(readdirSync(bench.path(out, 'checkpoints'))).toHaveLength(1);
      },
    );
  },
);

const acrossNetworks = join(import.meta.dirname, '../fixtures/across-networks.sh');
const canSeparate = isOpenMpi && process.getuid?.() === 0 && hasNamespaces();
if (hasMpi && !canSeparate)
  console.warn('ranks on separate networks are not tested: needs Open MPI, Linux, root and ip');

function hasNamespaces(): boolean {
  const name = `meap-test-${process.pid}`;
  try {
    execFileSync('ip', ['netns', 'add', name], { stdio: 'ignore' });
    execFileSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

describe.skipIf(!canSeparate)('meap-pretrain on ranks in network namespaces', () => {
  const across = (out: string, ...cut: string[]) =>
    new Promise<{ code: number; stderr: string }>((resolve) => {
      const command = [...cut, process.execPath, cli, ...argv(out, ...pair)];
      execFile(acrossNetworks, command, (error, _, stderr) =>
        resolve({ code: error ? Number(error.code) : 0, stderr }),
      );
    });

  it('end with a message when the network is cut, and resume to the weights of one process', async () => {
    const cut = await across('far', '--cut-when', bench.path('far', 'checkpoints/step-00000004'));
    expect(cut.code).toBe(1);
    expect(cut.stderr).toContain(`rank 0 of 2 has waited ${TIMEOUT} s for the others`);
    expect(existsSync(last('far'))).toBe(false);
    const { code, stderr } = await across('far');
    expect(code, stderr).toBe(0);
    const file = 'model.safetensors';
    expect(await distance(join(last('far'), file), join(last('alone'), file))).toBeLessThan(TOLERANCE);
  });
});

const [B, T, E, LAYERS] = [4, 16, 16, 1];
const checkpoint = (out: string, step: number) => bench.path(out, 'checkpoints', stepDirectory(step));

/** Trains 4 steps; returns losses, and the program of a step as each device runs it. */
async function trainOn(out: string, mesh: string, ...flags: string[]) {
  const { code, stdout, stderr } = await bench.pretrain(
    out,
    ...['--backend', 'xla', ...flags],
    ...setFlags(
      ...[`distributed.mesh=${mesh}`, `model.num_hidden_layers=${LAYERS}`, 'train.micro_batch_size=null'],
      ...['train.max_steps=4', 'validation.every=4', 'samples.prompts=[The]', 'samples.max_new_tokens=1'],
    ),
  );
  expect(stderr).toBe('');
  expect(code).toBe(0);
  const metrics = readJsonLines<StepMetrics>(bench.path(out, 'metrics.jsonl'));
  const losses = metrics.flatMap(({ loss }) => loss ?? []);
  const { programs } = tf.backend() as tf.KernelBackend & { programs: Map<string, Promise<Executable>> };
  const all = await Promise.all(programs.values());
  const [step] = all.sort((a, b) => b.memoryStats().aliased - a.memoryStats().aliased);
  return {
    losses,
    stdout,
    bytes: step.memoryStats().aliased,
    moved: elements(await step.optimizedProgram()),
  };
}

/** The numbers that collectives of a program return, by their kind. */
function elements({ computations }: HloModule): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const { opcode, shape } of computations.flatMap(({ instructions }) => instructions)) {
    if (!/^(all-|reduce-scatter|collective)/.test(opcode)) continue;
    const sizes = Array.from(shape.matchAll(/\[([\d,]*)\]/g), ([, list]) =>
      list ? list.split(',').reduce((size, length) => size * Number(length), 1) : 1,
    );
    sums[opcode] = (sums[opcode] ?? 0) + sizes.reduce((sum, size) => sum + size, 0);
  }
  return sums;
}

describe.skipIf(missing)('a mesh', () => {
  it('has the losses of one device, and the memory and collectives of theory', async () => {
    const single = await trainOn('single', 'null');
    const shapes = [...parameterShapes(readLlamaConfig(checkpoint('single', 4))).values()];
    const size = (rank: number) =>
      shapes.filter((shape) => shape.length === rank).reduce((sum, [a, b = 1]) => sum + a * b, 0);
    const [matrices, vectors] = [size(2), size(1)];
    const [vocabulary] = shapes[0];
    const N = B * T;
    // Counts of scalars: losses, sums of squares, and the like.
    const about = (count: number) => ({ min: count, max: count + 64 });
    // XLA's CPU compiler has no reduce-scatter, and gathers a weight once for both passes.
    const cases = [
      ['{ data: 4 }', 1, { 'all-reduce': about(matrices + vectors) }],
      ['{ fsdp: 4 }', 4, { 'all-gather': about(matrices), 'all-reduce': about(matrices + vectors) }],
      [
        '{ tensor: 2 }',
        2,
        {
          'all-gather': about(vocabulary * E),
          // The outputs of both halves, the gradients of the inputs of 5 products and of the head; statistics of the softmax.
          'all-reduce': about((7 * LAYERS + 1) * N * E + 3 * N),
        },
      ],
      ['{ fsdp: 2, tensor: 2 }', 4, undefined],
    ] as const;
    expect(single.moved).toEqual({});
    for (const [mesh, parts, moved] of cases) {
      const run = await trainOn(mesh, mesh);
      expectClose(run.losses, single.losses, { relative: 1e-6 });
      // A weight and its two moments; the scale of an update stays on the device too.
      expect(run.bytes).toBe(12 * (matrices / parts + vectors) + 4);
      if (!moved) continue;
      expect(Object.keys(run.moved).sort()).toEqual(Object.keys(moved).sort());
      for (const [kind, { min, max }] of Object.entries(moved)) {
        expect(run.moved[kind], `${mesh} ${kind}`).toBeGreaterThanOrEqual(min);
        expect(run.moved[kind], `${mesh} ${kind}`).toBeLessThan(max);
      }
    }
  });

  it('resumes to the same bytes, and on another mesh within rounding', async () => {
    const from = ['--resume', checkpoint('{ fsdp: 2, tensor: 2 }', 2)];
    const before = await trainOn('again', '{ fsdp: 2, tensor: 2 }', ...from);
    const whole = hashFiles(checkpoint('{ fsdp: 2, tensor: 2 }', 4));
    expect(hashFiles(checkpoint('again', 4))).toEqual(whole);
    const { stdout, losses } = await trainOn('other', '{ data: 4 }', ...from);
    expect(stdout).toMatch(/mesh fsdp 2 × tensor 2 → [^\n]*mesh data 4; results round differently/);
    expect(losses.length).toBe(2);
    expectClose(losses, before.losses, { relative: 1e-6 });
  });

  it.skipIf(!tpu)('is planned for TPUs that are not here', async () => {
    // The plugin of TPUs refuses the CPU plugin's.
    vi.stubEnv('XLA_FLAGS', '');
    const argv = ['--backend', 'xla', '--precision', 'bfloat16', '--dry-run', '--target', 'v5e-4', '--json'];
    const { code, stdout } = await bench.pretrain(
      'plan',
      ...argv,
      ...setFlags('train.global_batch_size=16'),
      ...setFlags('train.micro_batch_size=4'),
    );
    expect(code).toBe(0);
    const plan = JSON.parse(stdout);
    const shapes = [...parameterShapes(plan.model).values()];
    const size = (rank: number) =>
      shapes.filter((shape) => shape.length === rank).reduce((sum, [a, b = 1]) => sum + a * b, 0);
    const [table] = shapes;
    const embedding = table[0] * table[1];
    expect(plan).toMatchObject({
      target: '4 × TPU v5e',
      mesh: { fsdp: 4 },
      fits: true,
      tokens_per_step: 256,
    });
    // Chips pad rows of memory, but not those of the program's own count.
    expect(plan.memory_bytes.weights_and_moments).toBeGreaterThanOrEqual(12 * (size(2) / 4 + size(1)));
    expect(plan.memory_bytes.peak).toBeGreaterThan(plan.memory_bytes.weights_and_moments);
    // Four micro-batches: each gathers blocks twice in bfloat16, the head once, and the embedding once in float32. XLA
    // moves some of these tiny matrices otherwise.
    const blocks = size(2) - 2 * embedding;
    const sent = (4 * (2 * 2 * blocks + 2 * embedding + 4 * embedding) * 3) / 4;
    expect(Math.abs(plan.collectives['all-gather'].bytes / sent - 1)).toBeLessThan(0.2);
  });

  it('of more devices than there are is refused', async () => {
    const { code, stderr } = await bench.pretrain(
      'many',
      ...['--backend', 'xla'],
      ...setFlags('distributed.mesh.data=2', 'distributed.mesh.tensor=2', 'distributed.mesh.fsdp=2'),
      ...setFlags('train.micro_batch_size=4'),
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^meap-pretrain: xla: the mesh data 2 × fsdp 2 × tensor 2 needs 8 devices, got 4 of the [^\n]+; use a smaller mesh\n$/,
    );
  });
});
