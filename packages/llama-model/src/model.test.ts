import { setBackend } from '@meap/tensor-kernels';
import { expectNoLeaks } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { beforeEach, describe, expect, test } from 'vitest';
import { parseConfig } from './config.ts';
import { CheckpointError, ContextLengthError, TokenInputError } from './errors.ts';
import { createLlama, type ForwardOptions, Llama, loadLlama } from './index.ts';
import { EMBEDDING, FINAL_NORM, HEAD, PROJECTIONS, parameterShapes, variable } from './parameters.ts';
import { normals, randomKey } from './random.ts';
import { rotaryFrequencies } from './rotary-frequencies.ts';
import { rotaryTables } from './rotary-tables.ts';
import { backends, distance, expected, fixture, tokens } from './testing.ts';

const inputs = expected.batches[0].map((row) => row.slice(0, -1));
const targets = expected.batches[0].map((row) => row.slice(1));

/** Loss sum, and its gradient by parameter name. */
function gradients(model: Llama, options: ForwardOptions = {}, from = inputs, to = targets) {
  const byName = new Map<string, Float32Array>();
  let sum = 0;
  tf.tidy(() => {
    const { value, grads } = tf.variableGrads(
      () => model.loss(tokens(from), tokens(to), undefined, options).sum,
      [...model.parameters.values()],
    );
    sum = value.dataSync()[0];
    for (const [name, parameter] of model.parameters) {
      byName.set(name, grads[parameter.name].dataSync() as Float32Array);
    }
  });
  return { sum, byName };
}

function lossSum(model: Llama): number {
  return tf.tidy(() => model.loss(tokens(inputs), tokens(targets)).sum.dataSync()[0]);
}

function normalised(values: Float32Array): Float32Array {
  const norm = Math.hypot(...values);
  return values.map((x) => x / norm);
}

