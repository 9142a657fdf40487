import { createHash } from 'node:crypto';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeSafetensors } from '@meap/safetensors';
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { latestCheckpoint, openCheckpoint, readOptimizerTensors, tidyCheckpoints } from './checkpoint.ts';
import { CheckpointSaver, type CheckpointSaverOptions } from './checkpoint-saver.ts';
import { CheckpointError, ResumeMismatchError } from './errors.ts';
import {
  bestCheckpoint,
  listCheckpoints,
  stepDirectory,
  type TensorFile,
  type TrainerState,
} from './write-checkpoint.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'meap-checkpoint-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

const FILES = ['config.json', 'trainer/SHA256SUMS', 'trainer/optimizer.safetensors', 'trainer/state.json'];

// Of no folder: nobody can take it over.
const LOCK = { path: join(tmpdir(), 'meap-no-such-folder', 'run.lock'), text: '' };

type Overrides = Partial<CheckpointSaverOptions> & Pick<Partial<TrainerState>, 'valLoss'>;

async function save(step: number, { valLoss, ...overrides }: Overrides = {}) {
  const saver = new CheckpointSaver({
    directory,
    saveModel: (path) => writeFileSync(join(path, 'config.json'), '{}'),
    keepLast: 3,
    background: false,
    ...overrides,
  });
  try {
    const { path } = await saver.begin(stateAt(step, valLoss), momentsAt(step), [], LOCK);
    return await path;
  } finally {
    await saver.close();
  }
}

function stateAt(step: number, valLoss?: number): TrainerState {
  return {
    formatVersion: 1,
    step,
    tokens: step * 8,
    optimizerStep: step,
    validatedStep: 0,
    sampledStep: 0,
    valLoss,
    guard: { losses: [1.5], gradNorms: [2.5], nonFiniteInARow: 0, highNormsInARow: 0 },
    fingerprints: { seed: 1 },
    weightsSha256: 'abc',
  };
}

function momentsAt(step: number, moment = Float32Array.of(step, 0.1, -0)): TensorFile['tensors'] {
  const data = () => new Uint8Array(moment.buffer);
  return [['exp_avg.w', { dtype: 'F32', shape: [3], data }]];
}

describe('saving', () => {
  it('writes the model, the tensors and the state, and sums that sha256sum understands', async () => {
    const path = await save(100);
    expect(path).toBe(join(directory, 'step-00000100'));
    expect(readdirSync(directory)).toEqual(['step-00000100']);
    expect(readdirSync(path, { recursive: true }).sort()).toEqual([
      'config.json',
      'trainer',
      ...FILES.slice(1),
    ]);
    const [first, ...rest] = readFileSync(join(path, FILES[1]), 'utf8').split('\n');
    // SHA-256 of "{}".
    expect(first).toBe('44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a  config.json');
    expect(rest.map((line) => line.slice(66))).toEqual([FILES[2], FILES[3], '']);
    const { state } = await openCheckpoint(path);
    expect(state).toMatchObject({ step: 100, tokens: 800 });
    const moments: number[][] = [];
    await readOptimizerTensors(path, [{ name: 'exp_avg.w', shape: [3] }], (_, values) => {
      moments.push([...values]);
    });
    expect(moments).toEqual([[100, Math.fround(0.1), -0]]);
  });

  it('keeps the newest k and replaces a checkpoint of the same step', async () => {
    for (const step of [1, 2, 3, 4, 4, 10]) await save(step, { keepLast: 2 });
    expect(readdirSync(directory).sort()).toEqual(['step-00000004', 'step-00000010']);
    // Going on from an earlier step, a new checkpoint does not fall to later ones.
    await save(7, { keepLast: 1 });
    expect(readdirSync(directory).sort()).toEqual(['step-00000007', 'step-00000010']);
  });

  it('leaves nothing of a failed save and everything of the one before', async () => {
    await save(1, { keepLast: 1 });
    const diskFull = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    const saveModel = (path: string) => {
      writeFileSync(join(path, 'config.json'), '{');
      throw diskFull;
    };
    const failure = save(2, { keepLast: 1, saveModel });
    await expect(failure).rejects.toThrow(CheckpointError);
    await expect(failure).rejects.toThrow(
      `checkpoint ${join(directory, 'step-00000002')}: not saved: ENOSPC: no space left on device, write`,
    );
    expect(readdirSync(directory)).toEqual(['step-00000001']);
    expect((await latestCheckpoint(directory))?.state.step).toBe(1);
  });
});

