/** The values of every op on the CPU plugin, against plain JavaScript. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Client } from '../client.ts';
import type { HostArray } from '../element-types.ts';
import { loadPlugin } from '../plugin.ts';
import { pluginForTests, runProgram, typed } from '../testing.ts';
import * as hlo from './index.ts';

const path = await pluginForTests('cpu');
const f32 = (...shape: number[]) => typed('float32', ...shape);
const plain = (array: HostArray) => Array.from(array as Iterable<number | bigint>, Number);

/** Rows of a matrix. */
const X = [
  [0.5, -1.5, 2.5],
  [4, -0.25, 6],
];
const x32 = new Float32Array(X.flat());

describe.skipIf(!path)('values', () => {
  let client: Client;
  beforeAll(async () => {
    client = await loadPlugin(path!).createClient();
  });
  afterAll(() => client?.dispose());

  /** Runs a program that returns tensors by name, and compares them within rounding. */
  async function check(
    args: readonly hlo.Argument[],
    inputs: readonly HostArray[],
    body: (...tensors: hlo.Tensor[]) => [name: string, value: hlo.Tensor, expected: readonly number[]][],
  ): Promise<void> {
    const expected: [string, readonly number[]][] = [];
    const outputs = await runProgram(client, args, inputs, (...tensors) => {
      const results = body(...tensors);
      expected.push(...results.map(([name, , values]): [string, readonly number[]] => [name, values]));
      return results.map(([, value]) => value);
    });
    expected.forEach(([name, values], i) => {
      expect(plain(outputs[i]), name).toHaveLength(values.length);
      for (const [j, value] of plain(outputs[i]).entries()) {
        expect(value, `${name} ${j}`).toBeCloseTo(values[j], 4);
      }
    });
  }

  it('elementwise', async () => {
    const even = (value: number) =>
      Math.abs(value % 1) === 0.5 && Math.floor(value) % 2 === 0 ? Math.floor(value) : Math.round(value);
    const b32 = new Float32Array([2, 3, 1, 0.5, 4, 2]);
    const of = (f: (value: number) => number) => [...x32].map(f);
    const pairs = (f: (p: number, q: number) => number) => [...x32].map((value, i) => f(value, b32[i]));
    await check([f32(2, 3), f32(2, 3)], [x32, b32], (one, other) => {
      const [x, y] = [one, other] as hlo.Tensor<'float32'>[];
      return [
        ['abs', hlo.abs(x), of(Math.abs)],
        ['negate', hlo.negate(x), of((v) => -v)],
        ['sign', hlo.sign(x), of(Math.sign)],
        ['exponential', hlo.exponential(x), of(Math.exp)],
        ['exponentialMinusOne', hlo.exponentialMinusOne(x), of(Math.expm1)],
        ['log', hlo.log(hlo.abs(x)), of((v) => Math.log(Math.abs(v)))],
        ['logPlusOne', hlo.logPlusOne(hlo.abs(x)), of((v) => Math.log1p(Math.abs(v)))],
        ['logistic', hlo.logistic(x), of((v) => 1 / (1 + Math.exp(-v)))],
        ['tanh', hlo.tanh(x), of(Math.tanh)],
        ['sqrt', hlo.sqrt(hlo.abs(x)), of((v) => Math.sqrt(Math.abs(v)))],
        ['rsqrt', hlo.rsqrt(hlo.abs(x)), of((v) => 1 / Math.sqrt(Math.abs(v)))],
        ['sine', hlo.sine(x), of(Math.sin)],
        ['cosine', hlo.cosine(x), of(Math.cos)],
        ['floor', hlo.floor(x), of(Math.floor)],
        ['ceil', hlo.ceil(x), of(Math.ceil)],
        ['roundNearestEven', hlo.roundNearestEven(x), of(even)],
        ['add', hlo.add(x, y), pairs((p, q) => p + q)],
        ['subtract', hlo.subtract(x, y), pairs((p, q) => p - q)],
        ['multiply', hlo.multiply(x, y), pairs((p, q) => p * q)],
        ['divide', hlo.divide(x, y), pairs((p, q) => p / q)],
        ['remainder', hlo.remainder(x, y), pairs((p, q) => p % q)],
        ['power', hlo.power(y, x), pairs((p, q) => q ** p)],
        ['maximum', hlo.maximum(x, y), pairs(Math.max)],
        ['minimum', hlo.minimum(x, y), pairs(Math.min)],
        ['compare', hlo.compare('LT', x, y), pairs((p, q) => Number(p < q))],
        ['select', hlo.select(hlo.compare('GE', x, y), x, y), pairs(Math.max)],
        ['isFinite', hlo.isFinite(hlo.divide(x, hlo.subtract(y, y))), of(() => 0)],
        ['convert', hlo.convert(hlo.convert(x, 'bfloat16'), 'float32'), [...x32]],
        ['to integers', hlo.convert(x, 'int32'), of(Math.trunc)],
        ['bitcastConvert', hlo.bitcastConvert(x, 'int32'), [...new Int32Array(x32.buffer)]],
      ];
    });
  });

  it('integers, booleans and constants', async () => {
    const i32 = new Int32Array([6, -3, 12]);
    const integer = typed('int32', 3);
    await check([integer], [i32], (one) => {
      const x = one as hlo.Tensor<'int32'>;
      const two = hlo.constant('int32', new Int32Array([2, 2, 3]), [3]);
      const t = hlo.compare('GT', x, hlo.constant('int32', 0, [3]));
      return [
        ['and', hlo.and(x, two), [6 & 2, -3 & 2, 12 & 3]],
        ['or', hlo.or(x, two), [6 | 2, -3 | 2, 12 | 3]],
        ['xor', hlo.xor(x, two), [6 ^ 2, -3 ^ 2, 12 ^ 3]],
        ['not', hlo.not(x), [~6, ~-3, ~12]],
        ['not of booleans', hlo.not(t), [0, 1, 0]],
        ['shiftLeft', hlo.shiftLeft(x, two), [24, -12, 96]],
        ['shiftRightLogical', hlo.shiftRightLogical(x, two), [1, 1073741823, 1]],
        ['divide', hlo.divide(x, two), [3, -1, 4]],
        ['reduce and', hlo.reduce(t, 'and', [0]), [0]],
        ['reduce or', hlo.reduce(t, 'or', [0]), [1]],
        ['reduce maximum', hlo.reduce(x, 'maximum', [0]), [12]],
        ['reduce minimum', hlo.reduce(x, 'minimum', [0]), [-3]],
        ['reduce multiply', hlo.reduce(x, 'multiply', [0]), [-216]],
        ['iota', hlo.iota('int32', [2, 3], 1), [0, 1, 2, 0, 1, 2]],
        ['bool constant', hlo.constant('bool', new Uint8Array([1, 0, 1, 1]), [2, 2]), [1, 0, 1, 1]],
        ['tiny constant', hlo.multiply(hlo.constant('float32', 1e-7), hlo.constant('float32', 1e7)), [1]],
        ['large constant', hlo.constant('float64', 1.5e300), [1.5e300]],
        ['infinity', hlo.constant('float32', Number.NEGATIVE_INFINITY), [Number.NEGATIVE_INFINITY]],
        ['int64 constant', hlo.constant('int64', -(2n ** 63n)), [-(2 ** 63)]],
        ['no elements', hlo.constant('float32', new Float32Array(0), [0, 2]), []],
      ];
    });
  });

  it('shapes, rows and products', async () => {
    const indices = new Int32Array([1, 0, 1]);
    await check([f32(2, 3), typed('int32', 3)], [x32, indices], (one, two) => {
      const [x, rows] = [one as hlo.Tensor<'float32'>, two as hlo.Tensor<'int32'>];
      const nine = hlo.constant('float32', 9, [1, 2]);
      const i = hlo.constant('int32', 1);
      const wide = hlo.convert(x, 'bfloat16');
      const [first, second] = X;
      const dot = (p: number[], q: number[]) => p.reduce((sum, value, at) => sum + value * q[at], 0);
      return [
        ['reshape', hlo.reshape(x, [3, 2]), X.flat()],
        ['broadcastInDim', hlo.broadcastInDim(rows, [2, 3], [1]), [1, 0, 1, 1, 0, 1]],
        ['transpose', hlo.transpose(x, [1, 0]), [0.5, 4, -1.5, -0.25, 2.5, 6]],
        ['slice', hlo.slice(x, [0, 0], [2, 3], [1, 2]), [0.5, 2.5, 4, 6]],
        ['dynamicSlice', hlo.dynamicSlice(x, [i, i], [1, 2]), [-0.25, 6]],
        ['dynamicUpdateSlice', hlo.dynamicUpdateSlice(x, nine, [i, i]), [...first, 4, 9, 9]],
        ['concatenate', hlo.concatenate([x, x], 1), [...first, ...first, ...second, ...second]],
        ['pad', hlo.pad(x, hlo.constant('float32', 7), [1, 0], [0, -1]), [7, 7, 0.5, -1.5, 4, -0.25]],
        ['gatherRows', hlo.gatherRows(x, rows), [...second, ...first, ...second]],
        [
          'scatterAddRows',
          hlo.scatterAddRows(x, rows, hlo.gatherRows(x, rows)),
          [...first.map((v) => 2 * v), ...second.map((v) => 3 * v)],
        ],
        ['sum', hlo.sum(x, [1]), [1.5, 9.75]],
        ['sum of bfloat16', hlo.sum(wide, [0, 1]), [11.25]],
        ['reduce maximum', hlo.reduce(x, 'maximum', [0]), [4, -0.25, 6]],
        [
          'matmul',
          hlo.matmul(x, hlo.transpose(x, [1, 0])),
          [first, second].flatMap((p) => X.map((q) => dot(p, q))),
        ],
        [
          'dotGeneral in batches, from bfloat16 to float32',
          hlo.dotGeneral(wide, wide, { batching: [[0], [0]], contracting: [[1], [1]] }, 'float32', 'HIGHEST'),
          X.map((row) => dot(row, row)),
        ],
      ];
    });
  });

  it('loops, barriers and random bits', async () => {
    await check([f32(2, 3)], [x32], (one) => {
      const x = one as hlo.Tensor<'float32'>;
      const last = hlo.constant('int32', 5);
      const [count, sum] = hlo.whileLoop(
        [hlo.constant('int32', 0), hlo.constant('float32', 0, [2, 3])],
        (i) => hlo.compare('LT', i, last),
        (i, total) => {
          const [, twice] = hlo.whileLoop(
            [hlo.constant('int32', 0), x],
            (j) => hlo.compare('LT', j, hlo.constant('int32', 1)),
            (j, value) => [hlo.add(j, hlo.constant('int32', 1)), hlo.add(value, x)],
          );
          return [hlo.add(i, hlo.constant('int32', 1)), hlo.add(total, twice)];
        },
      );
      const [barrier] = hlo.optimizationBarrier([x, count]);
      const state = hlo.constant('uint64', new BigUint64Array([1n, 2n]), [2]);
      const [next, bits] = hlo.threefryBits(state, 'uint32', [2]);
      const [again] = hlo.threefryBits(next, 'uint32', [2]);
      return [
        ['count', count, [5]],
        ['sum', sum, X.flat().map((value) => 10 * value)],
        ['optimizationBarrier', barrier, X.flat()],
        ['state', next, [1, 3]],
        ['bits', bits, [43444564, 2150618427]],
        ['the next state', again, [1, 4]],
      ];
    });
  });
});