describe.each([...backends, 'cpu'] as const)('Llama on %s', (backend) => {
  beforeEach(async () => {
    await setBackend(backend);
  });

  test('computes the logits of transformers', async () => {
    const model = await loadLlama(fixture);
    const logits = tf.tidy(() => model.logits(tokens(expected.ids)).dataSync());
    expect(distance(logits, expected.logits.flat(2))).toBeLessThan(1e-4);
    model.dispose();
  });

  test('its loss is the cross-entropy of its logits at unmasked tokens', async () => {
    const model = await loadLlama(fixture);
    const mask = inputs.map((row, b) => row.map((_, t) => ((b + t) % 3 === 0 ? 1 : 0)));
    const { sum, count } = tf.tidy(() => {
      const loss = model.loss(tokens(inputs), tokens(targets), tf.tensor2d(mask));
      return { sum: loss.sum.dataSync()[0], count: loss.count };
    });
    const logProbabilities = tf.tidy(() =>
      tf.logSoftmax(model.logits(tokens(inputs))).arraySync(),
    ) as number[][][];
    let wanted = 0;
    mask.forEach((row, b) => {
      row.forEach((kept, t) => {
        wanted -= kept * logProbabilities[b][t][targets[b][t]];
      });
    });
    expect(count).toBe(mask.flat().filter(Boolean).length);
    expect(sum).toBeCloseTo(wanted, 3);
    model.dispose();
  });

  test('gradients are the central differences of the loss', async () => {
    const model = await loadLlama(fixture);
    const { byName } = gradients(model);
    const step = 1e-2;
    // One kind of weight at a time, so that a wrong gradient cannot hide behind larger ones.
    const norms = ['input_layernorm', 'post_attention_layernorm'];
    for (const kind of [EMBEDDING, ...norms, ...PROJECTIONS, FINAL_NORM, HEAD]) {
      const weights = [...model.parameters].filter(([name]) => name.includes(kind));
      const moves = weights.map(([name, parameter]) => {
        const gradient = byName.get(name)!;
        // Partly along the gradient, for a slope well above float32 noise; partly random.
        const along = normalised(gradient);
        const random = normalised(normals(randomKey(5, name), gradient.length, 1));
        const direction = random.map((x, i) => x + along[i]);
        const start = Float32Array.from(parameter.dataSync());
        return {
          parameter,
          start,
          direction,
          slope: gradient.reduce((sum, g, i) => sum + g * direction[i], 0),
        };
      });
      const lossAt = (distanceAlong: number) => {
        for (const { parameter, start, direction } of moves) {
          const moved = start.map((x, i) => x + distanceAlong * direction[i]);
          tf.tidy(() => parameter.assign(tf.tensor(moved, parameter.shape)));
        }
        return lossSum(model);
      };
      const difference = (lossAt(step) - lossAt(-step)) / (2 * step);
      const slope = moves.reduce((sum, move) => sum + move.slope, 0);
      expect(Math.abs(difference / slope - 1), kind).toBeLessThan(5e-3);
      lossAt(0);
    }
    model.dispose();
  });

  test('fused halves of blocks equal single ops', async () => {
    const model = await loadLlama(fixture);
    const fused = gradients(model);
    const single = gradients(model, { onAttention: () => undefined });
    expect(fused.sum / single.sum).toBeCloseTo(1, 5);
    for (const [name, gradient] of single.byName) {
      expect(distance(fused.byName.get(name)!, gradient)).toBeLessThan(1e-5);
    }
    model.dispose();
  });

  test('recomputation gives the same loss and gradients', async () => {
    const model = await loadLlama(fixture);
    const plain = gradients(model);
    const recomputed = gradients(model, { recompute: true });
    expect(recomputed.sum).toBe(plain.sum);
    for (const [name, gradient] of plain.byName) {
      expect(distance(recomputed.byName.get(name)!, gradient)).toBeLessThan(1e-5);
    }
    model.dispose();
  });

  test('recomputation saves less for the backward pass', async () => {
    const model = await loadLlama(fixture);
    const row = Array.from({ length: 64 }, (_, i) => i);
    const bytesAfterForward = (recompute: boolean) => {
      let bytes = 0;
      const before = tf.memory().numBytes;
      tf.tidy(() => {
        tf.variableGrads(() => {
          const { sum } = model.loss(tokens([row]), tokens([row]), undefined, { recompute });
          bytes = tf.memory().numBytes - before;
          return sum;
        }, [...model.parameters.values()]);
      });
      return bytes;
    };
    expect(bytesAfterForward(true)).toBeLessThan(0.7 * bytesAfterForward(false));
    model.dispose();
  });

  test('documents packed in a row and isolated by segments equal those in rows of their own', async () => {
    const model = await loadLlama(fixture);
    const [first, second] = [expected.ids[0].slice(0, 7), expected.ids[1].slice(0, 9)];
    const packed = tf.tidy(() =>
      model
        .hidden(tokens([[...first, ...second]]), {
          segmentIds: tokens([[...first.map(() => 0), ...second.map(() => 1)]]),
          positions: tokens([[...first.keys(), ...second.keys()]]),
        })
        .dataSync(),
    );
    const alone = [first, second].flatMap((row) => [
      ...tf.tidy(() => model.hidden(tokens([row])).dataSync()),
    ]);
    expect(distance(packed, alone)).toBeLessThan(1e-5);
    model.dispose();
  });

  test('continuations that share a prefix in a row equal those in rows of their own', async () => {
    const model = await loadLlama(fixture);
    const prefix = expected.ids[0].slice(0, 6);
    const continuations = [expected.ids[0].slice(6, 10), expected.ids[1].slice(0, 3), [5]];
    const ids = [prefix, ...continuations];
    const packed = tf.tidy(() => {
      const hidden = model.hidden(tokens([ids.flat()]), {
        segmentIds: tokens([ids.flatMap((part, i) => part.map(() => i))]),
        prefixIds: tokens([ids.flatMap((part) => part.map(() => 0))]),
        positions: tokens([ids.flatMap((part, i) => [...part.keys()].map((t) => (i > 0 ? 6 : 0) + t))]),
      });
      return hidden.dataSync();
    });
    let at = prefix.length * model.config.hidden_size;
    for (const continuation of continuations) {
      const size = continuation.length * model.config.hidden_size;
      const alone = tf.tidy(() => model.hidden(tokens([[...prefix, ...continuation]])).dataSync());
      expect(distance(packed.slice(at, at + size), alone.slice(-size))).toBeLessThan(1e-5);
      at += size;
    }
    model.dispose();
  });

  test('logProbabilities match the logits, greedy ids are their maxima', async () => {
    const model = await loadLlama(fixture);
    const [row] = expected.ids;
    tf.tidy(() => {
      const logProbabilities = tf.logSoftmax(model.logits(tokens([row]))).squeeze<tf.Tensor2D>([0]);
      const hidden = model.hidden(tokens([row])).squeeze<tf.Tensor2D>([0]);
      const scores = model.logProbabilities(hidden, tf.tensor1d(row, 'int32'));
      const wanted = row.map((id, t) => logProbabilities.dataSync()[t * model.config.vocab_size + id]);
      expect(distance(scores.logProbabilities.dataSync(), wanted)).toBeLessThan(1e-5);
      expect(scores.greedyIds.dataSync()).toEqual(logProbabilities.argMax(-1).dataSync());
    });
    model.dispose();
  });

  test('recomputation of packed rows gives the same gradients, with tensors made inside the gradient function', async () => {
    const model = await loadLlama(fixture);
    const packed = (recompute: boolean) => {
      const embeddings = [...model.parameters.values()].slice(0, 3);
      return tf.tidy(() => {
        const { grads } = tf.variableGrads(() => {
          const ids = tokens([inputs[0].slice(0, 6)]);
          const segmentIds = tokens([[0, 0, 0, 1, 1, 1]]);
          const positions = tokens([[0, 1, 2, 0, 1, 2]]);
          return model.loss(ids, ids, undefined, { segmentIds, positions, recompute }).sum;
        }, embeddings);
        return Object.values(grads).flatMap((gradient) => [...gradient.dataSync()]);
      });
    };
    expect(distance(packed(true), packed(false))).toBeLessThan(1e-5);
    model.dispose();
  });

  test('attends causally: a later token changes no earlier output', async () => {
    const model = await loadLlama(fixture);
    const changed = [[...inputs[0].slice(0, 9), (inputs[0][9] + 1) % 96, ...inputs[0].slice(10)]];
    const [a, b] = [[inputs[0]], changed].map((rows) => tf.tidy(() => model.hidden(tokens(rows)).dataSync()));
    expect(distance(a.slice(0, 9 * 32), b.slice(0, 9 * 32))).toBe(0);
    expect(distance(a.slice(9 * 32), b.slice(9 * 32))).toBeGreaterThan(1e-3);
    model.dispose();
  });

  test('a tied model uses and trains its one table at both ends', async () => {
    const config = parseConfig({
      vocab_size: 32,
      hidden_size: 16,
      intermediate_size: 24,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      head_dim: 4,
      tie_word_embeddings: true,
    });
    const tied = createLlama(config, { seed: 1 });
    const twins = new Map([...tied.parameters].map(([name, { shape }]) => [name, copy(tied, name, shape)]));
    twins.set(HEAD, copy(tied, EMBEDDING, tied.parameters.get(EMBEDDING)!.shape));
    const untied = new Llama({ ...config, tie_word_embeddings: false }, twins);
    const [one, two] = [tied, untied].map((model) => {
      const small = (rows: number[][]) => tokens(rows.map((row) => row.map((id) => id % 32)));
      return tf.tidy(() => {
        const parameters = [...model.parameters.values()];
        const { grads } = tf.variableGrads(() => model.loss(small(inputs), small(targets)).sum, parameters);
        const of = (name: string) => grads[model.parameters.get(name)!.name]?.dataSync() as Float32Array;
        return model.config.tie_word_embeddings
          ? of(EMBEDDING)
          : of(EMBEDDING).map((x, i) => x + of(HEAD)[i]);
      });
    });
    expect(distance(one, two)).toBeLessThan(1e-5);
    tied.dispose();
    untied.dispose();
  });

  test('training steps leak no tensor, and dispose frees the model', async () => {
    const before = tf.memory().numTensors;
    const model = await loadLlama(fixture);
    const short = [inputs[0].slice(0, 4)];
    await expectNoLeaks(() => gradients(model, {}, short, short));
    await expectNoLeaks(() => gradients(model, { recompute: true }, short, short));
    model.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  test('refuses invalid ids, shapes and positions, and stays usable', async () => {
    const model = await loadLlama(fixture);
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      const ids = tokens([[1, 2, 3]]);
      expect(() => model.hidden(tokens([[1, 96, 3]]))).toThrow(
        /id 96 at row 0, position 1 is outside the vocabulary of 96/,
      );
      expect(() =>
        model.hidden(
          tokens([
            [1, 2],
            [-1, 3],
          ]),
        ),
      ).toThrow(TokenInputError);
      expect(() => model.hidden(tf.tensor2d([[1, 2]]))).toThrow(/expected int32/);
      const flat = tf.tensor1d([1, 2, 3], 'int32');
      expect(() => model.logits(flat)).toThrow('ids: got int32 [3], expected int32 [batch, tokens]');
      expect(() => model.loss(flat, ids)).toThrow('inputs: got int32 [3]');
      expect(() => model.loss(ids, flat)).toThrow('targets: got int32 [3]');
      expect(() => model.loss(ids, ids, flat)).toThrow(
        'mask: got shape [3], expected that of the ids, [1,3]',
      );
      for (const option of ['positions', 'segmentIds'] as const) {
        expect(() => model.hidden(ids, { [option]: flat })).toThrow(`${option}: got shape [3]`);
      }
      expect(() => model.hidden(ids, { segmentIds: ids, prefixIds: flat })).toThrow(
        'prefixIds: got shape [3]',
      );
      expect(() => model.logProbabilities(flat, flat)).toThrow('scoreTokens: x has the wrong shape');
      expect(() => model.loss(ids, tokens([[1, 2, 99]]))).toThrow(/targets: id 99/);
      expect(() => model.loss(ids, tokens([[1, 2]]))).toThrow(/targets: got shape \[1,2\]/);
      expect(() => model.loss(ids, ids, tf.tensor2d([[1, 0.5, 0]]))).toThrow(/mask: got 0.5/);
      expect(() => model.hidden(ids, { positions: tokens([[0, 1, 64]]) })).toThrow(ContextLengthError);
      expect(() => model.hidden(ids, { positions: tokens([[0, 1]]) })).toThrow(TokenInputError);
      expect(() => model.hidden(ids, { positions: tokens([[-1, 0, 1]]) })).toThrow(/negative/);
      expect(() => model.hidden(tf.zeros([1, 65], 'int32'))).toThrow(ContextLengthError);
    });
    expect(tf.memory().numTensors).toBe(before);
    expect(lossSum(model)).toBeGreaterThan(0);
    model.dispose();
  });
});