describe('retention', () => {
  const names = (...steps: number[]) => steps.map(stepDirectory);

  it('keeps every nth and the best by validation, and replaces the best by a better one', async () => {
    const keep = { keepLast: 1, keepEvery: 10, keepBest: true };
    const losses = { 4: 3, 6: 1, 8: 2, 10: 5, 12: 1.5, 14: undefined };
    for (const [step, valLoss] of Object.entries(losses)) await save(Number(step), { ...keep, valLoss });
    expect(readdirSync(directory).sort()).toEqual(names(6, 10, 14));
    expect(await bestCheckpoint(directory)).toBe(join(directory, names(6)[0]));
    await save(16, { ...keep, valLoss: 0.5 });
    await save(18, { ...keep, valLoss: 0.6 });
    expect(readdirSync(directory).sort()).toEqual(names(10, 16, 18));
  });

  it('follows the rule for any losses', async () => {
    const runs = fc.record({
      losses: fc.array(fc.option(fc.integer({ min: 0, max: 5 }), { nil: undefined }), {
        minLength: 1,
        maxLength: 7,
      }),
      keepLast: fc.integer({ min: 1, max: 3 }),
      keepEvery: fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined }),
      keepBest: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(runs, async ({ losses, ...keep }) => {
        rmSync(directory, { recursive: true });
        for (const [i, valLoss] of losses.entries()) await save(i + 1, { ...keep, valLoss });
        const steps = losses.map((_, i) => i + 1);
        // The newest of equals: a later one with the same loss has seen more.
        const best = steps.reduce<number | undefined>((found, step) => {
          const [loss, least] = [losses[step - 1], found && losses[found - 1]];
          return loss !== undefined && (least === undefined || loss <= least) ? step : found;
        }, undefined);
        const expected = steps.filter(
          (step) =>
            step > steps.length - keep.keepLast ||
            (keep.keepEvery && step % keep.keepEvery === 0) ||
            (keep.keepBest && step === best),
        );
        expect(readdirSync(directory).sort()).toEqual(names(...expected));
      }),
      { numRuns: 12, seed: 1 },
    );
  });
});

