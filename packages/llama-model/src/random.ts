import { threefry } from '@meap/tensor-kernels';
import { ConfigError } from './errors.ts';

const UNIT = 2 ** -32;

/** Two 32-bit words that select a stream of a counter-based generator. */
export type RandomKey = readonly [number, number];

/**
 * Returns the key of the stream of a seed and a purpose.
 *
 * @throws ConfigError for a seed that is not a non-negative safe integer
 */
export function randomKey(seed: number, purpose: string): RandomKey {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new ConfigError('seed', seed, 'a non-negative integer up to 2^53 - 1');
  }
  const key = new Int32Array([seed | 0, Math.floor(seed / 2 ** 32) | 0]);
  for (let i = 0; i < purpose.length; i++) threefry(key[0], key[1], purpose.charCodeAt(i), i, key);
  threefry(key[0], key[1], purpose.length, -1, key);
  return [key[0], key[1]];
}

/** Returns the value of a stream at a counter, uniform in (0, 1). */
export function uniform([key0, key1]: RandomKey, counter: number): number {
  const words = new Int32Array(2);
  threefry(key0, key1, counter | 0, Math.floor(counter / 2 ** 32) | 0, words);
  return ((words[0] >>> 0) + ((words[1] >>> 0) + 0.5) * UNIT) * UNIT;
}

/** Fills `values` with independent numbers, uniform in (0, 1), a function of the key alone. */
export function uniforms([key0, key1]: RandomKey, values: Float32Array): void {
  const words = new Int32Array(2);
  for (let i = 0; i < values.length; i += 2) {
    threefry(key0, key1, i / 2, 0, words);
    values[i] = ((words[0] >>> 0) + 0.5) * UNIT;
    if (i + 1 < values.length) values[i + 1] = ((words[1] >>> 0) + 0.5) * UNIT;
  }
}

/** Returns `size` independent samples of N(0, deviation²), a function of the key alone (Box-Muller). */
export function normals([key0, key1]: RandomKey, size: number, deviation: number): Float32Array {
  const values = new Float32Array(size);
  const words = new Int32Array(2);
  for (let i = 0; i < size; i += 2) {
    threefry(key0, key1, (i / 2) | 0, 0, words);
    const radius = deviation * Math.sqrt(-2 * Math.log(((words[0] >>> 0) + 0.5) * UNIT));
    const angle = 2 * Math.PI * UNIT * (words[1] >>> 0);
    values[i] = radius * Math.cos(angle);
    if (i + 1 < size) values[i + 1] = radius * Math.sin(angle);
  }
  return values;
}
