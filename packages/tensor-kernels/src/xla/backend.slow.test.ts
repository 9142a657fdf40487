/** The backend around the lowerings: what it compiles, donates, keeps and refuses; lowerings in tiles and chunks. */
import { cudaTarget, findPlugin, stablehlo as hlo, loadPlugin } from '@meap/pjrt';
import { compileQuickly, expectClose } from '@meap/test-support';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  adamW,
  dropout,
  gradientScale,
  linearCrossEntropy,
  markStep,
  residualAttention,
  rmsNorm,
  setBackend,
  setPrecision,
  sumsOfSquares,
} from '../index.ts';
import { type Input, integers, random, tensorOf, whyMissing } from '../testing.ts';
import { attentionBackward, attentionForward } from './attention.ts';
import { XlaBackend } from './backend.ts';
import { connect } from './device.ts';
import { localDevices } from './devices.ts';
import { crossEntropy } from './loss.ts';
import type { Dot, Floats } from './lowering.ts';

compileQuickly();
const missing = await whyMissing('xla');
const cuda = await findPlugin('cuda13').catch(() => undefined);
if (!cuda)
  console.warn('steps are not compiled for an H200: install the plugin with npx meap-pjrt install cuda13');
const backend = () => tf.backend() as XlaBackend;

describe.skipIf(missing)('the xla backend', () => {
  beforeEach(async () => {
    await setBackend('xla');
  });
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  it('compiles a step once, writes in place, and leaves nothing', async () => {
    const variables = [1, 2, 3].map((seed) => {
      const { values, shape } = random([40, 8], seed);
      return tf.tidy(() => tf.variable(tensorOf({ values: values.map(Math.abs), shape })));
    });
    const [parameter, firstMoment, secondMoment] = variables;
    let previous: tf.Tensor | undefined;
    const losses: number[] = [];
    const step = async (number: number) => {
      const x = tensorOf(random([5, 40], number));
      const keys = Int32Array.from({ length: 10 }, (_, i) => i + number);
      const loss = () => {
        const y = rmsNorm(tf.matMul(x, parameter), tf.ones([8]), 1e-5);
        return tf.sum(tf.exp(dropout(y, 0.25, keys))) as tf.Scalar;
      };
      const { value, grads } = tf.variableGrads(loss, [parameter]);
      const gradient = grads[parameter.name];
      const values = tf.tidy(() => tf.concat([value.as1D(), sumsOfSquares([gradient]).as1D()]));
      const scale = gradientScale({ values, numLosses: 1, numTargets: 5 + number, clipNorm: 1, previous });
      const rates = { learningRate: 0.1 / number, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.1 };
      adamW({ parameter, gradient, firstMoment, secondMoment, ...rates, step: number, gradientScale: scale });
      const dead = [x, value, gradient, ...(previous ? [previous] : [])];
      tf.dispose(dead);
      previous = scale;
      markStep();
      losses.push((await values.data())[0]);
      values.dispose();
    };
    const before = backend().programs.size;
    await step(1);
    const { numDataBuffers } = tf.memory();
    for (const number of [2, 3, 4]) await step(number);
    expect(backend().programs.size - before).toBe(1);
    expect(tf.memory().numDataBuffers).toBe(numDataBuffers);
    expect(new Set(losses).size).toBe(4);
    const program = await [...backend().programs.values()].at(-1)!;
    expect(program.memoryStats().aliased).toBeGreaterThanOrEqual(3 * 4 * 40 * 8);
    tf.dispose(variables);
    previous?.dispose();
  });

  it('attention and loss are the same in small tiles and chunks as in one', async () => {
    const [B, T, H, G, D, V] = [2, 21, 4, 2, 6, 13];
    const inputs: Record<string, Input> = {
      q: random([B, T, H, D], 1),
      k: random([B, T, G, D], 2),
      v: random([B, T, G, D], 3),
      dy: random([B, T, H, D], 4),
      segmentIds: integers([B, T], (i) => Math.floor((i % T) / 12)),
      x: random([T, D], 5),
      weight: random([V, D], 6),
      mask: random([T], 7),
      targets: integers([T], (i) => (i * 7) % V),
    };
    const compute = async (tile?: number, chunkLogits?: number) => {
      const lowering = (all: Readonly<Record<string, Floats>>, _: unknown, dot: Dot): hlo.Tensor[] => {
        const { q, k, v, dy, segmentIds, x, weight, mask, targets } = all;
        const options = { window: 9, scale: 0.3, tile };
        const [out, logSumExp] = attentionForward({ q, k, v, segmentIds }, options, dot);
        const gradients = attentionBackward({ dy, q, k, v, segmentIds, out, logSumExp }, options, dot);
        const head = { x, weight, targets, mask };
        const losses = crossEntropy(head, 'both', dot, { chunkLogits, zLoss: 0.1 });
        return [out, logSumExp, ...gradients, ...losses, ...crossEntropy(head, 'ids', dot, { chunkLogits })];
      };
      const tensors = Object.entries(inputs).map(([name, input]) => [name, tensorOf(input)] as const);
      const results = backend().record('test', lowering, Object.fromEntries(tensors), { tile });
      const values = await Promise.all(results.map(({ dataId }) => backend().read(dataId)));
      for (const { dataId } of results) backend().disposeData(dataId);
      tf.dispose(tensors.map(([, tensor]) => tensor));
      return values as Float32Array[];
    };
    const [whole, parts] = [await compute(), await compute(8, 4 * V)];
    for (const [i, values] of whole.entries()) expectClose(parts[i], values, { relative: 3e-6 });
  });

  it('drops the elements that the reference drops', async () => {
    const keys = Int32Array.of(3, -4, 5, 6);
    const results = [];
    for (const name of ['xla', 'cpu'] as const) {
      await setBackend(name);
      const dropped = dropout(tf.ones([2, 3, 5]), 0.4, keys);
      results.push(await dropped.data());
      dropped.dispose();
    }
    expect(results[0]).toEqual(results[1]);
  });

  it.skipIf(!cuda)('compiles a step in bfloat16 for an H200: donated, tiled and in chunks', async () => {
    const { client } = await connect();
    const compile = vi.spyOn(Object.getPrototypeOf(client) as typeof client, 'compile');
    const [B, T, E, D, V] = [2, 2048, 128, 64, 16_384];
    const shapes = { norm_E: [E], q_OE: [E, E], k_OE: [D, E], v_OE: [D, E], o_EO: [E, E], head: [V, E] };
    const zeros = (shape: number[]) => tf.tidy(() => tf.variable(tf.zeros(shape)));
    const weights = Object.values(shapes).map(zeros);
    const moments = weights.map(({ shape }) => [zeros(shape), zeros(shape)]);
    setPrecision('bfloat16');
    const { value, grads } = tf.variableGrads(() => {
      const [norm_E, q_OE, k_OE, v_OE, o_EO, head] = weights;
      const table = tf.zeros([T, D / 2]);
      const options = { epsilon: 1e-5, cos: table, sin: table, headSize: D };
      const x = residualAttention(tf.zeros([B, T, E]), { norm_E, q_OE, k_OE, v_OE, o_EO }, options);
      return linearCrossEntropy(x.reshape([B * T, E]), head, tf.zeros([B * T], 'int32'));
    }, weights);
    weights.forEach((parameter, i) => {
      const [firstMoment, secondMoment] = moments[i];
      const rates = { learningRate: 1, beta1: 0.9, beta2: 0.9, epsilon: 1, weightDecay: 0, step: 1 };
      const gradient = grads[parameter.name];
      adamW({ parameter, gradient, firstMoment, secondMoment, ...rates, gradientScale: 1 });
    });
    tf.dispose(grads);
    markStep();
    setPrecision('float32');
    await value.data();
    const [program] = compile.mock.calls.at(-1)!;
    compile.mockRestore();
    tf.dispose([value, ...weights, ...moments.flat()]);

    vi.stubEnv('XLA_FLAGS', '');
    const topology = await loadPlugin(cuda!).createTopology('h200', cudaTarget('h200'));
    const executable = await topology.compile(program);
    const { aliased, temporary } = executable.memoryStats();
    const numbers = weights.reduce((sum, { size }) => sum + size, 0);
    expect(aliased).toBeGreaterThanOrEqual(3 * 4 * numbers);
    // All logits are 268 MB, all scores of attention 67 MB.
    expect(temporary).toBeLessThan(200e6);
    const { computations } = await executable.optimizedProgram();
    const operandTypes = computations.flatMap(({ instructions }) => {
      const shapes = new Map(instructions.map(({ name, shape }) => [name, shape]));
      const products = instructions.filter(({ opcode }) => opcode === 'dot');
      return products.flatMap(({ operands }) => operands.map((name) => shapes.get(name)!.split('[')[0]));
    });
    expect(operandTypes.length).toBeGreaterThan(20);
    expect(new Set(operandTypes)).toEqual(new Set(['bf16']));
  });

  it('refuses by name what it cannot do', async () => {
    const x = tf.tensor1d([1, 2]);
    expect(() => tf.cumsum(x)).toThrow('xla: the op Cumsum has no lowering; compose it of others');
    expect(() => tf.tensor(['text'])).toThrow('xla: got a tensor of type string');
    const sum = tf.add(x, 1);
    expect(() => sum.dataSync()).toThrow(
      'xla: a device cannot be read synchronously; use `await tensor.data()`',
    );
    expect([...x.dataSync()]).toEqual([1, 2]);
    tf.dispose([x, sum]);
  });

  it('keeps the first failure of the device', async () => {
    const own = new XlaBackend(localDevices(await connect(), {}));
    const bad = () => hlo.customCall('no such function', [], [hlo.tensorType('float32')]);
    const [{ dataId }] = own.record('bad', bad, {});
    await expect(own.read(dataId)).rejects.toThrow(
      /^xla: .*no such function.*resume from the last checkpoint/,
    );
    expect(() => own.record('next', () => hlo.constant('float32', 1), {})).toThrow('no such function');
  });

  it('says which plugin is missing, or does not start', async () => {
    vi.stubEnv('MEAP_PJRT_PLUGIN', '/no/plugin.so');
    await expect(connect()).rejects.toThrow(
      /^xla: the plugin plugin \(\/no\/plugin.so\) does not start: .*no such file/,
    );
    vi.stubEnv('MEAP_PJRT_PLUGIN', '');
    vi.stubEnv('XDG_CACHE_HOME', '/no');
    vi.stubEnv('VIRTUAL_ENV', '/no');
    await expect(connect()).rejects.toThrow(
      'xla: no PJRT plugin for a device of this machine; install one with `npx meap-pjrt install cuda13`',
    );
  });
});
