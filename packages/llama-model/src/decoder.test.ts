import { setBackend } from '@meap/tensor-kernels';
import { expectNoLeaks } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { ContextLengthError, GenerateOptionError, TokenInputError } from './errors.ts';
import { Decoder, type GenerateOptions, generate, type Llama, loadLlama } from './index.ts';
import { backends, collect, distance, expected, fixture, tokens } from './testing.ts';

const prompt = expected.ids[0];

describe.each(backends)('Decoder on %s', (backend) => {
  let model: Llama;

  beforeEach(async () => {
    await setBackend(backend);
    model = await loadLlama(fixture);
    return () => model.dispose();
  });

  test('texts of any start and length equal those generated alone', async () => {
    const request = fc.record({
      length: fc.integer({ min: 1, max: 16 }),
      maxNewTokens: fc.integer({ min: 1, max: 8 }),
      startStep: fc.integer({ min: 0, max: 6 }),
      temperature: fc.constantFrom(0, 1.3),
      seed: fc.integer({ min: 0, max: 5 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(request, { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 20 }),
        async (requests, promptTokensPerStep) => {
          const decoder = new Decoder(model, { promptTokensPerStep });
          const texts = new Map<number, { ids: readonly number[] }>();
          for (let step = 0; step <= 6 || decoder.size > 0; step++) {
            for (const [i, { length, startStep, ...options }] of requests.entries()) {
              if (startStep !== step) continue;
              texts.set(i, decoder.start(prompt.slice(0, length), { ...options, stopIds: [] }));
            }
            await decoder.step();
          }
          for (const [i, { length, startStep: _, ...options }] of requests.entries()) {
            const alone = generate(model, prompt.slice(0, length), { ...options, stopIds: [] });
            expect(texts.get(i)?.ids).toEqual(await collect(alone));
          }
        },
      ),
      { numRuns: 6 },
    );
  });

  test('returns the logits of each token', async () => {
    const decoder = new Decoder(model);
    const options: GenerateOptions = { maxNewTokens: 3, stopIds: [] };
    const texts = [decoder.start(prompt, options), decoder.start(prompt.slice(0, 5), options)];
    while (decoder.size > 0) {
      for (const { text, id, logits } of await decoder.step()) {
        const before = [...text.prompt, ...text.ids.slice(0, -1)];
        const whole = tf.tidy(() => model.logits(tokens([before])).dataSync());
        expect(distance(logits, whole.slice(-logits.length))).toBeLessThan(1e-4);
        expect(logits[id]).toBe(Math.max(...logits));
      }
    }
    expect(texts.map(({ finish }) => finish)).toEqual(['length', 'length']);
  });

  test('passes the hidden states of a prompt to onPrompt, piece by piece', async () => {
    const decoder = new Decoder(model, { promptTokensPerStep: 5 });
    const whole = tf.tidy(() => model.hidden(tokens([prompt])).dataSync());
    const starts: number[] = [];
    const onPrompt = (hidden: tf.Tensor2D, start: number) => {
      starts.push(start);
      const [T, E] = hidden.shape;
      expect(distance(hidden.dataSync(), whole.slice(start * E, (start + T) * E))).toBeLessThan(1e-5);
    };
    decoder.start(prompt, { maxNewTokens: 1, onPrompt });
    while (decoder.size > 0) await decoder.step();
    expect(starts).toEqual([0, 5, 10, 15]);
    starts.length = 0;
    decoder.start(prompt.slice(0, 1), { maxNewTokens: 1, onPrompt });
    await decoder.step();
    expect(starts).toEqual([0]);
  });

  test('a stop id ends a text, a stopped one gets no token, the others go on', async () => {
    const decoder = new Decoder(model);
    const wanted = expected.greedy.slice(prompt.length);
    const stopping = decoder.start(prompt, { maxNewTokens: 9, stopIds: [wanted[2]] });
    const dropped = decoder.start(prompt, { maxNewTokens: 9, stopIds: [] });
    const full = decoder.start(prompt, { maxNewTokens: 9, stopIds: [] });
    while (decoder.size > 0) {
      await decoder.step();
      if (full.ids.length === 2) decoder.stop(dropped);
    }
    expect(stopping.ids).toEqual(wanted.slice(0, wanted.indexOf(wanted[2]) + 1));
    expect(stopping.finish).toBe('stop');
    expect(dropped.ids.length).toBeLessThan(9);
    expect(dropped.finish).toBeUndefined();
    expect(full.ids).toEqual(wanted.slice(0, 9));
  });

  test('leaks no tensors, also if texts are stopped', async () => {
    await expectNoLeaks(async () => {
      const decoder = new Decoder(model, { promptTokensPerStep: 4 });
      decoder.start(prompt, { maxNewTokens: 3 });
      decoder.start(prompt.slice(0, 2), { maxNewTokens: 20, stopIds: [] });
      for (let i = 0; i < 6; i++) await decoder.step();
      decoder.dispose();
    });
  });

  test.each(['hidden', 'unembed'] as const)(
    'a %s that fails stops the texts it was for, and the others go on',
    async (pass) => {
      const options = { maxNewTokens: 4, stopIds: [] };
      const expectedIds = await collect(generate(model, prompt, options));
      await expectNoLeaks(async () => {
        const decoder = new Decoder(model, { promptTokensPerStep: 4 });
        const first = decoder.start(prompt.slice(0, 3), options);
        await decoder.step();
        // Its prompt is read whole in the step that fails, the long one's not even begun.
        const second = decoder.start(prompt.slice(0, 4), options);
        const third = decoder.start(prompt, options);
        const real = model[pass].bind(model) as (...args: unknown[]) => tf.Tensor2D;
        const spy = vi.spyOn(model, pass).mockImplementation(((...args: unknown[]) => {
          const [input] = args as [tf.Tensor];
          const isNext = pass === 'unembed' || input.shape[1] === 1;
          if (isNext) throw new Error('out of memory');
          return real(...args);
        }) as never);
        await expect(decoder.step()).rejects.toThrow('out of memory');
        spy.mockRestore();
        expect([first.ids.length, second.ids.length, decoder.size]).toEqual([1, 0, 1]);
        while (decoder.size > 0) await decoder.step();
        expect(third.ids).toEqual(expectedIds);
        expect([first.ids.length, second.ids.length]).toEqual([1, 0]);
      });
    },
  );

  test('refuses invalid texts, and stops one with an id outside the vocabulary', async () => {
    const decoder = new Decoder(model);
    expect(() => decoder.start([])).toThrow('expected at least one');
    expect(() => decoder.start(prompt, { maxNewTokens: 49 })).toThrow(ContextLengthError);
    expect(() => decoder.start(prompt, { temperature: -1 })).toThrow(GenerateOptionError);
    expect(() => new Decoder(model, { promptTokensPerStep: 0 })).toThrow(GenerateOptionError);
    const bad = decoder.start([1, 96], { maxNewTokens: 2 });
    await expect(decoder.step()).rejects.toThrow(TokenInputError);
    expect(bad.finish).toBeUndefined();
    expect(decoder.size).toBe(0);
  });
});
