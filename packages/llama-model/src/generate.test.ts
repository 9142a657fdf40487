import { setBackend } from '@meap/tensor-kernels';
import { expectNoLeaks } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { beforeEach, describe, expect, test } from 'vitest';
import { ContextLengthError, GenerateOptionError, TokenInputError } from './errors.ts';
import { type GenerateOptions, generate, KeyValueCache, type Llama, loadLlama } from './index.ts';
import { backends, collect, distance, expected, fixture, tokens } from './testing.ts';

const prompt = expected.ids[0];

/** Greedy ids without a cache: the whole row again for every token. */
function greedyUncached(model: Llama, numTokens: number): number[] {
  const ids = [...prompt];
  for (let i = 0; i < numTokens; i++) {
    const best = tf.tidy(
      () =>
        model
          .logits(tokens([ids]))
          .argMax(-1)
          .dataSync() as Int32Array,
    );
    ids.push(best[best.length - 1]);
  }
  return ids.slice(prompt.length);
}

describe.each(backends)('generate on %s', (backend) => {
  let model: Llama;
  const run = (options: GenerateOptions, ids: number[] = prompt) => collect(generate(model, ids, options));

  beforeEach(async () => {
    await setBackend(backend);
    model = await loadLlama(fixture);
    return () => model.dispose();
  });

  test('greedy ids are those of transformers, and of the model without a cache', async () => {
    const wanted = expected.greedy.slice(prompt.length);
    expect(await run({ maxNewTokens: wanted.length, stopIds: [] })).toEqual(wanted);
    expect(greedyUncached(model, wanted.length)).toEqual(wanted);
  });

  test('a cache gives the hidden states of the whole row, in pieces of any size and for several rows', () => {
    const whole = tf.tidy(() => model.hidden(tokens(expected.ids)).dataSync());
    for (const cuts of [
      [0, 1, 2, 16],
      [0, 9, 16],
      [0, 15, 16],
    ]) {
      const caches = expected.ids.map(() => new KeyValueCache());
      const joined = tf.tidy(() => {
        const parts = cuts.slice(1).map((end, i) => {
          const rows = expected.ids.map((row) => row.slice(cuts[i], end));
          return model.hidden(tokens(rows), { cache: caches });
        });
        return tf.concat(parts, 1).dataSync();
      });
      expect(distance(joined, whole)).toBeLessThan(1e-5);
      for (const cache of caches) {
        expect(cache.length).toBe(16);
        cache.dispose();
      }
    }
  });

  test('a failed forward pass leaves the cache unchanged', () => {
    const cache = new KeyValueCache();
    tf.tidy(() => {
      model.hidden(tokens([prompt]), { cache });
      expect(() => model.hidden(tokens([[1], [2]]), { cache })).toThrow();
      expect(() => model.hidden(tokens([[1]]), { cache, segmentIds: tokens([[0]]) })).toThrow(
        TokenInputError,
      );
      expect(cache.length).toBe(prompt.length);
      const next = model.hidden(tokens([[5]]), { cache }).dataSync();
      const whole = model.hidden(tokens([[...prompt, 5]])).dataSync();
      expect(distance(next, whole.slice(-next.length))).toBeLessThan(1e-5);
    });
    cache.dispose();
  });

  test('the text is a function of the seed', async () => {
    const options = { maxNewTokens: 20, temperature: 1.5, topK: 40, topP: 0.95, stopIds: [] };
    const first = await run({ ...options, seed: 1 });
    expect(await run({ ...options, seed: 1 })).toEqual(first);
    expect(await run({ ...options, seed: 2 })).not.toEqual(first);
    expect(first).toHaveLength(20);
  });

  test('a stop id is yielded and ends the text', async () => {
    const wanted = expected.greedy.slice(prompt.length);
    const stop = wanted[4];
    const ids = await run({ maxNewTokens: 12, stopIds: [stop] });
    expect(ids).toEqual(wanted.slice(0, wanted.indexOf(stop) + 1));
  });

  test('fills the context by default, and refuses to exceed it', async () => {
    expect(await run({ stopIds: [] })).toHaveLength(64 - prompt.length);
    expect(await run({ maxNewTokens: 0 })).toEqual([]);
    await expect(run({ maxNewTokens: 49 })).rejects.toThrow(ContextLengthError);
    await expect(run({}, new Array(65).fill(1))).rejects.toThrow(/65 tokens .* exceed the context of 64/);
  });

  test('refuses invalid options and ids', async () => {
    await expect(run({}, [])).rejects.toThrow(/expected at least one/);
    await expect(run({ maxNewTokens: 1.5 })).rejects.toThrow(GenerateOptionError);
    await expect(run({ maxNewTokens: -1 })).rejects.toThrow(GenerateOptionError);
    await expect(run({ topK: 0 })).rejects.toThrow(GenerateOptionError);
    await expect(run({}, [96])).rejects.toThrow(TokenInputError);
  });

  test('leaks no tensor, also when the loop is left early', async () => {
    await expectNoLeaks(() => run({ maxNewTokens: 5, stopIds: [] }));
    const leaveEarly = async () => {
      for await (const id of generate(model, prompt, { stopIds: [] })) {
        expect(id).toBeGreaterThanOrEqual(0);
        break;
      }
    };
    await expectNoLeaks(leaveEarly);
  });
});
