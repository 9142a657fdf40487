import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ScoreRequest } from '@meap/evals';
import { generate, type Llama, loadLlama } from '@meap/llama-model';
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type OpenLanguageModel, openLanguageModel } from './language-model.ts';
import { dataPath, storiesModel, tinyModel } from './testing.ts';

let model: OpenLanguageModel;
let plain: Llama;
beforeAll(async () => {
  model = await openLanguageModel({ model: tinyModel });
  plain = await loadLlama(tinyModel);
});
afterAll(() => {
  model.dispose();
  plain.dispose();
});

/** The reference: one request at a time, from the logits of the whole sequence. */
function plainScore({ context, continuation }: ScoreRequest) {
  const kept = [...context, ...continuation].slice(-(model.contextLength + 1));
  return tf.tidy(() => {
    const logits_TV = plain.logits(tf.tensor2d([kept.slice(0, -1)], undefined, 'int32')).squeeze([0]);
    const logProbabilities = tf.logSoftmax(logits_TV).arraySync() as number[][];
    const scored = logProbabilities.slice(-continuation.length);
    return {
      logLikelihood: continuation.reduce((sum, id, i) => sum + scored[i][id], 0),
      isGreedy: continuation.every((id, i) => Math.max(...scored[i]) === scored[i][id]),
    };
  });
}

const ids = (maxLength: number) => fc.array(fc.integer({ min: 0, max: 199 }), { minLength: 1, maxLength });

/** Requests, some of which share a context, or the start of their contexts. */
const requestLists = fc
  .array(fc.tuple(ids(40), fc.array(ids(12), { minLength: 1, maxLength: 5 })), { minLength: 1, maxLength: 6 })
  .chain((groups) => fc.tuple(fc.constant(groups), fc.oneof(fc.constant([]), ids(30))))
  .map(([groups, start]) =>
    groups.flatMap(([context, continuations]) =>
      continuations.map((continuation) => ({ context: [...start, ...context], continuation })),
    ),
  );