describe('saving beside training', () => {
  it('writes the state at its start, with the same bytes as a foreground save', async () => {
    const weights = tf.variable(tf.tensor1d([1, 2, 3]));
    const bytesOf = async () => new Uint8Array((await weights.data()).slice().buffer);
    const saveModel: CheckpointSaverOptions['saveModel'] = async (path, { writeSafetensors }) => {
      writeFileSync(join(path, 'config.json'), '{}');
      const tensor = { dtype: 'F32', shape: [3], data: bytesOf } as const;
      await writeSafetensors(join(path, 'model.safetensors'), [['w', tensor]], {
        metadata: { format: 'pt' },
      });
    };
    const expected = readAll(await save(1, { saveModel }));
    expect(Object.keys(expected)).toContain('model.safetensors');
    rmSync(directory, { recursive: true });
    const saver = new CheckpointSaver({ directory, saveModel, background: true, keepLast: 3 });
    const moment = Float32Array.of(1, 0.1, -0);
    const { path } = await saver.begin(stateAt(1), momentsAt(1, moment), [], LOCK);
    // What training does next.
    weights.assign(tf.tensor1d([7, 8, 9]));
    moment.fill(4);
    expect(readAll(await path)).toEqual(expected);
    await saver.close();
    weights.dispose();
  });

  it('never does two at once, and a failure costs that checkpoint alone', async () => {
    let during: string[] = [];
    const saver = new CheckpointSaver({
      directory,
      keepLast: 3,
      background: true,
      saveModel: (path) => {
        during = readdirSync(directory).filter((name) => name.endsWith('.partial'));
        // A folder where a file belongs fails only when the worker gets to it.
        if (path.includes('00000002')) mkdirSync(join(path, 'trainer/optimizer.safetensors'));
      },
    });
    const paths: Promise<string>[] = [];
    for (const step of [1, 2, 3]) {
      paths.push((await saver.begin(stateAt(step), momentsAt(step), [], LOCK)).path);
      expect(during).toEqual([`.step-0000000${step}.partial`]);
    }
    const ends = await Promise.allSettled(paths);
    await saver.close();
    expect(ends.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    const { reason } = ends[1] as PromiseRejectedResult;
    expect(reason).toBeInstanceOf(CheckpointError);
    expect(reason.message).toMatch(/^checkpoint \S+step-00000002: not saved: [^\n]+$/);
    expect(readdirSync(directory).sort()).toEqual(['step-00000001', 'step-00000003']);
    expect((await latestCheckpoint(directory))?.state.step).toBe(3);
  });

  it('does not write ahead of a log that cannot be synced', async () => {
    const saver = new CheckpointSaver({ directory, keepLast: 1, background: true, saveModel: () => {} });
    const { path } = await saver.begin(stateAt(1), momentsAt(1), [join(directory, 'gone.jsonl')], LOCK);
    await expect(path).rejects.toThrow(/not saved: ENOENT[^\n]+gone\.jsonl/);
    expect(await listCheckpoints(directory)).toEqual([]);
    await saver.close();
  });
});

/** Every file of a folder. */
function readAll(path: string): Record<string, string> {
  const files: Record<string, string> = {};
  for (const name of readdirSync(path, { recursive: true, encoding: 'utf8' })) {
    if (name !== 'trainer') files[name] = readFileSync(join(path, name), 'latin1');
  }
  return files;
}

describe('latestCheckpoint', () => {
  it('is undefined without any', async () => {
    expect(await latestCheckpoint(directory)).toBeUndefined();
    expect(await latestCheckpoint(join(directory, 'absent'))).toBeUndefined();
    expect(await listCheckpoints(join(directory, 'absent'))).toEqual([]);
  });

  it('skips a checkpoint with an invalid state and valid checksums', async () => {
    await save(1);
    const path = await save(2);
    const file = join(path, 'trainer/state.json');
    const whole = JSON.parse(readFileSync(file, 'utf8'));
    const withSums = (text: string) => {
      const sums = readFileSync(join(path, 'trainer/SHA256SUMS'), 'utf8');
      const before = createHash('sha256').update(readFileSync(file)).digest('hex');
      writeFileSync(file, text);
      writeFileSync(
        join(path, 'trainer/SHA256SUMS'),
        sums.replace(before, createHash('sha256').update(text).digest('hex')),
      );
    };
    const odd: unknown[] = [null, 'x', -1, 0.5, { toString: 1 }];
    const required = [
      'step',
      'tokens',
      'optimizerStep',
      'validatedStep',
      'sampledStep',
      'guard',
      'fingerprints',
    ];
    const texts = ['', 'null', '[]', '1', '{', '['.repeat(1e5), '{"formatVersion":1}'];
    for (const key of [...required, 'weightsSha256', 'valLoss', 'lossScale']) {
      for (const value of odd) {
        const isFine =
          (key === 'fingerprints' && JSON.stringify(value) === '{"toString":1}') ||
          (key === 'weightsSha256' && value === 'x') ||
          (key === 'valLoss' && typeof value === 'number');
        if (!isFine) texts.push(JSON.stringify({ ...whole, [key]: value }));
      }
    }
    for (const key of [...required, 'weightsSha256'])
      texts.push(JSON.stringify({ ...whole, [key]: undefined }));
    texts.push(JSON.stringify({ ...whole, step: 1 }));
    texts.push(JSON.stringify({ ...whole, lossScale: { scale: 3, steps: 1 } }));
    for (const text of texts) {
      withSums(text);
      const warnings: string[] = [];
      const found = await latestCheckpoint(directory, (warning) => warnings.push(warning));
      expect(found?.state.step, text.slice(0, 300)).toBe(1);
      expect(warnings).toEqual([
        expect.stringMatching(/step-00000002 is damaged: [^\n]*state\.json[^\n]*; skipped$/),
      ]);
    }
    // A source that is a function of the step has no position.
    withSums(JSON.stringify({ ...whole, data: undefined, lossScale: { scale: 2 ** -24, steps: 1 } }));
    expect((await openCheckpoint(path)).state.step).toBe(2);
  });

  it('passes over a checkpoint of which any file was cut, lengthened, changed or deleted', async () => {
    await save(1);
    const older = join(directory, 'step-00000001');
    const damages = {
      cut: (path: string, at: number) => truncateSync(path, Math.floor(readFileSync(path).length * at)),
      lengthen: (path: string) => appendFileSync(path, '\0'),
      change: (path: string, at: number) => {
        const bytes = readFileSync(path);
        bytes[Math.floor(bytes.length * at)] ^= 1;
        writeFileSync(path, bytes);
      },
      remove: (path: string) => rmSync(path),
    };
    const kinds = fc.constantFrom(...(Object.keys(damages) as (keyof typeof damages)[]));
    const positions = fc.double({ min: 0, max: 0.999, noNaN: true });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...FILES), kinds, positions, async (file, kind, at) => {
        // A byte more after the sums changes nothing they say.
        fc.pre(!(file === FILES[1] && kind === 'lengthen'));
        const path = await save(2);
        damages[kind](join(path, file), at);
        const warnings: string[] = [];
        const found = await latestCheckpoint(directory, (warning) => warnings.push(warning));
        expect(found?.path).toBe(older);
        expect(warnings).toHaveLength(1);
        expect(warnings[0]).toMatch(/^checkpoint .*step-00000002 is damaged: .*; skipped$/);
      }),
      { numRuns: 20 },
    );
  });

  it('refuses to start over when all are damaged', async () => {
    for (const step of [1, 2]) truncateSync(join(await save(step), FILES[3]), 5);
    const warnings: string[] = [];
    await expect(latestCheckpoint(directory, (warning) => warnings.push(warning))).rejects.toThrow(
      `checkpoints: none of 2 in ${directory} is complete`,
    );
    expect(warnings).toHaveLength(2);
  });

  it('ignores files that users add', async () => {
    const path = await save(1);
    writeFileSync(join(path, 'notes.txt'), 'good one');
    expect((await latestCheckpoint(directory))?.path).toBe(path);
  });
});

