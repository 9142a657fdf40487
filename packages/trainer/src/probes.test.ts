import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { tinyLoss, tinyOptions, tinyParameters } from '../fixtures/tiny-run.mjs';
import { RunExistsError } from './errors.ts';
import * as trainer from './index.ts';
import { isDue } from './intervals.ts';
import type { Probe } from './probes.ts';
import type { TrainEvent } from './types.ts';

const root = mkdtempSync(join(tmpdir(), 'meap-probes-'));
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

async function run(overrides: Overrides = {}) {
  const parameters = tinyParameters();
  const events: TrainEvent[] = [];
  try {
    const options = tinyOptions(trainer, parameters, directory, {
      probes: probesOf(parameters),
      onEvent: (event) => events.push(event),
      checkpoint: { every: 50 },
      ...overrides,
    });
    return { result: await trainer.train(options), events };
  } finally {
    tf.dispose([...parameters.values()]);
  }
}

/** Probes that depend on the weights, so that a measurement of other weights is noticed. */
function probesOf(parameters: Map<string, tf.Variable>, onMeasure: (step: number) => void = () => {}) {
  const normOf = (name: string) => tf.tidy(() => parameters.get(name)!.norm().dataSync()[0]);
  const head: Probe = {
    every: 3,
    measure: async ({ step }) => {
      await new Promise(setImmediate);
      onMeasure(step);
      return { norm: normOf('head.weight'), step };
    },
  };
  const embed: Probe = { every: { perDoubling: 1 }, measure: () => ({ norm: normOf('embed.weight') }) };
  return { head, embed };
}

type Line = { step: number; probes?: Record<string, number>; seconds?: number; valLoss?: number };

