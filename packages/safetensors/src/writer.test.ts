import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { countBytes, DTYPE_BYTES, type Dtype } from './dtype.ts';
import { SafetensorsError } from './error.ts';
import { readSafetensors } from './reader.ts';
import type { SafetensorsTensor } from './tensor.ts';
import { type WritableTensor, writeSafetensors, writeShardedSafetensors } from './writer.ts';

const python = new URL('../fixtures/python.safetensors', import.meta.url).pathname;
const stories = join(process.env.MEAP_DATA ?? '', 'models/stories260K/model.safetensors');

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'safetensors-writer-'));
  path = join(folder, 'model.safetensors');
});
afterEach(() => rm(folder, { recursive: true }));

const bytes = (length: number, value = 0) => new Uint8Array(length).fill(value);
const u8 = (length: number, value = 0): SafetensorsTensor => ({
  dtype: 'U8',
  shape: [length],
  data: bytes(length, value),
});

const anyTensor: fc.Arbitrary<SafetensorsTensor> = fc
  .record({
    dtype: fc.constantFrom(...(Object.keys(DTYPE_BYTES) as Dtype[])),
    shape: fc.array(fc.nat({ max: 4 }), { maxLength: 4 }),
  })
  .chain(({ dtype, shape }) => {
    const length = countBytes(dtype, shape)!;
    return fc.uint8Array({ minLength: length, maxLength: length }).map((data) => ({ dtype, shape, data }));
  });
const anyName = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom('__proto__', 'constructor', '0', '10', '', 'a"\\\n'),
);
const anyTensors = fc
  .uniqueArray(fc.tuple(anyName, anyTensor), { selector: ([name]) => name, maxLength: 8 })
  .map((entries) => new Map(entries));