describe('readOptimizerTensors', () => {
  it('refuses tensors of other names or shapes', async () => {
    const path = await save(1);
    const load = (name: string, shape: number[]) =>
      readOptimizerTensors(path, [{ name, shape }], () => expect.fail('taken'));
    await expect(load('exp_avg.w', [4])).rejects.toThrow(ResumeMismatchError);
    await expect(load('exp_avg.w', [4])).rejects.toThrow('needs exp_avg.w F32 [4] where');
    await expect(load('exp_avg.v', [3])).rejects.toThrow('has exp_avg.w F32 [3]');
    await expect(readOptimizerTensors(path, [], () => {})).rejects.toThrow('needs nothing where');
  });

  it('refuses tensors of another format, and NaN', async () => {
    const path = await save(1);
    const write = (dtype: 'F32' | 'F16', data: Uint8Array) =>
      writeSafetensors(join(path, 'trainer/optimizer.safetensors'), [
        ['exp_avg.w', { dtype, shape: [3], data }],
      ]);
    const load = () =>
      readOptimizerTensors(path, [{ name: 'exp_avg.w', shape: [3] }], () => expect.fail('taken'));
    await write('F16', new Uint8Array(6));
    await expect(load()).rejects.toThrow('has exp_avg.w F16 [3]');
    await write('F32', new Uint8Array(Float32Array.of(1, Number.NaN, 0).buffer));
    await expect(load()).rejects.toThrow(/exp_avg\.w of the optimizer holds NaN/);
  });
});

describe('tidyCheckpoints', () => {
  it('deletes leftovers of crashes and sets later checkpoints aside', async () => {
    for (const step of [1, 2, 3]) await save(step);
    for (const name of ['.step-00000009.partial', '.step-00000001.deleted']) {
      mkdirSync(join(directory, name, 'trainer'), { recursive: true });
      writeFileSync(join(directory, name, 'config.json'), '{}');
    }
    expect(await tidyCheckpoints(directory, 1)).toEqual(['step-00000003', 'step-00000002']);
    const after = ['step-00000001', 'step-00000002.set-aside', 'step-00000003.set-aside'];
    expect(readdirSync(directory).sort()).toEqual(after);
    expect((await latestCheckpoint(directory))?.state.step).toBe(1);
    expect(existsSync(join(directory, after[1], 'trainer', 'state.json'))).toBe(true);
  });
});
