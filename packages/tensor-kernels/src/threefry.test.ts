import { describe, expect, test } from 'vitest';
import { threefry } from './threefry.ts';

describe('threefry', () => {
  // Known answers of Threefry-2x32 with 20 rounds: all zeros, all ones, digits of π.
  test.each([
    [
      [0, 0, 0, 0],
      [0x6b200159, 0x99ba4efe],
    ],
    [
      [-1, -1, -1, -1],
      [0x1cb996fc, 0xbb002be7],
    ],
    [
      [0x13198a2e, 0x03707344, 0x243f6a88, 0x85a308d3],
      [0xc4923a9c, 0x483df7a0],
    ],
  ])('key and counter %j', ([key0, key1, counter0, counter1], expected) => {
    const out = new Int32Array(2);
    threefry(key0 | 0, key1 | 0, counter0 | 0, counter1 | 0, out);
    expect([...new Uint32Array(out.buffer)]).toEqual(expected);
  });
});
