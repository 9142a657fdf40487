import { describe, expect, it } from 'vitest';
import { bytes, counted, duration, flop, percent, plain, plainText, short } from './format.ts';

describe('format', () => {
  it.each([
    [short(0), '0'],
    [short(512), '512'],
    [short(3_172_800), '3.17M'],
    [short(1.176e9), '1.18B'],
    [short(999_999), '1M'],
    [short(-1234), '-1.23K'],
    [short(2e15), '2000T'],
    [flop(18.4e6), '18.4 MFLOP'],
    [flop(252e9), '252 GFLOP'],
    [bytes(1536), '1.5 KiB'],
    [bytes(0), '0 B'],
    [bytes(2 ** 30), '1 GiB'],
    [percent(0.3719), '37.2 %'],
    [plain(0), '0'],
    [plain(1.23456), '1.235'],
    [plain(0.0003), '3e-4'],
    [plain(1.5e6), '1.5e+6'],
    [duration(0.04), '0.0 s'],
    [duration(100), '1 m 40 s'],
    [duration(60), '1 m'],
    [duration(3600), '1 h'],
    [duration(3605), '1 h'],
    [duration(86_399.9), '1 d'],
    [duration(273_600), '3 d 4 h'],
    [duration(Number.NaN), 'unknown'],
    [plainText('a\u001b[31mb\tc\nd'), 'a\ufffd[31mb\tc\nd'],
  ])('%s', (got, expected) => {
    expect(got).toBe(expected);
  });
});

it('adds the noun to a count', () => {
  expect([1, 0, 2, 1234].map((n) => counted(n, 'bad record'))).toEqual([
    '1 bad record',
    '0 bad records',
    '2 bad records',
    '1,234 bad records',
  ]);
  expect(counted(2, 'entry', 'entries')).toBe('2 entries');
});