const anyMetadata = fc.option(
  fc.dictionary(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' })),
  {
    nil: undefined,
  },
);
const asLazy = (tensors: Map<string, SafetensorsTensor>): [string, WritableTensor][] =>
  [...tensors].map(([name, tensor]) => [name, { ...tensor, data: async () => tensor.data }]);

describe('writeSafetensors', () => {
  it('reads back what was written, from bytes or functions, in one file or in shards', async () => {
    await fc.assert(
      fc.asyncProperty(
        anyTensors,
        anyMetadata,
        fc.integer({ min: 1, max: 500 }),
        async (tensors, metadata, max) => {
          const expected = { metadata: metadata ?? {}, tensors };
          await writeSafetensors(path, tensors, { metadata });
          expect(await readSafetensors(path)).toEqual(expected);
          const first = await readFile(path);
          expect(first.readBigUInt64LE(0) % 8n).toBe(0n);
          await writeSafetensors(path, asLazy(tensors), { metadata });
          expect((await readFile(path)).equals(first)).toBe(true);
          const files = await writeShardedSafetensors(folder, asLazy(tensors), {
            metadata,
            maxShardBytes: max,
          });
          expect(await readSafetensors(folder)).toEqual(expected);
          expect((await readdir(folder)).sort()).toEqual([...files].sort());
        },
      ),
      { numRuns: 20 },
    );
  });

  it.each([python, stories].filter((file) => existsSync(file)))(
    'writes the very bytes of the reference implementation: %s',
    async (file) => {
      const { metadata, tensors } = await readSafetensors(file);
      await writeSafetensors(path, [...tensors].reverse(), { metadata });
      expect((await readFile(path)).equals(await readFile(file))).toBe(true);
    },
  );

  it('asks for one tensor at a time', async () => {
    let alive = 0;
    let most = 0;
    const lazy = (name: string): [string, WritableTensor] => [
      name,
      {
        dtype: 'U8',
        shape: [10],
        data: async () => {
          most = Math.max(most, ++alive);
          await new Promise((resolve) => setImmediate(resolve));
          alive--;
          return bytes(10, name.charCodeAt(0));
        },
      },
    ];
    await writeSafetensors(path, ['a', 'b', 'c'].map(lazy));
    expect(most).toBe(1);
    expect((await readSafetensors(path)).tensors.get('c')!.data).toEqual(bytes(10, 99));
  });

  const broken: [string, Iterable<[string, WritableTensor]>, object | undefined, string][] = [
    [
      'a name twice',
      [
        ['a', u8(1)],
        ['a', u8(1)],
      ],
      undefined,
      'tensor name "a" cannot be used',
    ],
    [
      'the name of the metadata',
      [['__metadata__', u8(1)]],
      undefined,
      'tensor name "__metadata__" cannot be used',
    ],
    ['a lone surrogate', [['\ud800', u8(1)]], undefined, 'cannot be used'],
    [
      'an unknown dtype',
      [['a', { ...u8(1), dtype: 'Q4' as 'U8' }]],
      undefined,
      'tensor "a" cannot be written, got Q4 [1]',
    ],
    ['a negative dimension', [['a', { ...u8(1), shape: [-1] }]], undefined, 'cannot be written, got U8 [-1]'],
    ['a fraction', [['a', { ...u8(1), shape: [0.5] }]], undefined, 'cannot be written'],
    [
      'data that does not fit',
      [['a', { ...u8(1), shape: [2] }]],
      undefined,
      'got 1 bytes, expected 2 for U8 [2]',
    ],
    [
      'lazy data that does not fit',
      [['a', { ...u8(2), data: () => bytes(1) }]],
      undefined,
      'got 1 bytes, expected 2',
    ],
    ['metadata that is not text', [], { n: 1 }, 'metadata "n" is not text, got number'],
    ['malformed metadata', [], { '\udfff': 'x' }, 'is not text'],
  ];
  it.each(broken)('refuses %s and leaves the earlier file', async (_, tensors, metadata, message) => {
    await writeFile(path, 'earlier');
    const options = { metadata: metadata as Record<string, string> };
    for (const attempt of [
      () => writeSafetensors(path, tensors, options),
      () => writeShardedSafetensors(folder, tensors, options),
    ]) {
      const error = await attempt().catch((caught) => caught);
      expect(error).toBeInstanceOf(SafetensorsError);
      expect(error.message).toContain(message);
      expect(error.message).not.toContain('\n');
      expect(await readdir(folder)).toEqual(['model.safetensors']);
      expect(await readFile(path, 'utf8')).toBe('earlier');
    }
  });

  it('rethrows the error of a data function and removes its files', async () => {
    const failure = new Error('no more');
    const tensors: [string, WritableTensor][] = [
      ['a', u8(1000)],
      ['b', { ...u8(1), data: () => Promise.reject(failure) }],
    ];
    await expect(writeSafetensors(path, tensors)).rejects.toBe(failure);
    await expect(writeShardedSafetensors(folder, tensors, { maxShardBytes: 1000 })).rejects.toBe(failure);
    expect(await readdir(folder)).toEqual([]);
  });

  it('reports a missing folder and a target that cannot be replaced', async () => {
    await expect(writeSafetensors(join(folder, 'absent', 'm.safetensors'), [])).rejects.toThrow(
      /m\.safetensors: cannot create: ENOENT/,
    );
    await mkdir(join(path, 'full'), { recursive: true });
    await expect(writeSafetensors(path, [['a', u8(1)]])).rejects.toThrow(/cannot write: E\w+/);
    expect(await readdir(folder)).toEqual(['model.safetensors']);
  });

  // A limit on file sizes makes the system refuse a write half-way, as a full disk does.
  it.skipIf(process.platform === 'win32')('removes its files when the disk is full', async () => {
    await writeFile(path, 'earlier');
    const program = `
      const { writeSafetensors, writeShardedSafetensors } = await import(process.argv[1]);
      const big = (n) => ({ dtype: 'U8', shape: [n], data: new Uint8Array(n) });
      const target = process.argv[2];
      const errors = [];
      await writeSafetensors(target + '/model.safetensors', [['a', big(2_000_000)]]).catch((e) => errors.push(e));
      await writeShardedSafetensors(target, [['a', big(1000)], ['b', big(2_000_000)]], { maxShardBytes: 1000 })
        .catch((e) => errors.push(e));
      console.log(JSON.stringify(errors.map((e) => [e.name, e.cause?.code])));
    `;
    const dist = new URL('../dist/index.js', import.meta.url).href;
    const { stdout, stderr } = spawnSync(
      'bash',
      [
        '-c',
        'ulimit -f 100; exec "$0" "$@"',
        process.execPath,
        '--input-type=module',
        '-e',
        program,
        dist,
        folder,
      ],
      { encoding: 'utf8' },
    );
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual([
      ['SafetensorsError', 'EFBIG'],
      ['SafetensorsError', 'EFBIG'],
    ]);
    expect(await readdir(folder)).toEqual(['model.safetensors']);
    expect(await readFile(path, 'utf8')).toBe('earlier');
  });
});

describe('writeShardedSafetensors', () => {
  const tensors: [string, SafetensorsTensor][] = [
    ['b', u8(60, 1)],
    ['a', u8(40, 2)],
    ['huge', u8(500, 3)],
    ['c', u8(100, 4)],
    ['__proto__', u8(1, 5)],
  ];

  it('names shards and index as Hugging Face does', async () => {
    const directory = join(folder, 'new', 'model');
    const files = await writeShardedSafetensors(directory, tensors, {
      maxShardBytes: 100,
      metadata: { format: 'pt' },
    });
    const shard = (index: number) => `model-0000${index}-of-00004.safetensors`;
    expect(files).toEqual([shard(1), shard(2), shard(3), shard(4), 'model.safetensors.index.json']);
    const index = await readFile(join(directory, 'model.safetensors.index.json'), 'utf8');
    const weightMap = { __PROTO__: shard(4), a: shard(1), b: shard(1), c: shard(3), huge: shard(2) };
    expect(index).toBe(
      `${JSON.stringify({ metadata: { total_size: 701 }, weight_map: weightMap }, null, 2).replace('PROTO', 'proto')}\n`,
    );
    for (const file of files.slice(0, 4)) {
      expect((await readSafetensors(join(directory, file))).metadata).toEqual({ format: 'pt' });
    }
    expect((await readSafetensors(directory)).tensors).toEqual(new Map(tensors));
  });

  it('writes one file when one is enough, and replaces an earlier save of either kind', async () => {
    await writeFile(join(folder, 'config.json'), '{}');
    expect(await writeShardedSafetensors(folder, tensors, { maxShardBytes: 300 })).toHaveLength(4);
    expect(await writeShardedSafetensors(folder, tensors, { maxShardBytes: 100 })).toHaveLength(5);
    expect(await readdir(folder)).toHaveLength(6);
    expect(await writeShardedSafetensors(folder, tensors)).toEqual(['model.safetensors']);
    expect((await readdir(folder)).sort()).toEqual(['config.json', 'model.safetensors']);
    await writeShardedSafetensors(
      folder,
      [
        ['a', u8(1)],
        ['b', u8(1)],
      ],
      { maxShardBytes: 1 },
    );
    expect([...(await readSafetensors(folder)).tensors.keys()]).toEqual(['a', 'b']);
  });

  it.each([0, -1, 1.5, Number.NaN])('refuses maxShardBytes %d', async (maxShardBytes) => {
    await expect(writeShardedSafetensors(folder, [], { maxShardBytes })).rejects.toThrow(
      `maxShardBytes is out of range, got ${maxShardBytes}`,
    );
  });
});
