/** The text that the builder writes and the mistakes that it finds; values are in values.slow.test.ts. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PjrtError } from '../errors.ts';
import { typed } from '../testing.ts';
import * as hlo from './index.ts';

const f32 = (...shape: number[]) => typed('float32', ...shape);
const build = (
  body: (x: hlo.Tensor<'float32'>, y: hlo.Tensor<'float32'>, i: hlo.Tensor<'int32'>) => hlo.Tensor,
) => hlo.buildModule([f32(2, 3), f32(3), typed('int32')], body);

describe('buildModule', () => {
  it('writes a module with donation, mesh and shardings', () => {
    const text = hlo.buildModule(
      [
        { ...f32(4, 2), donate: 0, sharding: [['data'], []] },
        { ...f32(2, 6), donate: true, sharding: [[], ['tensor']] },
      ],
      (x, w) => [hlo.add(x, x), hlo.shard(hlo.matmul(x, w), [['data'], ['tensor']])],
      {
        name: 'step',
        mesh: { data: 2, tensor: 3 },
        outputShardings: [undefined, [['data'], ['tensor']]],
      },
    );
    expect(text).toBe(`module @step attributes {mhlo.num_partitions = 6 : i32, mhlo.num_replicas = 1 : i32} {
  sdy.mesh @mesh = <["data"=2, "tensor"=3]>
  func.func public @main(${[
    '%arg0: tensor<4x2xf32> {tf.aliasing_output = 0 : i32, sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {}]>}',
    '%arg1: tensor<2x6xf32> {jax.buffer_donor = true, sdy.sharding = #sdy.sharding<@mesh, [{}, {"tensor"}]>}',
  ].join(', ')}) -> (${[
    'tensor<4x2xf32>',
    'tensor<4x6xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {"tensor"}]>}',
  ].join(', ')}) {
    %0 = stablehlo.add %arg0, %arg0 : tensor<4x2xf32>
    %1 = stablehlo.dot_general %arg0, %arg1, contracting_dims = [1] x [0], precision = [DEFAULT, DEFAULT] : (tensor<4x2xf32>, tensor<2x6xf32>) -> tensor<4x6xf32>
    %2 = sdy.sharding_constraint %1 <@mesh, [{"data"}, {"tensor"}]> : tensor<4x6xf32>
    return %0, %2 : tensor<4x2xf32>, tensor<4x6xf32>
  }
}
`);
  });

  it('writes the regions of loops and scatters', () => {
    const text = hlo.buildModule([typed('int32')], (start) => {
      const [end] = hlo.whileLoop(
        [start],
        (i) => hlo.compare('LT', i, hlo.constant('int32', 9)),
        (i) => [hlo.add(i, start)],
      );
      return end;
    });
    expect(text).toContain(`    %4 = stablehlo.while(%0 = %arg0) : tensor<i32>
    cond {
      %1 = stablehlo.constant dense<9> : tensor<i32>
      %2 = stablehlo.compare LT, %0, %1, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %2 : tensor<i1>
    } do {
      %3 = stablehlo.add %0, %arg0 : tensor<i32>
      stablehlo.return %3 : tensor<i32>
    }
`);
  });

  it('quotes what custom calls are given', () => {
    const text = build((x) => {
      const [result, workspace] = hlo.customCall('__cudnn$f', [x], [f32(2, 3), typed('uint8', 16)], {
        backendConfig: '{"scale": "é\\"}',
        operandLayouts: [[0, 1]],
      });
      expect(workspace).toMatchObject({ type: 'uint8', shape: [16] });
      return result;
    });
    expect(text).toContain(
      '%0:2 = stablehlo.custom_call @"__cudnn$f"(%arg0) {api_version = 2 : i32, ' +
        'backend_config = "{\\22scale\\22: \\22\\C3\\A9\\5C\\22}", ' +
        'operand_layouts = [dense<[0, 1]> : tensor<2xindex>], ' +
        'result_layouts = [dense<[1, 0]> : tensor<2xindex>, dense<[0]> : tensor<1xindex>]} : ' +
        '(tensor<2x3xf32>) -> (tensor<2x3xf32>, tensor<16xui8>)',
    );
    expect(text).toContain('return %0#0');
  });

  it.each<[string, () => unknown, RegExp]>([
    [
      'a donation',
      () => hlo.buildModule([{ ...f32(2), donate: 0 }], (x) => hlo.convert(x, 'int32')),
      /argument 0: donate: got result 0, int32\[2\], expected float32\[2\]/,
    ],
    [
      'an axis',
      () => hlo.buildModule([{ ...f32(2), sharding: [['x']] }], (x) => x),
      /argument 0: sharding: got the axis 'x'/,
    ],
    [
      'a division',
      () => hlo.buildModule([{ ...f32(3), sharding: [['x']] }], (x) => x, { mesh: { x: 2 } }),
      /dimension 0 of float32\[3\] does not divide into 2/,
    ],
    [
      'a rank',
      () => hlo.buildModule([{ ...f32(4), sharding: [] }], (x) => x, { mesh: { x: 2 } }),
      /got 0 dimensions for float32\[4\]/,
    ],
    [
      'a repeated axis',
      () => hlo.buildModule([{ ...f32(4, 4), sharding: [['x'], ['x']] }], (x) => x, { mesh: { x: 2 } }),
      /an axis is used twice/,
    ],
    ['a mesh', () => hlo.buildModule([], () => [], { mesh: { x: 0 } }), /mesh: got x: 0/],
    [
      'parts of devices',
      () =>
        hlo.buildModule([f32(3)], (x) => hlo.onEachDevice([x], [[['x']]], [[[]]], (part) => [part]), {
          mesh: { x: 2 },
        }),
      /onEachDevice: sharding: dimension 0 of float32\[3\] does not divide into 2 parts/,
    ],
    [
      'shardings of devices',
      () => hlo.buildModule([f32(4)], (x) => hlo.onEachDevice([x], [], [], () => []), { mesh: { x: 2 } }),
      /onEachDevice: got 0 shardings for 1 operands/,
    ],
    ['a name', () => hlo.buildModule([], () => [], { name: 'a b' }), /name: got 'a b'/],
    ['a shape', () => hlo.tensorType('float32', [-1]), /tensorType: got the shape \[-1\]/],
    ['an op outside', () => hlo.constant('float32', 1), /constant: called outside of buildModule/],
  ])('refuses %s', (_, call, message) => {
    expect(call).toThrow(message);
    expect(call).toThrow(PjrtError);
  });
});

describe('ops refuse', () => {
  it.each<[string, Parameters<typeof build>[0], RegExp]>([
    ['other shapes', (x, y) => hlo.add(x, y), /add: got float32\[2,3\] and float32\[3\], expected equal/],
    [
      'other types',
      // @ts-expect-error
      (x) => hlo.add(x, hlo.convert(x, 'float64')),
      /add: got float32\[2,3\] and float64/,
    ],
    [
      'integers for floats',
      // @ts-expect-error
      (_x, _y, i) => hlo.exponential(i),
      /exponential: got int32\[\], expected elements of type float/,
    ],
    [
      'bits of floats',
      // @ts-expect-error
      (x) => hlo.not(x),
      /not: got float32\[2,3\], expected elements of type integer or bool/,
    ],
    [
      'a condition',
      (x, y) => hlo.select(hlo.compare('EQ', y, y), x, x),
      /select: got the condition bool\[3\], expected bool\[2,3\]/,
    ],
    ['a bitcast', (x) => hlo.bitcastConvert(x, 'int64'), /bitcastConvert: got float32\[2,3\] and int64/],
    ['a constant', () => hlo.constant('int32', 1.5), /constant: got 1.5 for int32/],
    [
      'constants',
      () => hlo.constant('float32', new Float32Array(3), [2]),
      /got Float32Array of 3, expected Float32Array of 2/,
    ],
    ['a reshape', (x) => hlo.reshape(x, [5]), /reshape: got float32\[2,3\] and the shape \[5\]/],
    [
      'a broadcast',
      (_, y) => hlo.broadcastInDim(y, [2, 4], [1]),
      /broadcastInDim: got float32\[3\] for the dimensions \[1\]/,
    ],
    [
      'a permutation',
      (x) => hlo.transpose(x, [0, 0]),
      /transpose: got the dimensions \[0,0\], expected different ones of 0 to 1/,
    ],
    [
      'a slice',
      (x) => hlo.slice(x, [0, 2], [2, 4]),
      /slice: got \[0,2\] to \[2,4\] by \[1,1\] of float32\[2,3\]/,
    ],
    [
      'starts',
      (x, _, i) => hlo.dynamicSlice(x, [i], [1, 1]),
      /dynamicSlice: got the starts int32\[\] for float32\[2,3\]/,
    ],
    ['sizes', (x, _, i) => hlo.dynamicSlice(x, [i, i], [1, 4]), /dynamicSlice: got the sizes \[1,4\]/],
    [
      'an update',
      (x, y, i) => hlo.dynamicUpdateSlice(x, y, [i, i]),
      /got the update float32\[3\] for float32\[2,3\]/,
    ],
    [
      'a concatenation',
      (x, y) => hlo.concatenate([x, y], 0),
      /concatenate: got float32\[2,3\] and float32\[3\]/,
    ],
    ['a padding', (x) => hlo.pad(x, x, [0, 0], [0, 0]), /pad: got the value float32\[2,3\]/],
    [
      'contracted lengths',
      (x, y) => hlo.dotGeneral(x, y, { contracting: [[0], [0]] }),
      /dotGeneral: got \[0\] of float32\[2,3\] and \[0\] of float32\[3\]/,
    ],
    [
      'vectors for matrices',
      (x, y) => hlo.matmul(x, y),
      /matmul: got float32\[2,3\] and float32\[3\], expected matrices/,
    ],
    [
      'rows',
      (x, _y, i) => hlo.scatterAddRows(x, i, x),
      /got the updates float32\[2,3\], expected float32\[3\]/,
    ],
    ['a reduction', (x) => hlo.reduce(x, 'and', [0]), /reduce: got float32\[2,3\] for 'and'/],
    ['a reduced dimension', (x) => hlo.reduce(x, 'add', [2]), /reduce: got the dimensions \[2\]/],
    [
      'a loop',
      (x, _, i) =>
        hlo.whileLoop(
          [i],
          (j) => hlo.compare('LT', j, i),
          (_) => [x as hlo.Tensor as hlo.Tensor<'int32'>],
        )[0],
      /the body: got float32\[2,3\], expected int32\[\]/,
    ],
    [
      "a loop's condition",
      (x, y) =>
        hlo.whileLoop(
          [y],
          (z) => hlo.compare('LT', z, z),
          (z) => [z],
        )[0] ?? x,
      /the condition: got bool\[3\]/,
    ],
  ])('%s', (_, body, message) => {
    expect(() => build(body)).toThrow(message);
  });

  it('values of other functions and of loops that have ended', () => {
    let leaked: hlo.Tensor<'int32'> | undefined;
    const loop = (i: hlo.Tensor<'int32'>) =>
      hlo.whileLoop(
        [i],
        (j) => hlo.compare('LT', j, i),
        (j) => {
          leaked = hlo.add(j, j);
          return [leaked];
        },
      )[0];
    expect(() => build((_x, _y, i) => hlo.add(loop(i), leaked!))).toThrow(
      /add: %\d+ belongs to another function, or/,
    );
    expect(() => build((_x, _y, i) => hlo.add(i, leaked!))).toThrow('belongs to another function');
    expect(() => build(() => leaked!)).toThrow('result 0 belongs to another function');
  });
});

describe('shapes of results', () => {
  const shape = fc.array(fc.nat(4), { maxLength: 4 });

  it('transpose inverts its inverse', () => {
    fc.assert(
      fc.property(shape, fc.infiniteStream(fc.nat()), (lengths, random) => {
        const order = lengths.map((_, i) => i).sort(() => (random.next().value % 2) * 2 - 1);
        const inverse = order.map((_, i) => order.indexOf(i));
        hlo.buildModule([f32(...lengths)], (x) => {
          const back = hlo.transpose(hlo.transpose(x, order), inverse);
          expect(back.shape).toEqual(lengths);
          return back;
        });
      }),
    );
  });

  it('slices and concatenates to the same', () => {
    fc.assert(
      fc.property(fc.nat(4), fc.nat(4), (a, b) => {
        hlo.buildModule([f32(a + b, 2)], (x) => {
          const parts = [hlo.slice(x, [0, 0], [a, 2]), hlo.slice(x, [a, 0], [a + b, 2])];
          expect(parts.map((part) => part.shape[0])).toEqual([a, b]);
          const whole = hlo.concatenate(parts, 0);
          expect(whole.shape).toEqual(x.shape);
          return whole;
        });
      }),
    );
  });
});
