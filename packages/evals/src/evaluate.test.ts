import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { mean } from './aggregation.ts';
import type { Answer, AnswerStore } from './answers.ts';
import { EvalsError } from './error.ts';
import { type EvaluateProgress, evaluate } from './evaluate.ts';
import type { Generation, Score, ScoreRequest } from './language-model.ts';
import type { ItemRequests, Task, TaskItem } from './task.ts';
import { functionModel } from './testing.ts';

/** −(sum of all ids), which identifies the request. */
const sumModel = () =>
  functionModel(({ context, continuation }) => ({
    logLikelihood: -[...context, ...continuation].reduce((sum, id) => sum + id, 0),
    isGreedy: false,
  }));

/** A task whose items ask the given requests and measure the sum of the answers. */
function taskOf(items: (Pick<TaskItem, 'ask'> & Partial<TaskItem>)[], numItems?: number): Task {
  return {
    name: 'sums',
    version: 1,
    metrics: [{ name: 'sum', higherIsBetter: true, aggregation: mean }],
    config: {},
    numItems,
    *items() {
      for (const [index, item] of items.entries()) {
        yield {
          id: String(index),
          shown: {},
          measure: (answers) => ({
            sum: {
              value: (answers as readonly Score[]).reduce((sum, score) => sum + score.logLikelihood, 0),
            },
          }),
          ...item,
        };
      }
    },
  };
}

const score = (...requests: ScoreRequest[]): ItemRequests => ({ kind: 'score', requests });

/** Keeps answers in memory, and counts. */
function memoryStore(): AnswerStore & { answers: Map<string, Answer> } {
  const answers = new Map<string, Answer>();
  return {
    answers,
    get: async (keys) => keys.map((key) => answers.get(key)),
    async put(entries) {
      for (const { key, answer } of entries) {
        expect(answers.has(key)).toBe(false);
        answers.set(key, answer);
      }
    },
  };
}

const id = fc.integer({ min: 3, max: 9 });
const anyRequest = fc.record({
  // Up to 9,000 tokens, so that there are several calls of 32,768.
  context: fc
    .tuple(fc.integer({ min: 1, max: 3000 }), id)
    .map(([n, id]) => new Array<number>(n * 3).fill(id)),
  continuation: fc.array(id, { minLength: 1, maxLength: 3 }),
});
const anyItems = fc.array(
  fc.oneof(
    fc.array(anyRequest, { minLength: 1, maxLength: 4 }).map((requests) => ({ ask: score(...requests) })),
    fc.constant({ ask: { kind: 'skip', reason: 'too long' } as const }),
  ),
  { maxLength: 12 },
);

