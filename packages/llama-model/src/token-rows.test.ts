import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isStoredAsBfloat16, setBackend } from '@meap/tensor-kernels';
import { checkVariableGradients, expectNoLeaks } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { beforeEach, describe, expect, test } from 'vitest';
import { AdapterError } from './errors.ts';
import {
  addLora,
  generate,
  growVocabulary,
  KeyValueCache,
  type Llama,
  loadLlama,
  loadLora,
  mergeLora,
  removeLora,
  saveLlama,
  saveLora,
  unmergeLora,
} from './index.ts';
import { adapter, architecture, backends, collect, distance, gradients, logits, tokens } from './testing.ts';

// The head of the first is tied to its embeddings, that of the second is not.
const bases = ['llama-3.2', 'qwen2'];
const ROWS = 'model.embed_tokens.token_adapter.trainable_tokens_delta';
const TABLE = 'model.embed_tokens.weight';

/** Log-probabilities of each next token, all in one list. */
function logProbabilities(model: Llama, ids: number[][]): Float32Array {
  return tf
    .tidy(() => {
      const x_NE = model.hidden(tokens(ids)).reshape([-1, model.config.hidden_size]) as tf.Tensor2D;
      return model.logProbabilities(x_NE, tokens(ids).as1D()).logProbabilities.dataSync() as Float32Array;
    })
    .slice();
}

/** Makes learned rows others than the table's, as training would. */
function moveRows(model: Llama): void {
  const rows = model.adapter!.parameters.get(ROWS)!;
  tf.tidy(() => rows.assign(tf.add(rows, tf.randomNormal(rows.shape, 0, 0.1, 'float32', 5))));
}