function copy(model: Llama, name: string, shape: number[]): tf.Variable {
  return variable(Float32Array.from(model.parameters.get(name)!.dataSync()), shape);
}

test('a model refuses parameters that are not its config’s', () => {
  const config = parseConfig({
    vocab_size: 8,
    hidden_size: 4,
    intermediate_size: 4,
    num_hidden_layers: 1,
    num_attention_heads: 1,
  });
  const full = createLlama(config, { seed: 0 });
  const without = new Map(full.parameters);
  without.delete(FINAL_NORM);
  expect(() => new Llama(config, without)).toThrow(/missing from the model: model.norm.weight/);
  expect(() => new Llama({ ...config, vocab_size: 9 }, full.parameters)).toThrow(
    'model.embed_tokens.weight: wrong shape, got [8,4], expected [9,4]',
  );
  expect(() => new Llama({ ...config, tie_word_embeddings: true }, full.parameters)).toThrow(CheckpointError);
  expect([...full.parameters.keys()]).toEqual([...parameterShapes(config).keys()]);
  full.dispose();
});

describe('rotaryTables', () => {
  test('hold float32 angles, exact to the last digits at large positions', () => {
    const [headDim, theta, position] = [8, 640_000, 65_535];
    const config = { head_dim: headDim, rope_theta: theta, max_position_embeddings: position + 1 };
    const tables = rotaryTables(position + 1, rotaryFrequencies(config));
    const cos = tables.cos.dataSync().slice(-4);
    for (let pair = 0; pair < 4; pair++) {
      const angle = Math.fround(position * Math.fround(1 / Math.fround(theta ** (pair / 4))));
      expect(cos[pair]).toBeCloseTo(Math.cos(angle), 6);
    }
    tf.dispose([tables.cos, tables.sin]);
  });
});