describe('evaluate', () => {
  test('gives every item the answers to its own requests, in any order of calls', async () => {
    await fc.assert(
      fc.asyncProperty(anyItems, async (items) => {
        const model = sumModel();
        const { samples, skipped } = await evaluate(taskOf(items), model);
        expect(samples.length + skipped.length).toBe(items.length);
        for (const { id, measured } of samples) {
          const { ask } = items[Number(id)];
          const requests = ask.kind === 'score' ? ask.requests : [];
          const sum = requests.flatMap(({ context, continuation }) => [...context, ...continuation]);
          expect(measured.sum.value).toBe(-sum.reduce((a, b) => a + b, 0));
        }
        // Each request once; within a call, longest contexts first.
        const asked = model.calls.flat().map((request) => JSON.stringify(request));
        expect(new Set(asked).size).toBe(asked.length);
      }),
      { numRuns: 15 },
    );
  });

  test('interrupted at any call and resumed, sends every call exactly once', async () => {
    await fc.assert(
      fc.asyncProperty(anyItems, fc.nat({ max: 4 }), async (items, numCalls) => {
        const task = taskOf(items);
        const whole = sumModel();
        const expected = await evaluate(task, whole);
        const store = memoryStore();
        const first = sumModel();
        const stop = new AbortController();
        const interrupted = evaluate(
          task,
          {
            ...first,
            score(requests, options) {
              if (first.calls.length === numCalls) stop.abort(new Error('stopped'));
              return first.score!(requests, options);
            },
          },
          { store, signal: stop.signal },
        );
        await interrupted.catch((error) => expect(error.message).toBe('stopped'));
        const second = sumModel();
        expect(await evaluate(task, second, { store })).toEqual(expected);
        expect([...first.calls, ...second.calls]).toEqual(whole.calls);
        const third = sumModel();
        expect(await evaluate(task, third, { store })).toEqual(expected);
        expect(third.calls).toEqual([]);
      }),
      { numRuns: 15 },
    );
  });

  test('names the method that a model lacks', async () => {
    const { generate: _, ...model } = sumModel();
    const items = [{ ask: score({ context: [1], continuation: [5] }) }];
    expect((await evaluate(taskOf(items), model)).samples).toHaveLength(1);
    const { score: __, ...mute } = sumModel();
    await expect(evaluate(taskOf(items), mute)).rejects.toThrow(
      `${mute.name}: the model lacks the method score, which the task needs`,
    );
  });

  test('sends the longest first, and requests with the same context together', async () => {
    const [short, long] = [[1], [1, 2, 3]];
    const requests = [
      { context: short, continuation: [5] },
      { context: long, continuation: [5] },
      { context: short, continuation: [6] },
      { context: long, continuation: [6, 7] },
    ];
    const model = sumModel();
    await evaluate(taskOf(requests.map((request) => ({ ask: score(request) }))), model);
    expect(model.calls).toEqual([[requests[1], requests[3], requests[0], requests[2]]]);
  });

  test('plans about a million tokens at a time', async () => {
    const requests = [1, 2, 3].map((n) => ({ context: new Array(400_000 * n).fill(n), continuation: [1] }));
    const model = sumModel();
    const { samples } = await evaluate(taskOf(requests.map((request) => ({ ask: score(request) }))), model);
    expect(samples.map(({ measured }) => measured.sum.value)).toEqual([-400_001, -1_600_001, -3_600_001]);
    // The first two make a slice, its longer one first.
    expect(model.calls.map(([{ context }]) => context[0])).toEqual([2, 1, 3]);
  });

  test('separates answers of different fingerprints', async () => {
    const store = memoryStore();
    const task = taskOf([{ ask: score({ context: [1], continuation: [2] }) }]);
    await evaluate(task, sumModel(), { store });
    const other = { ...sumModel(), fingerprint: 'other' };
    await evaluate(task, other, { store });
    expect(store.answers.size).toBe(2);
  });

  test('generates texts; the seed matters only with a temperature', async () => {
    const store = memoryStore();
    const ask = (seed: number, temperature: number): Pick<TaskItem, 'ask' | 'measure'> => ({
      ask: { kind: 'generate', requests: [{ prompt: [100, 101], maxNewTokens: 1, seed, temperature }] },
      measure: (answers) => ({ sum: { value: (answers as readonly Generation[])[0].text.length } }),
    });
    const items = [ask(1, 0), ask(2, 0), ask(1, 0.5), ask(2, 0.5)];
    const { results } = await evaluate(taskOf(items), sumModel(), { store });
    expect(results.sum).toEqual({ value: 1, standardError: 0, numItems: 4 });
    expect(store.answers.size).toBe(3);
  });

  test('summarizes by group, with skipped rows and reasons', async () => {
    const one = score({ context: [1], continuation: [1] });
    const task = taskOf([
      { ask: one, groups: { length: 4096, depth: 0 } },
      { ask: one, groups: { length: 4096, depth: 50 }, measure: () => ({ sum: { value: 2 } }) },
      { ask: { kind: 'skip', reason: 'too long' }, groups: { length: 8192, depth: 50 } },
      { ask: one, measure: () => ({}) },
    ]);
    const result = await evaluate(task, sumModel());
    expect(result.groups).toEqual({
      length: [
        { value: 4096, numSkipped: 0, results: { sum: { value: 0, standardError: 2, numItems: 2 } } },
        { value: 8192, numSkipped: 1, results: {} },
      ],
      depth: [
        { value: 0, numSkipped: 0, results: { sum: { value: -2, numItems: 1 } } },
        { value: 50, numSkipped: 1, results: { sum: { value: 2, numItems: 1 } } },
      ],
    });
    expect(result.skipped).toEqual([{ id: '2', groups: { length: 8192, depth: 50 }, reason: 'too long' }]);
    expect(JSON.parse(JSON.stringify(result))).toEqual(result);
  });

  test('evaluates selected rows, and refuses missing ones', async () => {
    const task = taskOf(
      Array.from({ length: 5 }, () => ({ ask: score({ context: [1], continuation: [1] }) })),
      5,
    );
    const ids = async (options: object) =>
      (await evaluate(task, sumModel(), options)).samples.map(({ id }) => id);
    expect(await ids({ limit: 2 })).toEqual(['0', '1']);
    expect(await ids({ limit: 9 })).toHaveLength(5);
    expect(await ids({ samples: [3, 1, 3] })).toEqual(['1', '3']);
    await expect(ids({ samples: [1, 7] })).rejects.toThrow('got 7');
    await expect(ids({ limit: 0 })).rejects.toThrow(EvalsError);
    await expect(ids({ limit: 1, samples: [1] })).rejects.toThrow(EvalsError);
    expect((await evaluate(task, sumModel(), { limit: 2 })).numRows).toBe(5);
  });

  test('reports its progress', async () => {
    const long = (id: number) => ({ context: new Array<number>(20_000).fill(id), continuation: [1] });
    const items: Pick<TaskItem, 'ask'>[] = [
      { ask: score(long(3)) },
      { ask: { kind: 'skip', reason: '' } },
      { ask: score(long(4), long(3)) },
      { ask: score(long(3)) },
    ];
    const store = memoryStore();
    const seen: EvaluateProgress[] = [];
    const run = () =>
      evaluate(taskOf(items, 4), sumModel(), { store, onProgress: (progress) => seen.push(progress) });
    await run();
    // The third is done with its second answer.
    expect(seen).toEqual([
      { numItems: 3, totalItems: 4, numTokens: 20_001, numStored: 0 },
      { numItems: 4, totalItems: 4, numTokens: 40_002, numStored: 0 },
    ]);
    await run();
    expect(seen.at(-1)).toEqual({ numItems: 4, totalItems: 4, numTokens: 0, numStored: 2 });
  });

  test('refuses models that break their contract and tasks that repeat an id', async () => {
    const task = taskOf([{ ask: score({ context: [1], continuation: [1] }) }]);
    await expect(evaluate(task, { ...sumModel(), score: async () => [] })).rejects.toThrow(
      '0 answers, expected 1',
    );
    const broken = functionModel(() => ({ logLikelihood: Number.NaN, isGreedy: false }));
    await expect(evaluate(task, broken)).rejects.toThrow('a log-likelihood of NaN');
    const twice = taskOf([
      { ask: score(), id: 'a' },
      { ask: score(), id: 'a' },
    ]);
    await expect(evaluate(twice, sumModel())).rejects.toThrow('two rows have the same id a');
  });
});
