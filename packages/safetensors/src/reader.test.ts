import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SafetensorsError } from './error.ts';
import { openSafetensors, readSafetensors } from './reader.ts';
import { toFloat32 } from './tensor.ts';
import { writeSafetensors } from './writer.ts';

const python = new URL('../fixtures/python.safetensors', import.meta.url).pathname;
const stories = join(process.env.MEAP_DATA ?? '', 'models/stories260K');

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'safetensors-reader-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** A file from its header text and the number of its data bytes. */
function fileOf(header: string | Uint8Array, dataBytes = 0, headerLength?: bigint): Uint8Array {
  const text = typeof header === 'string' ? new TextEncoder().encode(header) : header;
  const file = new Uint8Array(8 + text.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, headerLength ?? BigInt(text.length), true);
  file.set(text, 8);
  return file;
}

async function readBytes(bytes: Uint8Array, name = 'hostile.safetensors') {
  const path = join(folder, name);
  await writeFile(path, bytes);
  return readSafetensors(path);
}

const entry = (shape: string, offsets: string, dtype = '"U8"') =>
  `{"dtype":${dtype},"shape":${shape},"data_offsets":${offsets}}`;

describe('readSafetensors', () => {
  it('reads what the reference implementation wrote', async () => {
    const { metadata, tensors } = await readSafetensors(python);
    expect(metadata).toEqual({ format: 'pt' });
    expect(tensors.size).toBe(22);
    expect(tensors.get('scalar')).toEqual({ dtype: 'F32', shape: [], data: Uint8Array.of(0, 0, 0x60, 0x40) });
    expect(tensors.get('empty')).toEqual({ dtype: 'F32', shape: [2, 0, 3], data: new Uint8Array(0) });
    for (const name of ['__proto__', '12', 'ünï "quoted" \\ 名前\n']) expect(tensors.has(name)).toBe(true);
  });

  it.skipIf(!existsSync(stories))('reads a trained model from its directory', async () => {
    const { tensors } = await readSafetensors(stories);
    expect(tensors.get('model.embed_tokens.weight')!.shape).toEqual([512, 64]);
    expect(toFloat32(tensors.get('model.norm.weight')!).every((weight) => weight > 0)).toBe(true);
  });

  it('accepts odd but valid files', async () => {
    expect((await readBytes(fileOf('{}'))).tensors.size).toBe(0);
    const reordered = await readBytes(
      fileOf(
        `{ "b": ${entry('[1]', '[1,2]')}, "e": ${entry('[0]', '[1,1]')},\n "a": ${entry('[1]', '[0,1]')} } `,
        2,
      ),
    );
    expect([...reordered.tensors.keys()]).toEqual(['a', 'e', 'b']);
    const vast = await readBytes(fileOf(`{"a":${entry('[9007199254740991,9007199254740991,0]', '[0,0]')}}`));
    expect(vast.tensors.get('a')!.data.length).toBe(0);
    const meta = await readBytes(fileOf('{"__metadata__":{"__proto__":"x","constructor":"y"}}'));
    expect(Object.entries(meta.metadata)).toEqual([
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ]);
  });

  const good = entry('[1]', '[0,1]');
  it.each<[string, Uint8Array, string]>([
    ['an empty file', new Uint8Array(0), 'too short for a safetensors file, got 0 bytes'],
    ['seven bytes', new Uint8Array(7), 'too short'],
    [
      'a header longer than the file',
      fileOf('{}', 0, 3n),
      'header length does not fit, got 3, expected at most 2',
    ],
    [
      'a header of 2^63 bytes',
      fileOf('{}', 0, 2n ** 63n),
      'header length does not fit, got 9223372036854775808',
    ],
    ['a header over the limit', fileOf('{}', 0, 100_000_001n), 'header length does not fit'],
    [
      'an LFS pointer',
      new TextEncoder().encode('version https://git-lfs.github.com/spec/v1\n'),
      'Git LFS pointer',
    ],
    ['a header that is not UTF-8', fileOf(Uint8Array.of(0x7b, 0xff, 0x7d)), 'is not UTF-8'],
    ['a byte order mark', fileOf('\ufeff{}'), 'does not start with "{"'],
    ['a leading space', fileOf(' {}'), 'does not start with "{"'],
    ['no header', fileOf(''), 'does not start with "{"'],
    ['an array', fileOf('[]'), 'does not start with "{"'],
    ['text after the object', fileOf('{}{}'), 'expected the end'],
    ['an unclosed object', fileOf('{"a":'), 'got the end'],
    ['an unclosed string', fileOf('{"a'), 'expected a key'],
    ['an unclosed escape', fileOf('{"a\\'), 'expected a key'],
    ['a bad escape', fileOf(`{"\\x":${good}}`, 1), 'expected a key'],
    ['a control character in a name', fileOf(`{"\n":${good}}`, 1), 'expected a key'],
    ['a lone surrogate', fileOf(`{"\\ud800":${good}}`, 1), 'a lone surrogate'],
    ['a trailing comma', fileOf(`{"a":${good},}`, 1), 'expected a key'],
    [
      'more tensors than any file has',
      fileOf(
        `{${Array.from({ length: 100_001 }, (_, i) => `"${i}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`)}}`,
      ),
      'more than 100000 tensors',
    ],
    ['a duplicate name', fileOf(`{"a":${good},"a":${good}}`, 1), 'duplicate key "a"'],
    ['a duplicate in disguise', fileOf(`{"a":${good},"\\u0061":${good}}`, 1), 'duplicate key "a"'],
    ['a duplicate field', fileOf('{"a":{"dtype":"U8","dtype":"I8"}}'), 'duplicate key "dtype"'],
    ['duplicate metadata', fileOf('{"__metadata__":{"k":"1","k":"2"}}'), 'duplicate key "k"'],
    ['metadata that is not text', fileOf('{"__metadata__":{"k":1}}'), 'expected a string in __metadata__'],
    ['metadata that is no object', fileOf('{"__metadata__":null}'), 'expected __metadata__'],
    ['an unknown dtype', fileOf(`{"a":${entry('[1]', '[0,1]', '"Q4"')}}`, 1), 'unknown dtype, got "Q4"'],
    [
      'a dtype out of a prototype',
      fileOf(`{"a":${entry('[1]', '[0,1]', '"toString"')}}`, 1),
      'unknown dtype',
    ],
    ['a dtype that is no string', fileOf(`{"a":${entry('[1]', '[0,1]', '3')}}`, 1), 'expected dtype'],
    ['no dtype', fileOf('{"a":{"shape":[1],"data_offsets":[0,1]}}', 1), 'is incomplete'],
    ['no shape', fileOf('{"a":{"dtype":"U8","data_offsets":[0,1]}}', 1), 'is incomplete'],
    ['no offsets', fileOf('{"a":{"dtype":"U8","shape":[1]}}', 1), 'is incomplete'],
    ['one offset', fileOf(`{"a":${entry('[1]', '[1]')}}`, 1), 'is incomplete'],
    ['three offsets', fileOf(`{"a":${entry('[1]', '[0,1,1]')}}`, 1), 'is incomplete'],
    ['an unknown field', fileOf('{"a":{"strides":[1]}}', 1), 'unknown field, got "strides"'],
    ['an entry that is no object', fileOf('{"a":[]}'), 'expected the entry of "a"'],
    [
      'a negative dimension',
      fileOf(`{"a":${entry('[-1]', '[0,1]')}}`, 1),
      'expected shape of "a", an integer',
    ],
    ['two negative dimensions', fileOf(`{"a":${entry('[-1,-1]', '[0,1]')}}`, 1), 'an integer'],
    ['a fraction', fileOf(`{"a":${entry('[1.5]', '[0,1]')}}`, 1), 'an integer'],
    ['an integer written as a fraction', fileOf(`{"a":${entry('[1.0]', '[0,1]')}}`, 1), 'an integer'],
    ['an exponent', fileOf(`{"a":${entry('[1e0]', '[0,1]')}}`, 1), 'an integer'],
    ['a leading zero', fileOf(`{"a":${entry('[01]', '[0,1]')}}`, 1), 'an integer'],
    ['a dimension past 2^53', fileOf(`{"a":${entry('[9007199254740993]', '[0,1]')}}`, 1), 'an integer'],
    ['a dimension of 40 digits', fileOf(`{"a":${entry(`[${'9'.repeat(40)}]`, '[0,1]')}}`, 1), 'an integer'],
    ['a product past 2^53', fileOf(`{"a":${entry('[94906267,94906267]', '[0,1]')}}`, 1), 'is too large'],
    [
      'a product that wraps to one',
      fileOf(`{"a":${entry('[274177,67280421310721]', '[0,1]')}}`, 1),
      'is too large',
    ],
    ['a negative offset', fileOf(`{"a":${entry('[1]', '[-1,0]')}}`, 1), 'an integer'],
    [
      'offsets that go back',
      fileOf(`{"a":${entry('[1]', '[1,0]')}}`, 1),
      'has the wrong size, got data_offsets [1,0]',
    ],
    ['too few bytes', fileOf(`{"a":${entry('[2]', '[0,1]')}}`, 1), 'expected 2 for U8 [2]'],
    ['too many bytes', fileOf(`{"a":${entry('[1]', '[0,2]')}}`, 2), 'expected 1 for U8 [1]'],
    [
      'an overlap',
      fileOf(`{"a":${entry('[2]', '[0,2]')},"b":${entry('[2]', '[1,3]')}}`, 3),
      '"b" overlaps another',
    ],
    ['shared data', fileOf(`{"a":${good},"b":${good}}`, 1), 'overlaps another'],
    ['a gap', fileOf(`{"a":${good},"b":${entry('[1]', '[2,3]')}}`, 3), 'tensor "b" leaves a gap'],
    ['a gap at the start', fileOf(`{"a":${entry('[1]', '[1,2]')}}`, 2), 'tensor "a" leaves a gap'],
    [
      'bytes left over',
      fileOf(`{"a":${good}}`, 2),
      'bytes follow the last tensor, got 2 bytes of data, expected 1',
    ],
    ['bytes of nothing', fileOf('{}', 1), 'bytes follow the last tensor'],
    ['missing bytes', fileOf(`{"a":${entry('[9]', '[0,9]')}}`, 8), 'the file is cut short'],
    ['a bomb of arrays', fileOf(`{"a":{"shape":${'['.repeat(200_000)}`), 'an integer'],
    ['a long name', fileOf(`{"${'x'.repeat(50_000)}":1}`), `"${'x'.repeat(80)}…`],
  ])('refuses %s', async (_, bytes, message) => {
    const error = await readBytes(bytes).catch((caught) => caught);
    expect(error).toBeInstanceOf(SafetensorsError);
    expect(error.message).toContain(message);
    expect(error.message).toContain(join(folder, 'hostile.safetensors'));
    expect(error.message).not.toContain('\n');
    expect(error.message.length).toBeLessThan(500);
  });

  it('names files that cannot be opened', async () => {
    await mkdir(join(folder, 'nothing'), { recursive: true });
    await expect(readSafetensors(join(folder, 'absent'))).rejects.toThrow(/absent: cannot open: ENOENT/);
    await expect(readSafetensors(join(folder, 'nothing'))).rejects.toThrow('no checkpoint in this directory');
    await expect(readSafetensors('a\0b')).rejects.toThrow(SafetensorsError);
    if (existsSync('/dev/null')) await expect(readSafetensors('/dev/null')).rejects.toThrow('is not a file');
  });

  it('reads or refuses any mutation of a valid file, without other errors', async () => {
    const original = await readFile(python);
    const headerEnd = 8 + Number(original.readBigUInt64LE(0));
    const mutation = fc.record({
      at: fc.integer({ min: 0, max: headerEnd + 20 }),
      drop: fc.nat({ max: 4 }),
      insert: fc.oneof(
        fc.uint8Array({ maxLength: 4 }),
        fc
          .constantFrom('{', '}', '[', ']', '"', ',', ':', '\\', '0', '9', '-1', '1e9', 'null', '"shape":[]')
          .map((text) => new TextEncoder().encode(text)),
      ),
      fixLength: fc.boolean(),
    });
    let numRead = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 3 }), async (mutations) => {
        let bytes = original;
        for (const { at, drop, insert, fixLength } of mutations) {
          bytes = Buffer.concat([bytes.subarray(0, at), insert, bytes.subarray(at + drop)]);
          if (fixLength && at >= 8 && at < headerEnd && bytes.length > 8) {
            bytes.writeBigUInt64LE(
              (bytes.readBigUInt64LE(0) + BigInt(insert.length - drop)) & (2n ** 64n - 1n),
              0,
            );
          }
        }
        const result = await readBytes(bytes, 'mutated.safetensors').catch((error) => error);
        if (result instanceof Error) expect(result).toBeInstanceOf(SafetensorsError);
        else numRead++;
      }),
      { numRuns: 500 },
    );
    expect(numRead).toBeGreaterThan(0);
  });
});

