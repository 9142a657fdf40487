/** Everything that runs on a device, with the CPU plugin and four devices. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Client } from './client.ts';
import { collectiveTraffic } from './collectives.ts';
import { ELEMENT_TYPES } from './element-types.ts';
import { PjrtError } from './errors.ts';
import { loadPlugin, type Plugin } from './plugin.ts';
import * as hlo from './stablehlo/index.ts';
import { pluginForTests, runProgram, typed } from './testing.ts';

const path = await pluginForTests('cpu');
const f32 = (...shape: number[]) => typed('float32', ...shape);
let work: string;

beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'meap-pjrt-'));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

describe.skipIf(!path)('a client', () => {
  let plugin: Plugin;
  let client: Client;
  beforeAll(async () => {
    plugin = loadPlugin(path!);
    client = await plugin.createClient({ cpu_device_count: 4 });
  });
  afterAll(() => client?.dispose());

  it('says what it is', () => {
    expect(plugin.version.major).toBe(0);
    expect(plugin.attributes).toHaveProperty('stablehlo_current_version');
    expect(client.platformName).toBe('cpu');
    expect(client.devices.map(({ id, kind, processIndex }) => [id, kind, processIndex])).toEqual(
      [0, 1, 2, 3].map((id) => [id, 'cpu', 0]),
    );
    expect(client.devices[0].memoryStats()).toBeUndefined();
  });

  it('returns arrays of every type and shape as they were put', async () => {
    const types = [
      'float32',
      'float64',
      'int8',
      'int16',
      'int32',
      'uint8',
      'uint16',
      'uint32',
      'bfloat16',
    ] as const;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 }),
        fc.constantFrom(...types),
        fc.nat(3),
        async (shape, type, index) => {
          const size = shape.reduce((product, length) => product * length, 1);
          const data = new ELEMENT_TYPES[type].array(size);
          data.forEach((_, i) => {
            data[i] = i;
          });
          const buffer = await client.put(data, { shape, type, device: client.devices[index] });
          expect(await buffer.read()).toEqual(data);
          buffer.dispose();
        },
      ),
      { numRuns: 15 },
    );
    const bigint = await client.put(new BigInt64Array([-(2n ** 63n), 5n]));
    expect(await bigint.read()).toEqual(new BigInt64Array([-(2n ** 63n), 5n]));
    bigint.dispose();
  });

  it('puts parts of larger arrays, and reads into given ones', async () => {
    const memory = new Float32Array([9, 1, 2, 3, 9]);
    const buffer = await client.put(memory.subarray(1, 4));
    memory.fill(7);
    const target = new Float32Array(5);
    await buffer.read(target.subarray(2));
    expect(target).toEqual(new Float32Array([0, 0, 1, 2, 3]));
    await expect(buffer.read(new Float32Array(2))).rejects.toThrow(
      'read: got Float32Array of 2, expected Float32Array of 3',
    );
    buffer.dispose();
  });

  it('runs on a chosen device and copies between devices', async () => {
    const text = hlo.buildModule([f32(2)], (x) => hlo.add(x, x));
    const executable = await client.compile(text, { deviceIds: [2] });
    expect(executable.devices).toEqual([client.devices[2]]);
    const first = await client.put(new Float32Array([1, 2]));
    await expect(executable.execute([first])).rejects.toThrow(
      'execute: argument 0: got a buffer on device 0, expected device 2',
    );
    const copy = await first.copyTo(client.devices[2]);
    const [result] = await executable.execute([copy]);
    expect(result).toMatchObject({ type: 'float32', shape: [2], device: client.devices[2] });
    expect(await result.read()).toEqual(new Float32Array([2, 4]));
  });

  it('partitions a program over four devices, with collectives', async () => {
    const a = { ...f32(2, 8), sharding: [[], ['x']] };
    const b = { ...f32(8, 3), sharding: [['x'], []] };
    const text = hlo.buildModule([a, b], (x, y) => hlo.matmul(x, y), {
      mesh: { x: 4 },
      outputShardings: [[[], []]],
    });
    const executable = await client.compile(text);
    expect(executable.devices).toEqual(client.devices);
    const program = await executable.optimizedProgram();
    expect(program.inputs).toEqual([f32(2, 2), f32(2, 3)]);
    const opcodes = program.computations.flatMap(({ instructions }) =>
      instructions.map(({ opcode }) => opcode),
    );
    expect(opcodes).toContain('all-reduce');
    expect(collectiveTraffic(program, 1)).toEqual({ 'all-reduce': { count: 1, bytes: (2 * 24 * 3) / 4 } });
    const inputs = await Promise.all(
      client.devices.map((device, i) =>
        Promise.all([
          client.put(
            new Float32Array([1, 2, 3, 4]).map((value) => value + 10 * i),
            { shape: [2, 2], device },
          ),
          client.put(new Float32Array([1, 0, 2, 0, 1, 3]), { shape: [2, 3], device }),
        ]),
      ),
    );
    const outputs = await executable.executeSharded(inputs);
    // The sum over the four parts of the contracted dimension.
    const expected = new Float32Array(6);
    for (let i = 0; i < 4; i++) {
      const rows = [
        [1, 2],
        [3, 4],
      ].map((row) => row.map((value) => value + 10 * i));
      const products = rows.flatMap(([p, q]) => [p, q, 2 * p + 3 * q]);
      for (const [at, value] of products.entries()) expected[at] += value;
    }
    for (const [output] of outputs) expect(await output.read()).toEqual(expected);
    await expect(executable.execute(inputs[0])).rejects.toThrow('got arguments for 1 devices, expected 4');
  });

  it('computes on each device its parts, without communication', async () => {
    const x = { ...f32(2, 8), sharding: [[], ['x']] };
    const text = hlo.buildModule(
      [x],
      (x) => {
        const shardings = [[[], ['x']]];
        // Twice the part, and the sum of its rows: of two columns, not of eight.
        return hlo.onEachDevice([x], shardings, [...shardings, [['x']]], (part) => {
          const own = part as hlo.Tensor<'float32'>;
          return [hlo.add(own, own), hlo.reshape(hlo.sum(own, [0, 1]), [1])];
        });
      },
      { mesh: { x: 4 }, outputShardings: [[[], ['x']], [['x']]] },
    );
    const executable = await client.compile(text);
    expect(collectiveTraffic(await executable.optimizedProgram(), 4)).toEqual({});
    const inputs = client.devices.map(async (device, i) => [
      await client.put(new Float32Array([i, 10 * i, 1, 2]), { shape: [2, 2], device }),
    ]);
    const outputs = await executable.executeSharded(await Promise.all(inputs));
    for (const [i, [twice, sum]] of outputs.entries()) {
      expect(await twice.read()).toEqual(new Float32Array([2 * i, 20 * i, 2, 4]));
      expect(await sum.read()).toEqual(new Float32Array([11 * i + 3]));
    }
  });

  it('runs replicas on the devices that are named, each on its own data', async () => {
    const text = hlo.buildModule([f32(1)], (x) => hlo.add(x, x));
    const executable = await client.compile(text, { numReplicas: 2, deviceIds: [3, 1] });
    expect(executable.devices.map(({ id }) => id)).toEqual([3, 1]);
    const inputs = executable.devices.map(async (device) => [
      await client.put(new Float32Array([device.id]), { device }),
    ]);
    const outputs = await executable.executeSharded(await Promise.all(inputs));
    expect(await Promise.all(outputs.map(([output]) => output.read()))).toEqual([
      new Float32Array([6]),
      new Float32Array([2]),
    ]);
  });

  it('compiles bytecode, also with shardings', async () => {
    const read = (name: string) => readFileSync(join(import.meta.dirname, '../fixtures', name));
    const square = await client.compile(read('square.mlirbc'));
    const [result] = await square.execute([await client.put(new Float32Array([1, 2, 3]))]);
    expect(await result.read()).toEqual(new Float32Array([1, 4, 9]));
    const sharded = await client.compile(read('sharded.mlirbc'), { numPartitions: 4 });
    expect((await sharded.optimizedProgram()).inputs).toEqual([f32(2, 2), f32(2, 3)]);
  });

  it('donates arguments unless they are kept', async () => {
    const text = hlo.buildModule([{ ...f32(2), donate: 0 }, f32(2)], (x, y) => hlo.add(x, y));
    const executable = await client.compile(text);
    expect(executable.memoryStats()).toMatchObject({ arguments: 16, outputs: 8, aliased: 8 });
    const [x, y] = await Promise.all([
      client.put(new Float32Array([1, 2])),
      client.put(new Float32Array([10, 20])),
    ]);
    const [kept] = await executable.execute([x, y], { keep: [0] });
    expect([await kept.read(), x.isDonated]).toEqual([new Float32Array([11, 22]), false]);
    const [sum] = await executable.execute([x, y]);
    expect([await sum.read(), x.isDonated, y.isDonated]).toEqual([new Float32Array([11, 22]), true, false]);
    await expect(executable.execute([x, y])).rejects.toThrow(
      'argument 0 was donated to an earlier execution',
    );
    await expect(x.read()).rejects.toThrow('read: the buffer was donated');
    x.dispose();
  });

  it('starts executions in order, without waiting and without blocking JavaScript', async () => {
    const size = 300;
    const text = hlo.buildModule([{ ...f32(size, size), donate: 0 }], (x) =>
      hlo.add(hlo.multiply(hlo.matmul(x, x), constantLike(x, 1 / size)), constantLike(x, 0)),
    );
    const executable = await client.compile(text);
    let [state] = [await client.put(new Float32Array(size * size).fill(1), { shape: [size, size] })];
    let numTurns = 0;
    const timer = setInterval(() => numTurns++, 0);
    for (let i = 0; i < 8; i++) [state] = await executable.execute([state]);
    const started = performance.now();
    await state.ready();
    clearInterval(timer);
    const values = (await state.read()) as Float32Array;
    expect(values.findIndex((value) => value !== 1)).toBe(-1);
    // On a machine on which it was ready at once there is nothing to see.
    if (performance.now() - started > 50) expect(numTurns).toBeGreaterThan(1);
  });

  it('does many things at once', async () => {
    const results = await Promise.all(
      Array.from({ length: 8 }, async (_, i) => {
        const device = client.devices[i % 4];
        const text = hlo.buildModule([f32(3)], (x) => hlo.multiply(x, constantLike(x, 1 + (i % 3))));
        const executable = await client.compile(text, { deviceIds: [device.id] });
        const input = await client.put(new Float32Array([i, i, i]), { device });
        const [output] = await executable.execute([input]);
        input.dispose();
        executable.dispose();
        return output.read();
      }),
    );
    expect(results).toEqual(results.map((_, i) => new Float32Array(3).fill(i * (1 + (i % 3)))));
  });

  it('compares arguments with the program', async () => {
    const executable = await client.compile(hlo.buildModule([f32(2), f32(2)], (x, y) => hlo.add(x, y)));
    const x = await client.put(new Float32Array(2));
    const integers = await client.put(new Int32Array(2));
    await expect(executable.execute([x])).rejects.toThrow('execute: got 1 arguments, expected 2');
    await expect(executable.execute([x, integers])).rejects.toThrow(
      'argument 1: got int32[2], expected float32[2]',
    );
    await expect(client.put(new Float32Array(3), { shape: [2] })).rejects.toThrow(
      'got 3 elements for the shape [2]',
    );
    await expect(client.put(new Float32Array(2), { type: 'bfloat16' })).rejects.toThrow(
      'expected Uint16Array',
    );
  });

  it("gives errors of the compiler and of the runtime PJRT's code and text", async () => {
    await expect(client.compile('module {')).rejects.toThrow(/^compile: .*error: expected operation name/);
    const error = await client
      .compile(
        hlo.buildModule([], () => []),
        { xlaFlags: { nonsense: true } },
      )
      .catch((e) => e);
    expect(error).toBeInstanceOf(PjrtError);
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringContaining("'nonsense'") });
    await expect(client.load(new Uint8Array(64))).rejects.toThrow(/^load: /);
    const huge = await client.compile(
      hlo.buildModule([], () => hlo.broadcastInDim(hlo.constant('float32', 1), [1e6, 1e7], [])),
    );
    await expect(huge.execute([])).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    await expect(plugin.createTopology('1x1x1')).rejects.toMatchObject({ code: 'UNIMPLEMENTED' });
    await expect(client.compile('', { numPartitions: 0 })).rejects.toThrow('numPartitions: got 0');
    await expect(client.compile('', { deviceIds: [0, 1] })).rejects.toThrow('deviceIds: got 2, expected 1');
  });

  it('refuses what is disposed', async () => {
    const other = await plugin.createClient();
    const executable = await other.compile(hlo.buildModule([f32(1)], (x) => hlo.negate(x)));
    const buffer = await other.put(new Float32Array([3]));
    const [result] = await executable.execute([buffer]);
    await other.dispose();
    // Buffers keep what they need.
    expect(await result.read()).toEqual(new Float32Array([-3]));
    buffer.dispose();
    buffer.dispose();
    await expect(executable.execute([buffer])).rejects.toThrow(
      'execute: argument 0: the device buffer is disposed',
    );
    await expect(buffer.read()).rejects.toThrow('read: the device buffer is disposed');
    await expect(other.put(new Float32Array(1))).rejects.toThrow('put: the client is disposed');
    executable.dispose();
    await expect(executable.execute([result])).rejects.toThrow('execute: the loaded executable is disposed');
    expect(() => executable.memoryStats()).toThrow('memoryStats: the loaded executable is disposed');
  });

  it('tells costs and the optimized program', async () => {
    const executable = await client.compile(
      hlo.buildModule([f32(8, 4), f32(4, 2)], (x, y) => hlo.matmul(x, y)),
    );
    // Newer versions of the CPU plugin have no cost analysis.
    const costs = await executable.costAnalysis().catch((error) => error);
    expect(costs).toMatchObject(
      costs instanceof Error ? { code: 'UNIMPLEMENTED' } : { flops: 2 * 8 * 4 * 2 },
    );
    const program = await executable.optimizedProgram();
    expect(program).toMatchObject({ inputs: [f32(8, 4), f32(4, 2)], outputs: [f32(8, 2)] });
    const entry = program.computations.find(({ name }) => name === program.entry)!;
    expect(entry.instructions.filter(({ opcode }) => opcode === 'parameter')).toHaveLength(2);
    expect(`${program}`).toMatch(/^HloModule main\n.*ENTRY .*f32\[8,4\] parameter\(\)/s);
  });

  it('caches executables by all that they depend on, and replaces damaged files', async () => {
    const cacheDirectory = join(work, 'executables');
    const text = hlo.buildModule([f32(2)], (x) => hlo.exponential(x));
    const compile = async (program = text, options = {}) => {
      const executable = await client.compile(program, { cacheDirectory, ...options });
      const input = await client.put(new Float32Array([0, 1]), { device: executable.devices[0] });
      const [output] = await executable.execute([input]);
      expect((await output.read())[0]).toBe(1);
      return executable.isFromCache;
    };
    expect(await compile()).toBe(false);
    expect(await compile()).toBe(true);
    expect(await compile(text, { deviceIds: [1] })).toBe(false);
    expect(await compile(text.replace('@main ', '@other '))).toBe(false);
    process.env.XLA_FLAGS = '--xla_cpu_enable_fast_math=false';
    onTestFinished(() => {
      delete process.env.XLA_FLAGS;
    });
    expect(await compile()).toBe(false);
    delete process.env.XLA_FLAGS;
    const files = readdirSync(cacheDirectory);
    expect(files).toHaveLength(4);
    for (const file of files) {
      const bytes = readFileSync(join(cacheDirectory, file));
      bytes[bytes.length - 1] ^= 1;
      writeFileSync(join(cacheDirectory, file), bytes);
    }
    expect(await compile()).toBe(false);
    expect(await compile()).toBe(true);
  });

  it('computes what a plain loop computes, for matrix products of any shape', async () => {
    const side = fc.integer({ min: 1, max: 7 });
    await fc.assert(
      fc.asyncProperty(side, side, side, async (m, k, n) => {
        const a = Float32Array.from({ length: m * k }, (_, i) => (i % 5) - 2);
        const b = Float32Array.from({ length: k * n }, (_, i) => (i % 7) - 3);
        const [product] = await runProgram(client, [f32(m, k), f32(k, n)], [a, b], (x, y) =>
          hlo.matmul(x, y),
        );
        const expected = Float32Array.from({ length: m * n }, (_, at) => {
          const [row, column] = [Math.floor(at / n), at % n];
          let sum = 0;
          for (let i = 0; i < k; i++) sum += a[row * k + i] * b[i * n + column];
          return sum;
        });
        // Negative zeros are zeros.
        expect((product as Float32Array).map((value) => value + 0)).toEqual(
          expected.map((value) => value + 0),
        );
      }),
      { numRuns: 4 },
    );
  });
});

function constantLike(x: hlo.Tensor<'float32'>, value: number): hlo.Tensor<'float32'> {
  return hlo.broadcastInDim(hlo.constant('float32', value), x.shape, []);
}
