import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SafetensorsError } from './error.ts';
import { readSafetensors } from './reader.ts';
import { fromFloat32, type SafetensorsTensor, toFloat32, toTypedArray } from './tensor.ts';

const fixture = (name: string) => new URL(`../fixtures/${name}`, import.meta.url).pathname;
const halves = Uint16Array.from({ length: 65536 }, (_, i) => i);
const halfTensor = (dtype: 'F16' | 'BF16', bits: Uint16Array): SafetensorsTensor => ({
  dtype,
  shape: [bits.length],
  data: new Uint8Array(bits.buffer, bits.byteOffset, bits.byteLength),
});

describe('toFloat32', () => {
  it('returns the values that PyTorch reads', async () => {
    const { tensors } = await readSafetensors(fixture('python.safetensors'));
    const values: Record<string, string[]> = JSON.parse(readFileSync(fixture('values.json'), 'utf8'));
    const parse = (text: string) =>
      text.endsWith('inf')
        ? Number(text.replace('inf', 'Infinity'))
        : text === 'nan'
          ? Number.NaN
          : Number(text);
    expect(Object.keys(values)).toEqual(['f16', 'bf16', 'f32', 'f64', 'scalar', 'empty']);
    for (const [name, expected] of Object.entries(values)) {
      expect([...toFloat32(tensors.get(name)!)], name).toEqual(expected.map(parse));
    }
  });

  it('refuses a tensor that is not floating-point', () => {
    expect(() => toFloat32({ dtype: 'I32', shape: [1], data: new Uint8Array(4) })).toThrow(
      'toFloat32: not a floating-point tensor, got I32, expected F32, F16, BF16 or F64',
    );
  });
});

describe('fromFloat32', () => {
  it('rounds as PyTorch does, at every boundary of both formats', () => {
    const bytes = readFileSync(fixture('rounding.bin'));
    const count = bytes.readUInt32LE(0);
    const body = Uint8Array.from(bytes.subarray(4)).buffer;
    const values = new Float32Array(body, 0, count);
    const expected = {
      F16: new Uint16Array(body, 4 * count, count),
      BF16: new Uint16Array(body, 6 * count, count),
    };
    for (const dtype of ['F16', 'BF16'] as const) {
      const got = toTypedArray({ ...fromFloat32(values, dtype, [count]), dtype });
      const wrong = [...values.keys()].filter((i) => got[i] !== expected[dtype][i]);
      expect(wrong.map((i) => [values[i], got[i], expected[dtype][i]])).toEqual([]);
    }
    expect(count).toBeGreaterThan(8000);
  });

  it.each(['F16', 'BF16'] as const)('gives back all 65,536 numbers of %s', (dtype) => {
    const values = toFloat32(halfTensor(dtype, halves));
    const again = toTypedArray({ ...fromFloat32(values, dtype, [65536]), dtype });
    const wrong = [...halves].filter((bits) => !Number.isNaN(values[bits]) && again[bits] !== bits);
    expect(wrong).toEqual([]);
    expect([...toFloat32(halfTensor(dtype, again))]).toEqual([...values]);
  });

  it('keeps NaN with any payload and sign', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 0x7fffff }), fc.boolean(), (payload, negative) => {
        const bits = Uint32Array.of((negative ? 0xff800000 : 0x7f800000) | payload);
        for (const dtype of ['F32', 'F16', 'BF16'] as const) {
          const [half] = toFloat32(fromFloat32(new Float32Array(bits.buffer), dtype, []));
          expect(half).toBeNaN();
        }
      }),
    );
  });

  it('shares memory for F32 and refuses a shape that does not fit', () => {
    const values = Float32Array.of(9, 1, 2, 3, 4).subarray(1);
    const tensor = fromFloat32(values, 'F32', [2, 2]);
    values[3] = 7;
    expect([...toFloat32(tensor)]).toEqual([1, 2, 3, 7]);
    expect(() => fromFloat32(values, 'BF16', [3])).toThrow(SafetensorsError);
    expect(() => fromFloat32(values, 'BF16', [-2, -2])).toThrow(SafetensorsError);
  });
});

describe('toTypedArray', () => {
  it('reads every dtype of a file that PyTorch wrote', async () => {
    const { tensors } = await readSafetensors(fixture('python.safetensors'));
    const values = (name: string) => [...toTypedArray(tensors.get(name)!)];
    expect(values('bool')).toEqual([1, 0, 1]);
    expect(values('u8')).toEqual([0, 1, 2, 3, 4]);
    expect(values('i8')).toEqual([-128, 127]);
    expect(values('f8.e8m0')).toEqual([127, 128, 129]);
    expect(values('i16')).toEqual([-32768, 32767]);
    expect(values('u16')).toEqual([0, 65535]);
    expect(values('i32')).toEqual([-(2 ** 31), 2 ** 31 - 1]);
    expect(values('u32')).toEqual([0, 2 ** 32 - 1]);
    expect(values('f64')).toEqual([0.1, -1e300, 1e-300, 16777217]);
    expect(values('i64')).toEqual([-(2n ** 63n), 2n ** 63n - 1n]);
    expect(values('u64')).toEqual([0n, 2n ** 64n - 1n]);
  });

  it('copies unaligned bytes and shares aligned ones', () => {
    const bytes = Uint8Array.of(9, 1, 0, 0, 0, 2, 0, 0, 0);
    expect([...toTypedArray({ dtype: 'I32', shape: [2], data: bytes.subarray(1) })]).toEqual([1, 2]);
    const aligned = { dtype: 'I32' as const, shape: [2], data: new Uint8Array(8) };
    toTypedArray(aligned)[0] = 5;
    expect(aligned.data[0]).toBe(5);
  });

  it('refuses data that does not fit the shape', () => {
    expect(() => toTypedArray({ dtype: 'I32', shape: [2], data: new Uint8Array(7) })).toThrow(
      'toTypedArray: data does not fit, got 7 bytes, expected 8 for I32 [2]',
    );
  });
});
