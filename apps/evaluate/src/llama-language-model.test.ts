import type { ScoreRequest } from '@meap/evals';
import { type Llama, loadLlama } from '@meap/llama-model';
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type OpenLanguageModel, openLanguageModel } from './llama-language-model.ts';
import { tinyModel } from './testing.ts';

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

/** One request at a time, from logits of the whole sequence: what every faster way has to equal. */
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

/** Requests of which several share a context. */
const requestLists = fc
  .array(fc.tuple(ids(40), fc.array(ids(12), { minLength: 1, maxLength: 5 })), { minLength: 1, maxLength: 6 })
  .map((groups) =>
    groups.flatMap(([context, continuations]) =>
      continuations.map((continuation) => ({ context, continuation })),
    ),
  );

describe('score', () => {
  it('equals logits of one request at a time', async () => {
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
});
