import { fileURLToPath } from 'node:url';
import { evaluate } from '@meap/evals';
import { openLanguageModel } from '@meap/inference';
import { loadLlama } from '@meap/llama-model';
import { parseConfig, Refusals } from '@meap/recipe-cli';
import { loadTokenizer } from '@meap/token-dataset';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { makeTasks } from './make-tasks.ts';
import { checkProbes, openProbes, probesSection, stopWhenSection } from './probes.ts';
import { familySections } from './sections.ts';

const schema = z.strictObject({ probes: probesSection(), stop_when: stopWhenSection() });

function parse(probes: unknown, stop_when: unknown = []) {
  const config = parseConfig(schema, { probes, stop_when });
  const refusals = new Refusals();
  checkProbes(config, refusals);
  refusals.throwIfAny();
  return config;
}

describe('a recipe', () => {
  it.each([
    [{ inducton: {} }, 'probes.inducton: got "inducton", expected a task .*; did you mean induction?'],
    [{ x: { task: 'nia' } }, 'probes.x.task: got "nia", expected a task .*; did you mean niah?'],
    [{ induction: { every: 1, per_doubling: 1 } }, 'expected one of every, every_tokens, per_doubling'],
    [{ induction: { every: 0 } }, 'probes.induction.every: got 0, expected a whole number above 0'],
    [{ induction: { lenght: 3 } }, 'probes.induction.lenght: unknown key'],
    [{ induction: { induction: { lenght: 3 } } }, 'lenght: unknown key; did you mean length?'],
    [{ 'a/b': { task: 'induction' } }, 'expected a name without /'],
    [
      { induction: { key_value_recall: { rows: 3 } } },
      'probes.induction.key_value_recall: got .*, expected none with task induction, whose settings are induction',
    ],
    [
      { key_value_recall: { key_value_recall: { pairs: [1] } } },
      'probes.key_value_recall.key_value_recall.pairs: got \\[1\\], expected whole numbers from 2',
    ],
  ])('%j is refused', (probes, message) => {
    expect(() => parse(probes)).toThrow(new RegExp(message));
  });

  it.each([
    [
      [{ value: 'other/x', at_least: 1 }],
      'stop_when.0.value: got "other/x", expected one of valLoss, bitsPerByte, induction/METRIC',
    ],
    [[{ value: 'loss', at_least: 1 }], 'stop_when.0.value: got "loss"'],
    [[{ value: 'induction/gain' }], 'expected either at_least or at_most'],
    [[{ value: 'induction/gain', at_least: 1, times: 0 }], 'times: got 0'],
  ])('stop_when %j is refused', (stopWhen, message) => {
    expect(() => parse({ induction: {} }, stopWhen)).toThrow(message);
  });

  it('needs the data of its tasks', async () => {
    const { probes } = parse({ niah: {}, late_minus_early: {} });
    const model = { tokenizer: undefined as never, model: undefined as never };
    await expect(openProbes(probes, model)).rejects.toThrow(
      /probes\.niah\.data\.haystack: no data folder given.*--set probes\.niah\.data\.folder=DIR[\s\S]*probes\.late_minus_early\.data\.texts/,
    );
  });
});

describe('probes of a model', () => {
  const folder = fileURLToPath(new URL('../../../apps/pretrain/fixtures/checkpoint', import.meta.url));
  let opened: Awaited<ReturnType<typeof openLanguageModel>>;
  beforeAll(async () => {
    opened = await openLanguageModel({ model: folder });
  });
  afterAll(() => opened.dispose());

  /** Measures all probes once. */
  async function measured(section: unknown, rows?: number[][]) {
    const model = await loadLlama(folder);
    const tokenizer = loadTokenizer(folder);
    const { probes, dispose } = await openProbes(parse(section).probes, {
      model,
      tokenizer,
      heldOut: rows && (() => rows),
    });
    // Tables of the rotary embedding are kept from the first use on.
    for (const probe of Object.values(probes)) await probe.measure({ step: 0, tokens: 0 });
    const tensors = tf.memory().numTensors;
    const values: Record<string, Readonly<Record<string, number>>> = {};
    for (const [name, probe] of Object.entries(probes)) {
      values[name] = await probe.measure({ step: 0, tokens: 0 });
    }
    expect(tf.memory().numTensors).toBe(tensors);
    dispose();
    model.dispose();
    return { values, probes };
  }

  it('measure what meap-evaluate measures, also by group', async () => {
    const settings = { key_value_recall: { pairs: [2, 3], rows: 4 } };
    const { values, probes } = await measured({
      recall: { task: 'key_value_recall', every: 5, ...settings },
      induction: { every_tokens: 100, limit: 2, induction: { length: 4 } },
    });
    expect([probes.recall.every, probes.induction.every]).toEqual([5, { tokens: 100 }]);
    const [task] = await makeTasks({
      tasks: ['key_value_recall'],
      data: {},
      ...{ key_value_recall: familySections.key_value_recall.parse(settings.key_value_recall) },
    });
    const { results, groups } = await evaluate(task, opened);
    expect(values.recall).toMatchObject({ acc: results.acc.value, margin: results.margin.value });
    expect(values.recall['acc/pairs=3']).toBe(groups.pairs[1].results.acc.value);
    expect(Object.keys(values.recall)).toContain('margin/distance=2');
    expect(Object.keys(values.induction)).toEqual(['gain', 'acc', 'prefix_matching']);
    expect(values.induction.prefix_matching).toBeGreaterThan(0);
    expect(values.induction.prefix_matching).toBeLessThan(1);
  });

  it('read the held-out rows of the run', async () => {
    const rows = Array.from({ length: 20 }, (_, row) =>
      Array.from({ length: 30 }, (_, i) => (row * 7 + i * 3) % 250),
    );
    const { values, probes } = await measured({ late_minus_early: {} }, rows);
    expect(probes.late_minus_early.every).toEqual({ perDoubling: 2 });
    const { early, late, difference } = values.late_minus_early;
    expect(difference).toBeCloseTo(late - early, 12);
    // Sixteen rows by default.
    const { values: others } = await measured({ late_minus_early: {} }, rows.slice(0, 16));
    expect(others).toEqual(values);
  });

  it('refuses a task of which the model can read no row', async () => {
    await expect(measured({ induction: { induction: { length: 60 } } })).rejects.toThrow(
      'probes.induction: got no row of induction that the model can read, expected some: 120 tokens, the model reads 32',
    );
    await expect(measured({ induction: { induction: { length: 500 } } })).rejects.toThrow(
      'probes.induction: induction: needs 500 different tokens',
    );
  });
});
