import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { generate, type Llama, loadLlama } from '@meap/llama-model';
import { setBackend } from '@meap/tensor-kernels';
import { loadTokenizer } from '@meap/token-dataset';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

// A checkpoint of a run, and the output of Hugging Face transformers; see the scripts in fixtures.
const fixtures = join(import.meta.dirname, '../fixtures');
const folder = join(fixtures, 'checkpoint');
const reference = JSON.parse(readFileSync(join(fixtures, 'transformers.json'), 'utf8'));

let model: Llama;
beforeAll(async () => {
  await setBackend('auto');
  model = await loadLlama(folder);
});
afterAll(() => model.dispose());

describe('a checkpoint in Hugging Face transformers', () => {
  it('has the same logits to 1e-4', async () => {
    const { ids, logits } = reference;
    const computed = tf.tidy(() => model.logits(tf.tensor2d([ids], [1, ids.length], 'int32')).dataSync());
    const expected = logits.flat();
    expect(computed).toHaveLength(expected.length);
    for (let i = 0; i < expected.length; i++) expect(Math.abs(computed[i] - expected[i])).toBeLessThan(1e-4);
  });

  it('has the same greedy continuation and ends where it does', async () => {
    const { ids, greedy } = reference;
    const fresh: number[] = [];
    for await (const id of generate(model, ids.slice(0, 8), { maxNewTokens: 12 })) fresh.push(id);
    expect([...ids.slice(0, 8), ...fresh]).toEqual(greedy);
  });

  it('has the same tokens, special ones included', async () => {
    const tokenizer = loadTokenizer(folder);
    const { bosTokenId, eosTokenId, maskTokenId } = tokenizer;
    expect([...(await tokenizer.encode(reference.text))]).toEqual(reference.ids);
    expect(await tokenizer.decode(reference.ids)).toBe(reference.decoded);
    expect({ bos: bosTokenId, eos: eosTokenId, mask: maskTokenId }).toEqual({
      bos: reference.special.bos[1],
      eos: reference.special.eos[1],
      mask: reference.special.mask[1],
    });
    expect(reference.generation).toEqual({ bos: bosTokenId, eos: eosTokenId });
  });
});