function lines(): Line[] {
  const text = readFileSync(join(directory, 'metrics.jsonl'), 'utf8');
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

/** What must be equal between two runs. */
function exact() {
  return lines().map(({ step, probes, valLoss }) => ({ step, probes, valLoss }));
}

/** Steps at which each value was measured. */
function stepsOf(value: string): number[] {
  return lines().flatMap(({ step, probes }) => (probes && value in probes ? [step] : []));
}

describe('probes', () => {
  it('are measured at the start, when due and after the last step', async () => {
    const { events } = await run({ steps: 11, probes: undefined });
    expect(events.some(({ type }) => type === 'probe')).toBe(false);
    rmSync(directory, { recursive: true });
    const probed = await run({ steps: 11 });
    expect(stepsOf('head/norm')).toEqual([0, 3, 6, 9, 11]);
    expect(stepsOf('embed/norm')).toEqual([0, 1, 2, 4, 8, 11]);
    for (const { step, probes } of lines()) if (probes?.['head/step']) expect(probes['head/step']).toBe(step);
    const shown = probed.events.filter((event) => event.type === 'probe');
    expect(shown.map(({ type, ...line }) => line)).toEqual(lines().filter(({ probes }) => probes));
    expect(shown[0]).toMatchObject({ step: 0, tokens: 0, seconds: expect.any(Number) });
  });

  it('change nothing else', async () => {
    const losses = ({ events }: Awaited<ReturnType<typeof run>>) =>
      events.flatMap((event) => (event.type === 'step' ? [event.loss] : []));
    const plain = losses(await run({ probes: {} }));
    directory += '-probed';
    expect(losses(await run())).toEqual(plain);
  });

  it('log what is not finite as null', async () => {
    await run({
      probes: { odd: { every: 5, measure: () => ({ nan: Number.NaN, big: Number.POSITIVE_INFINITY }) } },
    });
    expect(lines()[0].probes).toEqual({ 'odd/nan': null, 'odd/big': null });
  });

  it('are the same lines after an interruption', async () => {
    await run();
    const whole = exact();
    for (const stopAt of [3, 4, 12]) {
      directory = join(root, String(count++));
      const abort = new AbortController();
      const parameters = tinyParameters();
      // During a measurement, or after a step.
      const probes = probesOf(parameters, (step) => step === stopAt && abort.abort());
      const onEvent = (event: TrainEvent) => {
        if (event.type === 'step' && event.step === stopAt) abort.abort();
      };
      const options = tinyOptions(trainer, parameters, directory, {
        ...{ probes, onEvent, signal: abort.signal },
        checkpoint: { every: 50 },
      });
      await trainer.train(options);
      tf.dispose([...parameters.values()]);
      const { result } = await run();
      expect(result.status).toBe('finished');
      expect(exact()).toEqual(whole);
    }
  });

  it('are measured again after an abort that they heed', async () => {
    await run();
    const whole = exact();
    directory += '-aborted';
    const abort = new AbortController();
    const parameters = tinyParameters();
    const probes = probesOf(parameters, (step) => {
      if (step !== 6) return;
      abort.abort();
      throw abort.signal.reason;
    });
    const options = tinyOptions(trainer, parameters, directory, { probes, signal: abort.signal });
    expect(await trainer.train(options)).toMatchObject({ status: 'stopped', step: 6 });
    tf.dispose([...parameters.values()]);
    expect(stepsOf('head/norm')).toEqual([0, 3]);
    await run();
    expect(exact()).toEqual(whole);
  });

  it('at step 0 are not logged twice when a run without a checkpoint starts again', async () => {
    const failing: Probe = {
      every: 1,
      measure: ({ step }) => {
        if (step === 1) throw new Error('stops here');
        return { x: step };
      },
    };
    await expect(run({ probes: { failing } })).rejects.toThrow('stops here');
    expect(stepsOf('failing/x')).toEqual([0]);
    await run();
    expect(stepsOf('failing/x')).toEqual([]);
    expect(stepsOf('head/norm')).toEqual([0, 3, 6, 9, 12]);
  });
});

describe('stopWhen', () => {
  const rising: Probe = { every: 2, measure: ({ step }) => ({ x: step === 4 ? 0 : step }) };
  const other: Probe = { every: 100, measure: () => ({ y: 1 }) };
  const probes = { rising, other };
  const stopWhen = [{ value: 'rising/x', atLeast: 2, times: 2 }];

  it('ends the run as finished, with everything that the last step has', async () => {
    const { result, events } = await run({ probes, stopWhen });
    // 2 counts once, 4 starts again, 6 and 8 are two in a row.
    const reason = 'rising/x is 8.000, at least 2 in 2 measurements in a row';
    expect(result).toMatchObject({ status: 'finished', step: 8, stopReason: reason });
    expect(result.checkpoint).toMatch(/step-00000008$/);
    expect(events).toContainEqual({ type: 'stop', step: 8, reason });
    expect(stepsOf('other/y')).toEqual([0, 8]);
    expect(lines().findLast(({ valLoss }) => valLoss)?.step).toBe(8);
    expect(readFileSync(join(directory, 'samples.jsonl'), 'utf8')).toContain('after 8');
  });

  it('counts across a resume, and a run that it ended stays finished', async () => {
    await run({ probes, stopWhen });
    const whole = exact();
    directory = join(root, String(count++));
    await run({ probes, stopWhen, steps: 6 });
    const resumed = await run({ probes, stopWhen });
    expect(resumed.result).toMatchObject({ status: 'finished', step: 8 });
    // The first part ended at 6 with its last measurements.
    const isOfEnd = ({ step }: { step: number }) => step === 6;
    expect(exact().filter((line) => !isOfEnd(line))).toEqual(whole.filter((line) => !isOfEnd(line)));
    const again = await run({ probes, stopWhen });
    expect(again.result).toEqual({ ...resumed.result, stopReason: resumed.result.stopReason });
    expect(again.events.some(({ type }) => type === 'step')).toBe(false);
  });

  it('reads the validation', async () => {
    const { result } = await run({ stopWhen: [{ value: 'valLoss', atMost: 100 }] });
    expect(result).toMatchObject({ status: 'finished', step: 4 });
    expect(stepsOf('head/norm')).toEqual([0, 3, 4]);
  });

  it.each([
    [
      { value: 'none/x', atLeast: 1 },
      /stopWhen reads none\/x, expected one of valLoss, bitsPerByte, rising\/…, other/,
    ],
    [{ value: 'loss', atLeast: 1 }, /stopWhen reads loss, expected/],
    [{ value: 'rising/x' }, /has atLeast undefined and atMost undefined, expected a number in one/],
    [{ value: 'rising/x', atLeast: 1, atMost: 2 }, /expected a number in one/],
    [{ value: 'rising/x', atLeast: 1, times: 0 }, /times 0, expected an integer from 1/],
    [{ value: 'rising/z', atLeast: 1 }, /stopWhen reads rising\/z, expected one of rising\/x/],
  ])('refuses %o', async (rule, message) => {
    await expect(run({ probes, stopWhen: [rule] })).rejects.toThrow(message);
  });
});

it.each([
  [{ 'a/b': { every: 1, measure: () => ({}) } }, /a probe is named "a\/b"/],
  [{ a: { every: 0, measure: () => ({}) } }, /probes\.a\.every is 0, expected an integer from 1/],
  [{ a: { every: { tokens: 0.5 }, measure: () => ({}) } }, /probes\.a\.every\.tokens is 0\.5/],
  [{ a: { every: 1, measure: () => ({ x: 'y' }) } }, /probe a measured x as y, expected a number/],
])('refuses the probes %o', async (probes, message) => {
  await expect(run({ probes: probes as unknown as Record<string, Probe> })).rejects.toThrow(message);
});

it('counts intervals in tokens, and in points per doubling', () => {
  const due = (interval: trainer.Interval, stepTokens: number, steps: number) =>
    Array.from({ length: steps + 1 }, (_, step) => step).filter((step) =>
      isDue(interval, { step, tokens: step * stepTokens, stepTokens }),
    );
  expect(due({ tokens: 100 }, 30, 14)).toEqual([4, 7, 10, 14]);
  // Steps longer than the interval are each due.
  expect(due({ tokens: 10 }, 30, 3)).toEqual([1, 2, 3]);
  expect(due({ perDoubling: 1 }, 1, 70)).toEqual([1, 2, 4, 8, 16, 32, 64]);
  const points = new Set(Array.from({ length: 40 }, (_, i) => Math.round(2 ** (i / 3))));
  expect(due({ perDoubling: 3 }, 1, 5000)).toEqual([...points].filter((step) => step <= 5000));
  expect(due(7, 1, 20)).toEqual([7, 14]);
});

it('saves nothing without checkpoint options', async () => {
  const { result, events } = await run({ checkpoint: null, steps: 4 });
  expect(result).toEqual({ status: 'finished', step: 4, tokens: 64 });
  expect(events.some(({ type }) => type === 'checkpoint')).toBe(false);
  expect(existsSync(join(directory, 'checkpoints'))).toBe(false);
  expect(readdirSync(directory)).toContain('metrics.jsonl');
  await expect(run({ checkpoint: null })).rejects.toThrow(RunExistsError);
});

it('validates data without bytes, and samples by tokens', async () => {
  const parameters = tinyParameters();
  const loss = tinyLoss(parameters);
  const options = tinyOptions(trainer, parameters, directory, { steps: 6 });
  const { batches } = options.validation;
  await trainer.train({
    ...options,
    validation: { every: { tokens: 48 }, batches, loss },
    samples: { every: { tokens: 32 }, generate: () => [{ text: 'x' }] },
  });
  tf.dispose([...parameters.values()]);
  expect(lines().flatMap((line) => ('valLoss' in line ? [[line.step, 'bitsPerByte' in line]] : []))).toEqual([
    [3, false],
    [6, false],
  ]);
  expect(readFileSync(join(directory, 'samples.jsonl'), 'utf8').match(/"step":\d+/g)).toEqual(
    [2, 4, 6].map((step) => `"step":${step}`),
  );
});
