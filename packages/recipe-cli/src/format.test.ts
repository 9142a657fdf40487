import { describe, expect, it } from 'vitest';
import { bytes, counted, duration, flop, plainText, short } from './format.ts';

describe('format', () => {
  it.each([
    [short(0), '0'],
    [short(512), '512'],
    [short(3_172_800), '3.17M'],
    [short(1.176e9), '1.18B'],
    [short(2e15), '2000T'],
    [flop(18.4e6), '18.4 MFLOP'],
    [flop(252e9), '252 GFLOP'],
    [bytes(1536), '1.5 KiB'],
    [bytes(0), '0 B'],
    [duration(0.04), '0.0 s'],
    [duration(100), '1 m 40 s'],
    [duration(3600), '1 h 0 m'],
    [duration(273_600), '3 d 4 h'],
    [duration(Number.NaN), 'unknown'],
    [plainText('a\u001b[31mb\tc\nd'), 'a\ufffd[31mb\tc\nd'],
  ])('%s', (got, expected) => {
    expect(got).toBe(expected);
  });
});

it('counts have their noun', () => {
  expect([1, 0, 2, 1234].map((n) => counted(n, 'bad record'))).toEqual([
    '1 bad record',
    '0 bad records',
    '2 bad records',
    '1,234 bad records',
  ]);
  expect(counted(2, 'entry', 'entries')).toBe('2 entries');
});