describe.each(backends)('trained embeddings on %s', (backend) => {
  beforeEach(async () => {
    await setBackend(backend);
  });

  async function adapted(base: string) {
    const { directory, expected } = architecture(base);
    const model = await loadLlama(directory);
    const trainableTokens = [expected.ids[1][3], 79, expected.ids[0][5]];
    addLora(model, { rank: 2, seed: 1, trainableTokens });
    return { model, ids: expected.ids, trainableTokens };
  }

  test.each(bases)('change no bit of the results of %s before training', async (base) => {
    const { directory, expected } = architecture(base);
    const plain = await loadLlama(directory);
    const { model, ids } = await adapted(base);
    const { maxNewTokens, stopIds } = { maxNewTokens: 5, stopIds: [] };
    expect(distance(logits(model, ids), logits(plain, ids))).toBe(0);
    expect(distance(logProbabilities(model, ids), logProbabilities(plain, ids))).toBe(0);
    expect(gradients(model, ids, {}).loss).toBe(gradients(plain, ids, {}).loss);
    const texts = [model, plain].map((m) => collect(generate(m, expected.ids[0], { maxNewTokens, stopIds })));
    expect(await texts[0]).toEqual(await texts[1]);
    model.dispose();
    plain.dispose();
  });

  test.each(bases)('have the gradients of central differences on %s, masked losses too', async (base) => {
    const { model, ids } = await adapted(base);
    moveRows(model);
    const rows = model.adapter!.parameters.get(ROWS)!;
    const mask = ids.map((row) => row.map((_, t) => Number(t % 3 > 0)));
    const loss = () => model.loss(tokens(ids), tokens(ids.map((row) => row.toReversed())), tokens(mask)).sum;
    checkVariableGradients(loss, [rows]);
    model.dispose();
  });

  test.each(bases)('merge into %s and can be unmerged', async (base) => {
    const { model, ids, trainableTokens } = await adapted(base);
    moveRows(model);
    const beside = [logits(model, ids), logProbabilities(model, ids)];
    const table = model.parameters.get(TABLE)!;
    const before = table.dataSync().slice();
    const rows = model.adapter!.parameters.get(ROWS)!.dataSync().slice();
    mergeLora(model);
    const E = model.config.hidden_size;
    const merged = table.dataSync();
    trainableTokens.forEach((id, k) => {
      expect(merged.slice(id * E, (id + 1) * E)).toEqual(rows.slice(k * E, (k + 1) * E));
    });
    expect(distance(logits(model, ids), beside[0])).toBeLessThan(1e-5);
    expect(distance(logProbabilities(model, ids), beside[1])).toBeLessThan(1e-5);
    unmergeLora(model);
    expect(distance(table.dataSync(), before)).toBe(0);
    expect(distance(logits(model, ids), beside[0])).toBeLessThan(1e-5);
    removeLora(model);
    expect(distance(table.dataSync(), before)).toBe(0);
    model.dispose();
  });

  test('pass through packed rows and caches', async () => {
    const { model, ids } = await adapted('llama-3.2');
    moveRows(model);
    const [first, second] = [ids[0].slice(0, 7), ids[1].slice(0, 9)];
    const packed = tf.tidy(() =>
      model
        .logits(tokens([[...first, ...second]]), {
          segmentIds: tokens([[...first.map(() => 0), ...second.map(() => 1)]]),
          positions: tokens([[...first.keys(), ...second.keys()]]),
        })
        .dataSync(),
    );
    const alone = [first, second].flatMap((row) => [...logits(model, [row])]);
    expect(distance(packed, alone)).toBeLessThan(1e-5);
    const cache = new KeyValueCache();
    const cached = first.flatMap((id) => [
      ...tf.tidy(() => model.logits(tokens([[id]]), { cache }).dataSync()),
    ]);
    expect(distance(cached, logits(model, [first]))).toBeLessThan(1e-5);
    cache.dispose();
    model.dispose();
  });

  test('leak no tensor', async () => {
    const before = tf.memory().numTensors;
    const { model, ids } = await adapted('llama-3.2');
    await expectNoLeaks(() => gradients(model, ids, { recompute: true }));
    await expectNoLeaks(() => [logits(model, ids), logProbabilities(model, ids)]);
    await expectNoLeaks(() => {
      mergeLora(model);
      unmergeLora(model);
    });
    mergeLora(model);
    model.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('trained embeddings', () => {
  let directory: string;
  beforeEach(async () => {
    await setBackend('native');
    directory = await mkdtemp(join(tmpdir(), 'token-rows-'));
    return () => rm(directory, { recursive: true });
  });

  test.each(bases)('of %s survive writing and reading, under PEFT’s names', async (base) => {
    const model = await loadLlama(architecture(base).directory);
    const source = adapter(base, 'token-adapter').directory;
    const { trainableTokens } = await loadLora(source, model);
    const before = logits(model, architecture(base).expected.ids);
    await saveLora(directory, model);
    const [written, peft] = await Promise.all(
      [directory, source].map(async (at) =>
        JSON.parse(await readFile(join(at, 'adapter_config.json'), 'utf8')),
      ),
    );
    expect(written.trainable_token_indices).toEqual(peft.trainable_token_indices);
    expect(trainableTokens).toEqual(peft.trainable_token_indices);
    removeLora(model);
    await loadLora(directory, model);
    expect(distance(logits(model, architecture(base).expected.ids), before)).toBe(0);
    model.dispose();
  });

  test('may be listed under the name of their layer', async () => {
    await cp(adapter('qwen2', 'token-adapter').directory, directory, { recursive: true });
    const path = join(directory, 'adapter_config.json');
    const config = JSON.parse(await readFile(path, 'utf8'));
    const ids = config.trainable_token_indices;
    await writeFile(path, JSON.stringify({ ...config, trainable_token_indices: { embed_tokens: ids } }));
    const model = await loadLlama(architecture('qwen2').directory);
    expect((await loadLora(directory, model)).trainableTokens).toEqual(ids);
    removeLora(model);
    await writeFile(path, JSON.stringify({ ...config, trainable_token_indices: [80, ...ids] }));
    await expect(loadLora(directory, model)).rejects.toThrow(/trainableTokens: got 80/);
    model.dispose();
  });

  test.each([
    [[80], 'trainableTokens: got 80, expected ids of the vocabulary, 0 to 79; growVocabulary adds new ones'],
    [[-1], 'trainableTokens: got -1'],
    [[1.5], 'trainableTokens: got 1.5'],
    [[7, 8, 7], 'trainableTokens: got 7 twice, expected once'],
  ])('refuse the ids %j', async (trainableTokens, message) => {
    const model = await loadLlama(architecture('qwen2').directory);
    const before = tf.memory().numTensors;
    const add = () => addLora(model, { rank: 1, seed: 0, trainableTokens });
    expect(add).toThrow(AdapterError);
    expect(add).toThrow(message);
    expect(tf.memory().numTensors).toBe(before);
    model.dispose();
  });

  test.each(bases)('train with, and merge into, bfloat16 weights of %s', async (base) => {
    const { directory: published, expected } = architecture(base);
    const plain = await loadLlama(published, { weights: 'bfloat16' });
    const id = plain.config.vocab_size;
    const model = growVocabulary(plain, { size: id + 1 });
    const ids = expected.ids.map((row) => row.with(3, id));
    const before = logits(model, ids);
    addLora(model, { rank: 1, seed: 0, trainableTokens: [id] });
    expect(distance(logits(model, ids), before)).toBe(0);
    moveRows(model);
    expect(distance(logits(model, ids), before)).toBeGreaterThan(0.01);
    mergeLora(model);
    expect(isStoredAsBfloat16(model.parameters.get(TABLE)!)).toBe(true);
    const merged = logits(model, ids);
    await saveLlama(directory, model, { dtype: 'bfloat16' });
    const loaded = await loadLlama(directory);
    expect(distance(logits(loaded, ids), merged)).toBe(0);
    loaded.dispose();
    model.dispose();
  });
});
