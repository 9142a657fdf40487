import { createHash } from 'node:crypto';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type TinyBatch, tinyBatch, tinyLoss, tinyOptions, tinyParameters } from '../fixtures/tiny-run.mjs';
import {
  CheckpointError,
  NonFiniteError,
  ResumeMismatchError,
  RunExistsError,
  RunLockedError,
  TrainerError,
} from './errors.ts';
import * as trainer from './index.ts';
import { acquireLock } from './lock.ts';
import type { Loss, LossSum, Position, TrainEvent } from './types.ts';

const root = mkdtempSync(join(tmpdir(), 'meap-train-'));
let directory: string;
let count = 0;

beforeAll(async () => {
  await tf.setBackend('cpu');
});
beforeEach(() => {
  directory = join(root, String(count++));
});
afterAll(() => rmSync(root, { recursive: true }));

type Overrides = NonNullable<Parameters<typeof tinyOptions>[3]>;

/** One process's worth of training: fresh parameters, everything else from the run directory. */
async function run(
  overrides: Overrides = {},
  wrapLoss: (loss: Loss<TinyBatch>) => Loss<TinyBatch> = (x) => x,
) {
  const parameters = tinyParameters();
  const events: TrainEvent[] = [];
  try {
    const options = tinyOptions(trainer, parameters, directory, {
      onEvent: (event) => events.push(event),
      ...overrides,
    });
    const result = await trainer.train({ ...options, loss: wrapLoss(options.loss) });
    return { result, events, warnings: warningsOf(events) };
  } finally {
    tf.dispose([...parameters.values()]);
  }
}

function warningsOf(events: TrainEvent[]): string[] {
  return events.flatMap((event) => (event.type === 'warning' ? [event.message] : []));
}

function lines(name: string): Record<string, unknown>[] {
  const text = readFileSync(join(directory, name), 'utf8');
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

/** Every file that must be equal between two runs, by name; metrics without what the clock decides. */
function outcome(where: string): Record<string, string> {
  const files: Record<string, string> = {};
  for (const name of readdirSync(where, { recursive: true, encoding: 'utf8' }).sort()) {
    if (!/\.(jsonl?|safetensors)$|SHA256SUMS$/.test(name)) continue;
    files[name] = readFileSync(join(where, name), 'latin1').replaceAll(
      /"(tokensPerSecond|mfu|residentBytes|backendBytes)":[^,}]+/g,
      '"$1":0',
    );
  }
  return files;
}

