import type { Llama } from '@meap/llama-model';
import { createMasker } from '@meap/meap-masking';
import type { TokenBlocks } from '@meap/token-dataset';
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { meapLoss, nextTokenLoss, type Rows, rowsOf } from './objective.ts';
import { spread } from './prepare-data.ts';

const MASK = 999;

const plain = { recompute: false, dropout: { rate: 0, seed: 0 } };

/** A stub model that records its arguments. */
function recordingModel() {
  const calls: { inputs: number[]; targets: number[]; shape: number[]; mask: unknown; options: unknown }[] =
    [];
  const loss: Llama['loss'] = (inputs, targets, mask, options) => {
    calls.push({
      inputs: [...inputs.dataSync()],
      targets: [...targets.dataSync()],
      shape: inputs.shape,
      mask,
      options,
    });
    return { sum: tf.scalar(1), count: targets.size };
  };
  return { model: { loss } as Llama, calls };
}

function batch(rows: number, length: number): Rows {
  const inputs = Int32Array.from({ length: rows * length }, (_, i) => i);
  return { inputs, targets: inputs.map((id) => id + 1), rows, length, numBytes: 3 * rows * length };
}

describe('meapLoss', () => {
  it('masks inputs but not targets, and counts all positions', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 2, max: 40 }),
        fc.nat(9),
        (rows, length, step) => {
          const { model, calls } = recordingModel();
          const masker = createMasker({ ratio: 0.15, maskId: MASK });
          const given = batch(rows, length);
          const { count } = meapLoss(model, masker, { ...plain, recompute: true })(given, {
            step,
            microBatch: 0,
          });
          const [{ inputs, targets, shape, mask, options }] = calls;
          expect(targets).toEqual([...given.targets]);
          expect(inputs.filter((id, i) => id !== given.inputs[i])).toEqual(
            Array(rows * Math.max(1, Math.floor(0.15 * length))).fill(MASK),
          );
          expect({ count, shape, mask, options }).toEqual({
            count: rows * length,
            shape: [rows, length],
            mask: undefined,
            options: { recompute: true, dropout: false },
          });
        },
      ),
    );
  });

  it('draws the same masks for any micro-batch size', () => {
    const masker = createMasker({ ratio: 0.3, maskId: MASK, seed: 5 });
    const whole = recordingModel();
    meapLoss(whole.model, masker, plain)(batch(4, 10), { step: 7, microBatch: 0 });
    const parts = recordingModel();
    const { inputs, targets } = batch(4, 10);
    for (const microBatch of [0, 1]) {
      const range = [20 * microBatch, 20 * microBatch + 20] as const;
      const rows = {
        inputs: inputs.slice(...range),
        targets: targets.slice(...range),
        rows: 2,
        length: 10,
        numBytes: 1,
      };
      meapLoss(parts.model, masker, plain)(rows, { step: 7, microBatch });
    }
    expect(parts.calls.flatMap((call) => call.inputs)).toEqual(whole.calls[0].inputs);
    const later = recordingModel();
    meapLoss(later.model, masker, plain)(batch(4, 10), { step: 8, microBatch: 0 });
    expect(later.calls[0].inputs).not.toEqual(whole.calls[0].inputs);
  });

  it('keys dropout by seed, step and row of the step', () => {
    const { model, calls } = recordingModel();
    const masker = createMasker({ ratio: 0, maskId: MASK });
    const options = { recompute: false, dropout: { rate: 0.1, seed: 4 } };
    meapLoss(model, masker, options)(batch(3, 8), { step: 7, microBatch: 2 });
    expect(calls[0].options).toEqual({
      recompute: false,
      dropout: { rate: 0.1, seed: 4, step: 7, firstRow: 6 },
    });
  });

  it('is next-token prediction at ratio 0', () => {
    const { model, calls } = recordingModel();
    const given = batch(2, 8);
    meapLoss(model, createMasker({ ratio: 0, maskId: MASK }), plain)(given, { step: 0, microBatch: 0 });
    expect(calls[0].inputs).toEqual([...given.inputs]);
  });
});

describe('nextTokenLoss', () => {
  it('masks nothing and returns the bytes', () => {
    const { model, calls } = recordingModel();
    const given = batch(2, 8);
    expect(nextTokenLoss(model)(given)).toMatchObject({ count: 16, bytes: 48 });
    expect(calls[0]).toMatchObject({ inputs: [...given.inputs], targets: [...given.targets] });
  });
});

describe('rowsOf', () => {
  const blocks = {
    blockLength: 3,
    numBlocks: 5,
    read: (index: number) => Int32Array.of(10 * index, 10 * index + 1, 10 * index + 2),
    targetBytes: (index: number) => index,
  } as TokenBlocks;

  it('yields every block once, with targets shifted by one', () => {
    const batches = [...rowsOf(blocks, 2)];
    expect(batches.map(({ rows }) => rows)).toEqual([2, 2, 1]);
    expect([...batches[0].inputs]).toEqual([0, 1, 10, 11]);
    expect([...batches[0].targets]).toEqual([1, 2, 11, 12]);
    expect(batches.map(({ numBytes }) => numBytes)).toEqual([1, 5, 4]);
  });

  it('selects evenly spaced blocks', () => {
    expect(spread(blocks, 9)).toBe(blocks);
    const part = spread(blocks, 2);
    expect([...rowsOf(part, 8)].map(({ inputs }) => [...inputs])).toEqual([[10, 11, 30, 31]]);
    expect(part.targetBytes(1)).toBe(3);
  });
});
