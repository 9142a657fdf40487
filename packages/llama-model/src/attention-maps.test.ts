import { existsSync, readFileSync } from 'node:fs';
import { setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import { beforeEach, describe, expect, test } from 'vitest';
import { type AttentionBlock, attentionMaps } from './attention-maps.ts';
import { parseConfig } from './config.ts';
import { ContextLengthError, createLlama, loadLlama, TokenInputError } from './index.ts';
import { architecture, backends } from './testing.ts';

interface Expected {
  ids: number[];
  maps: {
    layer: number;
    head: number;
    squares: number;
    meanKeys: number;
    rows?: Record<string, number[]>;
  }[];
}
const { models }: { models: Record<string, Expected> } = JSON.parse(
  readFileSync(new URL('../fixtures/attention-maps.json', import.meta.url), 'utf8'),
);
const stories = `${process.env.MEAP_DATA}/models/stories260K`;

/** Rows of a block, each with its place. */
function* rowsOf({ layer, head, queryStart, numQueries, numKeys, probabilities }: AttentionBlock) {
  for (let i = 0; i < numQueries; i++) {
    yield { layer, head, query: queryStart + i, row: probabilities.slice(i * numKeys, (i + 1) * numKeys) };
  }
}

describe.each(backends)('on %s', (backend) => {
  beforeEach(async () => {
    await setBackend(backend);
  });

  describe.each(Object.entries(models))('%s', (name, expected) => {
    const isStories = name === 'stories260K';
    test.skipIf(isStories && !existsSync(stories))('has the attention of transformers', async () => {
      const model = await loadLlama(isStories ? stories : architecture(name).directory);
      const seen = new Map<string, Map<number, Float32Array>>();
      const { numTensors } = tf.memory();
      await attentionMaps(model, expected.ids, (block) => {
        for (const { layer, head, query, row } of rowsOf(block)) {
          const place = `${layer}.${head}`;
          seen.set(place, (seen.get(place) ?? new Map()).set(query, row));
        }
      });
      // Tables of rotary positions stay.
      expect(tf.memory().numTensors - numTensors).toBeLessThanOrEqual(2);
      expect(seen.size).toBe(expected.maps.length);
      const { length } = expected.ids;
      for (const { layer, head, squares, meanKeys, rows = {} } of expected.maps) {
        const map = seen.get(`${layer}.${head}`)!;
        expect([...map.keys()]).toEqual(Array.from(expected.ids, (_, query) => query));
        let [gotSquares, gotMeanKeys] = [0, 0];
        for (const row of map.values()) {
          for (const [key, p] of row.entries()) {
            gotSquares += p * p;
            gotMeanKeys += p * key;
          }
        }
        expect(Math.abs(gotSquares - squares) / length).toBeLessThan(1e-5);
        expect(Math.abs(gotMeanKeys - meanKeys) / length / length).toBeLessThan(1e-5);
        for (const [query, wanted] of Object.entries(rows)) {
          const row = map.get(Number(query))!;
          for (const [key, p] of row.entries()) expect(Math.abs(p - (wanted[key] ?? 0))).toBeLessThan(1e-5);
        }
      }
      model.dispose();
    });
  });
});

describe('a longer sequence', () => {
  const config = parseConfig({
    model_type: 'mistral',
    vocab_size: 50,
    hidden_size: 16,
    intermediate_size: 16,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    max_position_embeddings: 4096,
    sliding_window: 30,
  });
  const ids = Array.from({ length: 2500 }, (_, i) => (i * 7) % 50);

  test('visits blocks of at most 4 MB in order, with rows that sum to one inside their window', async () => {
    await setBackend(backends[0]);
    const model = createLlama(config, { seed: 1 });
    const starts: string[] = [];
    await attentionMaps(model, ids, (block) => {
      starts.push(`${block.head}:${block.queryStart}`);
      expect(block.numKeys).toBe(2500);
      expect(block.probabilities.length).toBe(block.numQueries * 2500);
      expect(block.probabilities.byteLength).toBeLessThanOrEqual(2 ** 22);
      for (const { query, row } of rowsOf(block)) {
        const [before, after] = [row.subarray(0, Math.max(0, query - 29)), row.subarray(query + 1)];
        if (before.some(Boolean) || after.some(Boolean)) throw new Error(`query ${query} looks too far`);
        const sum = row.reduce((total, p) => total + p, 0);
        if (Math.abs(sum - 1) > 1e-5) throw new Error(`query ${query} sums to ${sum}`);
      }
    });
    const blocks = [0, 419, 838, 1257, 1676, 2095];
    expect(starts).toEqual([0, 1].flatMap((head) => blocks.map((start) => `${head}:${start}`)));
    model.dispose();
  });

  test('stops for a signal or an error of the visitor, without leaks', async () => {
    await setBackend(backends[0]);
    const model = createLlama(config, { seed: 1 });
    await attentionMaps(model, ids.slice(0, 9), () => {});
    const { numTensors } = tf.memory();
    const controller = new AbortController();
    let visits = 0;
    const call = attentionMaps(
      model,
      ids.slice(0, 9),
      () => {
        visits++;
        controller.abort(new Error('enough'));
      },
      { signal: controller.signal },
    );
    await expect(call).rejects.toThrow('enough');
    expect(visits).toBe(1);
    await expect(attentionMaps(model, [1], () => {}, { signal: controller.signal })).rejects.toThrow(
      'enough',
    );
    const broken = () => {
      throw new Error('broken');
    };
    await expect(attentionMaps(model, [1, 2], broken)).rejects.toThrow('broken');
    expect(tf.memory().numTensors).toBe(numTensors);
    model.dispose();
  });

  test('refuses texts that the model cannot process', async () => {
    await setBackend(backends[0]);
    const model = createLlama(config, { seed: 1 });
    await expect(attentionMaps(model, [], () => {})).rejects.toThrow(TokenInputError);
    await expect(attentionMaps(model, [50], () => {})).rejects.toThrow(TokenInputError);
    await expect(attentionMaps(model, Array(4097).fill(1), () => {})).rejects.toThrow(ContextLengthError);
    model.dispose();
  });
});