describe('train', () => {
  it('lowers the loss and writes metrics, samples, events and checkpoints', async () => {
    const { result, events } = await run({ utilisation: { flopPerToken: 1000, peakFlops: 1e9 } });
    expect(result).toEqual({
      status: 'finished',
      step: 12,
      tokens: 12 * 2 * 8,
      checkpoint: join(directory, 'checkpoints', 'step-00000012'),
    });
    const metrics = lines('metrics.jsonl');
    const steps = metrics.filter((line) => 'loss' in line);
    expect(steps.map((line) => line.step)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    const keys = ['step', 'tokens', 'loss', 'lr', 'gradNorm', 'tokensPerSecond', 'mfu', 'residentBytes'];
    for (const line of steps) expect(Object.keys(line)).toEqual([...keys, 'backendBytes']);
    // Node itself takes some tens of megabytes; the weights and moments of the model are held beside it.
    expect(steps[11].residentBytes).toBeGreaterThan(2e7);
    expect(steps[11].backendBytes).toBeGreaterThan(0);
    expect(steps[11].backendBytes).toBeLessThan(steps[11].residentBytes as number);
    expect(steps[11].loss).toBeLessThan(steps[0].loss as number);
    expect(steps[5].mfu).toBeCloseTo(((steps[5].tokensPerSecond as number) * 1000) / 1e9, 12);
    const validations = metrics.filter((line) => 'valLoss' in line);
    expect(validations.map((line) => line.step)).toEqual([4, 8, 12]);
    for (const line of validations) {
      expect(Object.keys(line)).toEqual(['step', 'tokens', 'valLoss', 'bitsPerByte']);
    }
    expect(lines('samples.jsonl')).toEqual([5, 10, 12].map((step) => ({ step, text: `after ${step}` })));
    expect(readdirSync(join(directory, 'checkpoints')).sort()).toEqual(['step-00000009', 'step-00000012']);
    expect(readdirSync(directory).filter((name) => name.startsWith('events.out.tfevents.'))).toHaveLength(1);
    expect(existsSync(join(directory, 'run.lock'))).toBe(false);
    expect(events.flatMap((event) => (event.type === 'checkpoint' ? [event.step] : []))).toEqual([
      3, 6, 9, 12,
    ]);
    expect(events.filter((event) => event.type === 'step')).toEqual(
      steps.map((line) => ({ type: 'step', ...line })),
    );
  });

  it('validates with mean nll and bits per byte of the same targets', async () => {
    const parameters = tinyParameters();
    const loss = tinyLoss(parameters);
    const batches = [tinyBatch(1, 5), tinyBatch(2, 9)];
    const result = await trainer.validate({
      every: 1,
      batches: () => batches,
      loss: (batch: TinyBatch) => ({ ...loss(batch), bytes: 10 }),
    });
    const sums = batches.map((batch) => tf.tidy(() => loss(batch).sum.dataSync()[0]));
    const targets = batches.flatMap((batch) => batch.weights).reduce((a, b) => a + b);
    expect(result?.valLoss).toBeCloseTo((sums[0] + sums[1]) / targets, 6);
    expect(result?.bitsPerByte).toBeCloseTo((sums[0] + sums[1]) / Math.LN2 / 20, 6);
    tf.dispose([...parameters.values()]);
  });

  it('averages each part of a validation loss over its own targets', async () => {
    const parameters = tinyParameters();
    const loss = tinyLoss(parameters);
    const batches = [tinyBatch(1, 5), tinyBatch(2, 9)];
    const before = tf.memory().numTensors;
    const result = await trainer.validate({
      every: 1,
      batches: () => batches,
      loss: (batch: TinyBatch) => {
        const whole = loss(batch);
        const odd = { sum: tf.mul(whole.sum, 3).asScalar(), count: 2 };
        const none = { sum: tf.scalar(0), count: 0 };
        // One part is there in one batch only.
        const parts: Record<string, LossSum> = batch === batches[0] ? { odd, none } : { none };
        return { ...whole, bytes: 10, parts };
      },
    });
    const first = tf.tidy(() => loss(batches[0]).sum.dataSync()[0]);
    expect(Object.keys(result?.parts ?? {})).toEqual(['odd']);
    expect(result?.parts?.odd).toBeCloseTo((3 * first) / 2, 5);
    expect(tf.memory().numTensors).toBe(before);
    tf.dispose([...parameters.values()]);
  });

  it('leaks no tensor in 15 steps', async () => {
    const parameters = tinyParameters();
    const before = tf.memory().numTensors;
    const during = new Set<number>();
    await trainer.train(
      tinyOptions(trainer, parameters, directory, {
        steps: 15,
        checkpoint: { every: 6 },
        onEvent: (event) => event.type === 'step' && during.add(tf.memory().numTensors),
      }),
    );
    // The moments are the only tensors between two steps.
    expect([...during]).toEqual([before + 2 * parameters.size]);
    expect(tf.memory().numTensors).toBe(before);
    tf.dispose([...parameters.values()]);
  });

  it('refuses counts that cannot be', async () => {
    for (const [overrides, message] of [
      [{ steps: 0 }, 'train: steps is 0'],
      [{ microBatches: 1.5 }, 'train: microBatches is 1.5'],
      [{ checkpoint: { every: -1 } }, 'train: checkpoint.every is -1'],
      [{ checkpoint: { keepLast: 0 } }, 'train: checkpoint.keepLast is 0'],
      [{ checkpoint: { keepEvery: 0.5 } }, 'train: checkpoint.keepEvery is 0.5'],
      [
        { checkpoint: { keepBest: true } },
        'checkpoint.keepBest with checkpoint.every 3 and validation.every 4',
      ],
    ] as const) {
      await expect(run(overrides)).rejects.toThrow(TrainerError);
      await expect(run(overrides)).rejects.toThrow(message);
    }
  });
});

describe('checkpoints', () => {
  it('also keeps the best by validation, in the background or not', async () => {
    const kept: string[][] = [];
    for (const background of [true, false]) {
      directory = join(root, String(count++));
      // A rate that ruins what was learned, from half-way on.
      const schedule = (step: number) => (step < 8 ? 0.05 : 5);
      const checkpoint = { every: 4, keepLast: 1, keepBest: true, background };
      await run({ steps: 16, schedule, checkpoint });
      const losses = lines('metrics.jsonl').filter((line) => 'valLoss' in line);
      const best = losses.reduce((a, b) => ((b.valLoss as number) <= (a.valLoss as number) ? b : a));
      const name = trainer.stepDirectory(best.step as number);
      expect(best.step).toBeLessThan(16);
      expect(await trainer.bestCheckpoint(join(directory, 'checkpoints'))).toBe(
        join(directory, 'checkpoints', name),
      );
      kept.push(readdirSync(join(directory, 'checkpoints')).sort());
      expect(kept.at(-1)).toEqual([name, 'step-00000016']);
    }
    expect(kept[0]).toEqual(kept[1]);
  });
});

/** Another `state.json`, with its sum. */
function rewriteState(path: string, state: object): void {
  const file = join(path, 'trainer/state.json');
  const sums = join(path, 'trainer/SHA256SUMS');
  const sum = () => createHash('sha256').update(readFileSync(file)).digest('hex');
  const before = sum();
  writeFileSync(file, JSON.stringify(state));
  writeFileSync(sums, readFileSync(sums, 'utf8').replace(before, sum()));
}

describe('resuming', () => {
  let whole: Record<string, string>;
  beforeAll(async () => {
    directory = join(root, 'whole');
    await run();
    whole = outcome(directory);
  });

  /** Trains with an abort during a micro-batch: the step is abandoned, or completed if that was its last. */
  async function interrupted(stop: Position) {
    const controller = new AbortController();
    const { result } = await run({ signal: controller.signal }, (loss) => (batch, position) => {
      if (position.step === stop.step && position.microBatch === stop.microBatch) controller.abort();
      return loss(batch, position);
    });
    return result;
  }

  it('repairs damaged logs with a warning, to the same bytes', async () => {
    await interrupted({ step: 6, microBatch: 1 });
    const [events] = readdirSync(directory).filter((name) => name.startsWith('events'));
    const torn = {
      'metrics.jsonl': '{"step":7,"lo',
      'samples.jsonl': '\0'.repeat(300),
      [events]: '\0'.repeat(40),
    };
    for (const [name, tail] of Object.entries(torn)) appendFileSync(join(directory, name), tail);
    const { events: told } = await run();
    const warnings = told.flatMap((event) => (event.type === 'warning' ? [event.message] : []));
    expect(warnings.map((text) => text.slice(directory.length + 1))).toEqual([
      expect.stringMatching(/^metrics\.jsonl: line \d+ was incomplete or damaged and is removed$/),
      expect.stringMatching(
        /^samples\.jsonl: line \d+ was incomplete or damaged and is removed; steps 6 to 7 are lost$/,
      ),
      expect.stringMatching(/^events\S+: its last 40 bytes were incomplete or damaged and are removed$/),
    ]);
    for (const [name, text] of Object.entries(outcome(directory))) {
      if (name.endsWith('.jsonl')) expect(text, name).toBe(whole[name]);
    }
  });

  it('warns once of a changed environment, and not of an equal one', async () => {
    await interrupted({ step: 6, microBatch: 1 });
    const path = join(directory, 'checkpoints', 'step-00000007');
    const warningsOf = (events: TrainEvent[]) => events.filter(({ type }) => type === 'warning');
    for (const change of ['avx2', undefined]) {
      const state = JSON.parse(readFileSync(join(path, 'trainer/state.json'), 'utf8'));
      expect(Object.keys(state.numerics)).toEqual([
        'backend',
        'device',
        'precision',
        'ranks',
        'meap',
        'tensorflowjs',
        'node',
      ]);
      if (change) {
        rewriteState(path, {
          ...state,
          numerics: { ...state.numerics, device: change, precision: 'bfloat16' },
        });
      }
      const { events } = await run({ steps: change ? 7 : 12 });
      expect(warningsOf(events)).toEqual(
        change
          ? [
              {
                type: 'warning',
                message: expect.stringMatching(/: device avx2 → unknown, precision bfloat16 → float32; /),
              },
            ]
          : [],
      );
      if (change) rewriteState(path, state);
    }
  });

  it.each([
    [[[0, 0]]],
    [[[3, 1]]],
    [[[11, 1]]],
    [
      [
        [1, 1],
        [5, 0],
        [9, 1],
      ],
    ],
    [
      [
        [6, 1],
        [2, 0],
        [6, 0],
      ],
    ],
  ])('gives the same bytes wherever it stopped: steps and micro-batches %j', async (stops) => {
    for (const [step, microBatch] of stops) await interrupted({ step, microBatch });
    const { result } = await run();
    expect(result.status).toBe('finished');
    // Which checkpoints were kept depends on where it stopped; the last one, the logs and their order do not.
    const got = outcome(directory);
    for (const [name, text] of Object.entries(whole)) {
      if (!name.includes('step-00000009')) expect(got[name], name).toBe(text);
    }
    expect(Object.keys(whole)).toContain(
      join('checkpoints', 'step-00000012', 'trainer', 'optimizer.safetensors'),
    );
  });

  it('reports where it stopped and where it resumes', async () => {
    expect(await interrupted({ step: 4, microBatch: 0 })).toMatchObject({ status: 'stopped', step: 4 });
    const { events } = await run();
    expect(events[0]).toEqual({
      type: 'resume',
      step: 4,
      path: join(directory, 'checkpoints', 'step-00000004'),
    });
  });

  it('cuts metrics back to the checkpoint when a process died after it', async () => {
    await interrupted({ step: 7, microBatch: 0 });
    // As if killed after step 7, with the checkpoint of step 6 the newest on the disk.
    rmSync(join(directory, 'checkpoints', 'step-00000007'), { recursive: true });
    truncateSync(join(directory, 'metrics.jsonl'), readFileSync(join(directory, 'metrics.jsonl')).length - 9);
    const { events } = await run();
    expect(events[0]).toMatchObject({ type: 'resume', step: 6 });
    const got = outcome(directory);
    for (const [name, text] of Object.entries(whole)) expect(got[name], name).toBe(text);
  });

  it('passes over a truncated checkpoint, names it, and still ends in the same bytes', async () => {
    await interrupted({ step: 8, microBatch: 0 });
    truncateSync(join(directory, 'checkpoints', 'step-00000008', 'weights.json'), 100);
    const { events, warnings } = await run();
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toMatch(/step-00000008 is damaged: weights.json has SHA-256 .*; skipped/);
    expect(warnings[1]).toContain('renamed to step-00000008.set-aside');
    expect(events.find((event) => event.type === 'resume')?.step).toBe(6);
    const got = outcome(directory);
    for (const [name, text] of Object.entries(whole)) expect(got[name], name).toBe(text);
  });

  it('continues a given checkpoint or run in a new folder', async () => {
    await interrupted({ step: 5, microBatch: 0 });
    const first = directory;
    for (const resume of [first, join(first, 'checkpoints', 'step-00000003')]) {
      directory = join(root, String(count++));
      const { events } = await run({ resume });
      expect(events[0]).toMatchObject({ type: 'resume', step: resume === first ? 5 : 3 });
      const last = join('checkpoints', 'step-00000012', 'trainer', 'optimizer.safetensors');
      expect(outcome(directory)[last]).toBe(whole[last]);
    }
  });

  it('does not change a finished run', async () => {
    cpSync(join(root, 'whole'), directory, { recursive: true });
    const { result, events } = await run();
    expect(result.status).toBe('finished');
    expect(events.map((event) => event.type)).toEqual(['resume', 'start']);
    expect(outcome(directory)).toEqual(whole);
  });

  it('refuses other data, other weights, another optimizer, a used folder, a second process', async () => {
    await interrupted({ step: 5, microBatch: 0 });
    const other = run({ fingerprints: { data: 'other', seed: 1 } });
    await expect(other).rejects.toThrow(ResumeMismatchError);
    await expect(other).rejects.toThrow('resume: data differs');
    await expect(run({ fingerprints: { data: 'tiny' } })).rejects.toThrow('seed differs');
    await expect(run({ checkpoint: { loadModel: () => {} } })).rejects.toThrow('saveModel must write');
    await expect(run({ resume: 'never' })).rejects.toThrow(RunExistsError);
    const { release } = await acquireLock(directory);
    await expect(run()).rejects.toThrow(RunLockedError);
    release();
    expect((await run()).result.step).toBe(12);
  });
});

describe('trouble', () => {
  const badAt = (bad: number[], value: number): Overrides => ({
    microBatches: 1,
    batches: ({ step }) => {
      const batch = tinyBatch(step);
      return bad.includes(step) ? { ...batch, weights: batch.weights.map((w) => w * value) } : batch;
    },
  });

  it('stops at a NaN before it reaches the weights', async () => {
    await expect(run(badAt([4], Number.NaN))).rejects.toThrow(NonFiniteError);
    expect(lines('metrics.jsonl').at(-1)).toMatchObject({ step: 4 });
    const { state } = (await trainer.latestCheckpoint(join(directory, 'checkpoints')))!;
    expect(state.step).toBe(3);
    expect(existsSync(join(directory, 'run.lock'))).toBe(false);
  });

  it('skips NaN steps up to the limit: no update, no moments, data and schedule go on', async () => {
    const { warnings } = await run({ ...badAt([4, 5], Number.NaN), guard: { maxNonFiniteSteps: 2 } });
    expect(warnings).toHaveLength(2);
    const steps = lines('metrics.jsonl').filter((line) => 'loss' in line);
    expect(steps[4]).toMatchObject({
      step: 5,
      loss: null,
      gradNorm: null,
      anomaly: 'non-finite',
      skipped: true,
    });
    expect(steps[6].skipped).toBeUndefined();
    const { state } = (await trainer.latestCheckpoint(join(directory, 'checkpoints')))!;
    expect(state).toMatchObject({ step: 12, optimizerStep: 10 });
  });

  it('names a spike and, when asked, leaves its update out', async () => {
    for (const onSpike of ['warn', 'skip'] as const) {
      directory = join(root, String(count++));
      const overrides: Overrides = {
        steps: 75,
        microBatches: 1,
        guard: { onSpike },
        checkpoint: { every: 75 },
      };
      const { warnings } = await run(overrides, (loss) => (batch, position) => {
        const { sum, ...counts } = loss(batch, position);
        return { ...counts, sum: position.step === 70 ? tf.mul(sum, 20) : sum };
      });
      expect(warnings).toHaveLength(1);
      expect(warnings[0]).toMatch(/^step 71: spike: loss \S+, usual \S+; update (applied|skipped)$/);
      const flagged = lines('metrics.jsonl').filter((line) => 'anomaly' in line);
      const skipped = onSpike === 'skip' ? { skipped: true } : {};
      expect(flagged).toMatchObject([{ step: 71, anomaly: 'spike', ...skipped }]);
      expect('skipped' in flagged[0]).toBe(onSpike === 'skip');
      const { state } = (await trainer.latestCheckpoint(join(directory, 'checkpoints')))!;
      expect(state.optimizerStep).toBe(onSpike === 'skip' ? 74 : 75);
    }
  });

  /** Makes the nth save of the model fail as a full disk does. */
  const failing = (nth: number): Overrides => {
    let saves = 0;
    const saveModel = (path: string) => {
      writeFileSync(join(path, 'weights.json'), '{');
      if (++saves === nth) throw new Error('ENOSPC: no space left on device, write');
    };
    return { checkpoint: { saveModel } };
  };

  it('continues after a failed save and saves the next time', async () => {
    const { events, warnings } = await run(failing(2));
    expect(warnings).toEqual([
      `checkpoint ${join(directory, 'checkpoints', 'step-00000006')}: not saved: ENOSPC: no space left on device, ` +
        'write; training continues, earlier checkpoints stay',
    ]);
    expect(events.flatMap((event) => (event.type === 'checkpoint' ? [event.step] : []))).toEqual([3, 9, 12]);
  });

  it('fails when the last save fails, with the checkpoint before intact', async () => {
    await expect(run(failing(4))).rejects.toThrow(CheckpointError);
    expect((await trainer.latestCheckpoint(join(directory, 'checkpoints')))?.state.step).toBe(9);
    expect(existsSync(join(directory, 'run.lock'))).toBe(false);
  });
});