describe('score', () => {
  it('equals the logits of one request at a time', async () => {
    await fc.assert(
      fc.asyncProperty(requestLists, async (requests) => {
        const scores = await model.score(requests);
        for (const [i, request] of requests.entries()) {
          const expected = plainScore(request);
          expect(scores[i].logLikelihood).toBeCloseTo(expected.logLikelihood, 3);
          expect(scores[i].isGreedy).toBe(expected.isGreedy);
        }
      }),
      { numRuns: 30 },
    );
  });

  it('does not depend on the order of requests', async () => {
    const shuffled = requestLists.chain((requests) =>
      fc.tuple(
        fc.constant(requests),
        fc.shuffledSubarray([...requests.keys()], { minLength: requests.length }),
      ),
    );
    await fc.assert(
      fc.asyncProperty(shuffled, async ([requests, order]) => {
        const straight = await model.score(requests);
        const mixed = await model.score(order.map((i) => requests[i]));
        for (const [index, i] of order.entries()) {
          expect(mixed[index].logLikelihood).toBeCloseTo(straight[i].logLikelihood, 3);
          expect(mixed[index].isGreedy).toBe(straight[i].isGreedy);
        }
      }),
      { numRuns: 20 },
    );
  });

  it('refuses invalid requests', async () => {
    const long = Array.from({ length: 33 }, () => 5);
    await expect(model.score([{ context: [], continuation: [1] }])).rejects.toThrow(/0 tokens of context/);
    await expect(model.score([{ context: [1], continuation: [] }])).rejects.toThrow(/at least one of each/);
    await expect(model.score([{ context: [1], continuation: long }])).rejects.toThrow(
      /33 tokens, which exceeds/,
    );
  });

  it('can be aborted and leaks no tensors', async () => {
    const stop = new AbortController();
    stop.abort('enough');
    const requests = [{ context: [1], continuation: [2] }];
    await expect(model.score(requests, { signal: stop.signal })).rejects.toBe('enough');
    await expect(model.generate([{ prompt: [1], maxNewTokens: 5 }], { signal: stop.signal })).rejects.toBe(
      'enough',
    );
    await model.score(requests);
    const before = tf.memory().numTensors;
    await model.score(requests);
    await model.generate([{ prompt: [1], maxNewTokens: 5 }]);
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('generate', () => {
  const prompts = fc.array(ids(20), { minLength: 1, maxLength: 8 });

  it('equals generating one text at a time', async () => {
    await fc.assert(
      fc.asyncProperty(prompts, fc.constantFrom(0, 1), async (batch, temperature) => {
        const requests = batch.map((prompt, seed) => ({ prompt, maxNewTokens: 10, temperature, seed }));
        const answers = await model.generate(requests);
        for (const [i, { prompt, seed }] of requests.entries()) {
          const alone: number[] = [];
          for await (const id of generate(plain, prompt, { maxNewTokens: 10, temperature, seed })) {
            alone.push(id);
          }
          expect(answers[i].ids).toEqual(alone);
          expect(answers[i].finish).toBe(alone.at(-1) === 1 ? 'stop' : 'length');
        }
      }),
      { numRuns: 15 },
    );
  });

  it('ends at the first stop sequence and omits it', async () => {
    await fc.assert(
      fc.asyncProperty(ids(10), fc.nat(), fc.integer({ min: 1, max: 3 }), async (prompt, at, length) => {
        const [{ text }] = await model.generate([{ prompt, maxNewTokens: 20 }]);
        fc.pre(text.length > 0);
        const start = at % text.length;
        const stop = text.slice(start, start + length);
        const [stopped] = await model.generate([{ prompt, maxNewTokens: 20, stop: ['\u{10ffff}', stop] }]);
        expect(stopped.text).toBe(text.slice(0, text.indexOf(stop)));
        expect(stopped.finish).toBe('stop');
        const shorter = await model.tokenizer.decode(stopped.ids.slice(0, -1));
        expect(shorter).not.toContain(stop);
      }),
      { numRuns: 20 },
    );
  });

  it('accepts a request for no tokens', async () => {
    const [answer] = await model.generate([{ prompt: [5], maxNewTokens: 0 }]);
    expect(answer).toEqual({ text: '', ids: [], finish: 'length' });
  });
});

describe.skipIf(!storiesModel)('stories260K', () => {
  it('has the golden losses and the golden text', async () => {
    const stories = await openLanguageModel({ model: storiesModel! });
    try {
      const golden = JSON.parse(readFileSync(join(storiesModel!, 'golden.json'), 'utf8'));
      const texts = readFileSync(dataPath('text/tinystories_2MiB.txt')!, 'utf8').split('<|endoftext|>');
      const rows = golden.tinystories_loss.map(({ story_index }: { story_index: number }) => [
        stories.tokenizer.bosId!,
        ...stories.tokenizer.encode(texts[story_index].trim()),
      ]);
      const scores = await stories.score(
        rows.map((row: number[]) => ({ context: row.slice(0, 1), continuation: row.slice(1, 256) })),
      );
      for (const [i, { predicted_tokens, mean_nll }] of golden.tinystories_loss.entries()) {
        expect(-scores[i].logLikelihood / predicted_tokens).toBeCloseTo(mean_nll, 4);
      }
      const { prompt_ids, greedy_ids, prompt } = golden;
      const maxNewTokens = greedy_ids.length - prompt_ids.length;
      const [answer] = await stories.generate([{ prompt: prompt_ids, maxNewTokens }]);
      expect([...prompt_ids, ...answer.ids]).toEqual(greedy_ids);
      expect(stories.tokenizer.encode(prompt)).toEqual(prompt_ids.slice(1));
      expect(answer.text).toBe(stories.tokenizer.decode(answer.ids));
    } finally {
      stories.dispose();
    }
  });
});
