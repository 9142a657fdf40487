import { createLlama, type Llama, parseConfig } from '@meap/llama-model';
import { createDuplicator, type SftBatch, type SftLayout, type SftSample } from '@meap/sft-duplication';
import { setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import { afterAll, describe, expect, it } from 'vitest';
import { batchOf, batchSource, sftLoss } from './objective.ts';

await setBackend('auto');
const VOCABULARY = 40;
const MASK = 39;
const model = createLlama(
  parseConfig({
    vocab_size: VOCABULARY,
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 256,
  }),
  { seed: 3 },
);
afterAll(() => model.dispose());

/** Conversations of one or two turns with answers of 1 to 20 tokens. */
const samples: SftSample[] = Array.from({ length: 12 }, (_, s) => ({
  segments: Array.from({ length: 1 + (s % 2) }, (_, turn) => [
    { ids: ids(3 + ((s * 5) % 7), s + turn), role: 'user', trainable: false },
    { ids: [...ids(1 + ((s * 7 + turn * 3) % 20), 2 * s + turn), 1], role: 'assistant', trainable: true },
  ]).flat(),
}));

function ids(count: number, seed: number): number[] {
  return Array.from({ length: count }, (_, i) => 2 + ((i * 11 + seed * 17 + i * i) % (MASK - 2)));
}

const duplicator = (layout: SftLayout) =>
  createDuplicator({ maskId: MASK, specialIds: [1], maxLength: 60, threshold: 4, ratio: 0.3, layout });

function lossAndGradients(target: Llama, batches: SftBatch[]) {
  const loss = sftLoss(target, { seed: 0, recompute: false });
  const variables = [...target.parameters.values()];
  let count = 0;
  const { value, grads } = tf.variableGrads(() => {
    const sums = batches.map((batch, microBatch) => {
      const { sum, count: counted } = loss(batch, { step: 0, microBatch });
      count += counted;
      return sum;
    });
    return tf.addN(sums).asScalar();
  }, variables);
  const gradients = [...target.parameters].map(([, variable]) => grads[variable.name].dataSync());
  const result = { sum: value.dataSync()[0], count, gradients };
  tf.dispose([value, ...Object.values(grads)]);
  return result;
}

describe('layouts', () => {
  const rows = (layout: SftLayout) => duplicator(layout).duplicateAll(samples, { epoch: 0 }).rows;
  const separate = lossAndGradients(
    model,
    rows('separate-rows').map((row) => batchOf([row], undefined)),
  );

  it.each([
    ['packed in rows of 60', () => [batchOf(rows('packed-isolated'), 60)]],
    ['packed in one row', () => [batchOf(rows('packed-isolated'), 2000)]],
    ['padded in one batch', () => [batchOf(rows('separate-rows'), undefined)]],
    ['packed to few shapes', () => [batchOf(rows('packed-isolated'), 60, true)]],
    ['padded to few shapes', () => [batchOf(rows('separate-rows'), undefined, true)]],
  ])('%s: loss and gradients equal those of separate rows', (_, batches) => {
    const packed = lossAndGradients(model, batches());
    expect(packed.count).toBe(separate.count);
    expect(packed.sum).toBeCloseTo(separate.sum, 3);
    for (const [i, expected] of separate.gradients.entries()) {
      const scale = Math.max(...expected.map(Math.abs));
      for (const [j, value] of packed.gradients[i].entries()) {
        expect(Math.abs(value - expected[j])).toBeLessThan(1e-5 * scale + 1e-6);
      }
    }
  });

  it('few shapes are rows of one length, as many as a power of two', () => {
    const batches = [1, 3, 5, 12].map((count) => batchOf(rows('packed-isolated').slice(0, count), 60, true));
    expect(new Set(batches.map(({ length }) => length))).toEqual(new Set([60]));
    expect(batches.every(({ numRows }) => Number.isInteger(Math.log2(numRows)))).toBe(true);
    expect(batchOf(rows('separate-rows'), undefined, true).length).toBe(128);
  });

  it('concatenated is a different objective: the copy attends to the original', () => {
    const other = lossAndGradients(model, [batchOf(rows('concatenated'), 60)]);
    expect(Math.abs(other.sum - separate.sum)).toBeGreaterThan(1e-2);
  });

  it('changing one copy does not change the logits of other segments', () => {
    const batch = batchOf(rows('packed-isolated'), 2000);
    expect(batch.numRows).toBe(1);
    const logits = (inputs: Int32Array) =>
      tf.tidy(() => {
        const shape: [number, number] = [1, batch.length];
        const int = (values: Int32Array) => tf.tensor2d(values, shape, 'int32');
        const options = { segmentIds: int(batch.segmentIds), positions: int(batch.positions) };
        return model.logits(int(inputs), options).dataSync();
      });
    const changedSegment = batch.segmentIds[batch.inputs.indexOf(MASK)];
    const changed = batch.inputs.map((id, i) =>
      batch.segmentIds[i] === changedSegment ? 2 + ((id + 5) % 30) : id,
    );
    const [before, after] = [logits(batch.inputs), logits(changed)];
    let differing = 0;
    for (let i = 0; i < batch.length; i++) {
      const [x, y] = [before, after].map((all) => all.slice(i * VOCABULARY, (i + 1) * VOCABULARY));
      if (batch.segmentIds[i] === changedSegment) differing += x.some((value, j) => value !== y[j]) ? 1 : 0;
      else expect(y).toEqual(x);
    }
    expect(differing).toBeGreaterThan(0);
  });
});

describe('batchSource', () => {
  const plan = {
    samples,
    duplicator: duplicator('packed-isolated'),
    seed: 5,
    globalBatchSize: 4,
    microBatchSize: 2,
    packTo: 60,
  };
  const learnedOf = (batch: unknown) => (batch as SftBatch).numLearned;

  it('is a pure function of step and micro-batch', () => {
    const [first, second] = [batchSource(plan), batchSource(plan)];
    const positions = [0, 1, 2, 3, 4, 5, 6].flatMap((step) =>
      [0, 1].map((microBatch) => ({ step, microBatch })),
    );
    const forward = positions.map((position) => first(position));
    const backward = [...positions].reverse().map((position) => second(position));
    expect(backward.reverse()).toEqual(forward);
  });

  it('contains every conversation once per epoch, in a new order with new masks', () => {
    const source = batchSource(plan);
    const epoch = (number: number) =>
      [0, 1, 2].flatMap((step) =>
        [0, 1].map((microBatch) => source({ step: 3 * number + step, microBatch }) as SftBatch),
      );
    const tokens = (batches: SftBatch[]) =>
      batches.flatMap(({ targets, lossMask }) => Array.from(targets).filter((_, i) => lossMask[i]));
    const [one, two] = [epoch(0), epoch(1)];
    expect(one.reduce((sum, batch) => sum + learnedOf(batch), 0)).toBe(
      two.reduce((sum, batch) => sum + learnedOf(batch), 0),
    );
    expect(tokens(one)).not.toEqual(tokens(two));
  });

  it('weights conversations equally for any micro-batch size', () => {
    const whole = batchSource({ ...plan, microBatchSize: 4 });
    const halves = batchSource(plan);
    for (const step of [0, 2, 7]) {
      const sum = learnedOf(halves({ step, microBatch: 0 })) + learnedOf(halves({ step, microBatch: 1 }));
      expect(learnedOf(whole({ step, microBatch: 0 }))).toBe(sum);
    }
  });
});