describe('openSafetensors', () => {
  it('reads single tensors of a file far larger than memory', async () => {
    const path = join(folder, 'sparse.safetensors');
    const size = 2 ** 40;
    const header = `{"big":${entry(`[${size}]`, `[0,${size}]`)},"last":${entry('[3]', `[${size},${size + 3}]`)}}`;
    await writeFile(path, fileOf(header));
    const start = 8 + header.length;
    await truncate(path, start + size + 3);
    const handle = await open(path, 'r+');
    await handle.write(Uint8Array.of(7, 8, 9), 0, 3, start + size);
    await handle.close();
    const reader = await openSafetensors(path);
    try {
      expect(reader.tensors.get('big')).toEqual({ dtype: 'U8', shape: [size], byteLength: size, file: path });
      expect((await reader.read('last')).data).toEqual(Uint8Array.of(7, 8, 9));
      const into = new Uint8Array(5).subarray(1, 4);
      expect((await reader.read('last', into)).data).toBe(into);
      expect(new Uint8Array(into.buffer)).toEqual(Uint8Array.of(0, 7, 8, 9, 0));
      await expect(reader.read('last', new Uint8Array(4))).rejects.toThrow(
        '"last" does not fit the memory for it, got 4 bytes, expected 3',
      );
      await expect(reader.read('big')).rejects.toThrow(SafetensorsError);
    } finally {
      await reader.close();
      await rm(path);
    }
  });

  it('names an unknown tensor, a closed reader and a file that shrinks while open', async () => {
    const path = join(folder, 'shrinking.safetensors');
    await writeSafetensors(path, [['a', { dtype: 'U8', shape: [100], data: new Uint8Array(100) }]]);
    const reader = await openSafetensors(path);
    await expect(reader.read('toString')).rejects.toThrow('no tensor "toString", expected one of the 1');
    await truncate(path, 90);
    await expect(reader.read('a')).rejects.toThrow(/cut short while being read, got \d+ bytes, expected 100/);
    await reader[Symbol.asyncDispose]();
    await reader.close();
    await expect(reader.read('a')).rejects.toThrow('the reader is closed');
  });

  describe('with an index', () => {
    const tensor = (value: number) => ({ dtype: 'U8' as const, shape: [1], data: Uint8Array.of(value) });
    let shards: string;
    beforeAll(async () => {
      shards = join(folder, 'shards');
      await mkdir(shards);
      await writeSafetensors(
        join(shards, 'one.safetensors'),
        [
          ['a', tensor(1)],
          ['both', tensor(2)],
        ],
        {
          metadata: { format: 'pt' },
        },
      );
      await writeSafetensors(join(shards, 'two.safetensors'), [
        ['b', tensor(3)],
        ['both', tensor(4)],
      ]);
      await writeFile(join(folder, 'outside.safetensors'), await readFile(join(shards, 'one.safetensors')));
    });

    async function openIndex(index: string) {
      const path = join(shards, 'model.safetensors.index.json');
      await writeFile(path, index);
      return openSafetensors(shards);
    }

    it('reads every tensor from the shard that the index names', async () => {
      const reader = await openIndex(
        '{"metadata":{"total_size":3.0,"more":[{"x":null,"y":-1e9,"z":[true,false]}]},' +
          '"weight_map":{"b":"two.safetensors","both":"two.safetensors","a":"one.safetensors"}}',
      );
      const values = await Promise.all(
        [...reader.tensors.keys()].map(async (name) => (await reader.read(name)).data[0]),
      );
      expect(Object.fromEntries([...reader.tensors.keys()].map((name, i) => [name, values[i]]))).toEqual({
        a: 1,
        b: 3,
        both: 4,
      });
      expect(reader.tensors.get('both')!.file).toBe(join(shards, 'two.safetensors'));
      expect(reader.metadata).toEqual({ format: 'pt' });
      await reader.close();
    });

    it.each([
      ['../outside.safetensors', 'is not in a file beside the index, got "../outside.safetensors"'],
      ['/etc/passwd', 'is not in a file beside the index'],
      ['..\\\\outside.safetensors', 'is not in a file beside the index'],
      ['sub/one.safetensors', 'is not in a file beside the index'],
      ['..', 'is not in a file beside the index'],
      ['', 'is not in a file beside the index'],
      ['three.safetensors', 'three.safetensors: cannot open: ENOENT'],
      ['two.safetensors', 'tensor "a" is not in two.safetensors'],
    ])('refuses a shard %j', async (file, message) => {
      await expect(openIndex(`{"weight_map":{"b":"two.safetensors","a":"${file}"}}`)).rejects.toThrow(
        message,
      );
    });

    it.each([
      ['{}', 'has no weight_map'],
      ['{"weight_map":{"a":1}}', 'expected a string in weight_map'],
      ['{"weight_map":{"a":"one.safetensors","a":"two.safetensors"}}', 'duplicate key "a"'],
      ['{"weight_map":[]}', 'expected weight_map'],
      [`{"metadata":${'['.repeat(100)}${']'.repeat(100)},"weight_map":{}}`, 'nested deeper than 32'],
      ['{"metadata":nothing}', 'expected a value'],
      ['not json', 'expected the index'],
    ])('refuses the index %j', async (index, message) => {
      const error = await openIndex(index).catch((caught) => caught);
      expect(error).toBeInstanceOf(SafetensorsError);
      expect(error.message).toContain(message);
    });

    it.skipIf(!existsSync('/proc/self/fd'))(
      'leaves no file open when one of the shards is refused',
      async () => {
        const open = async () => (await readdir('/proc/self/fd')).length;
        const before = await open();
        for (let i = 0; i < 20; i++) {
          const index = '{"weight_map":{"b":"one.safetensors","a":"two.safetensors","c":"zzz.safetensors"}}';
          await expect(openIndex(index)).rejects.toThrow(SafetensorsError);
        }
        expect(await open()).toBeLessThan(before + 10);
      },
    );
  });
});
