import { expect, it } from 'vitest';
import { format, formatDifference, formatLength, formatProbability } from './numbers.ts';

const percent = { isPercent: true, factor: 100 };
const plain = { isPercent: false, factor: 1 };

it('numbers have a fixed number of digits and a minus sign', () => {
  expect([0.35, 0.3549, 0, 1].map((value) => format(value, percent))).toEqual([
    '35.0',
    '35.5',
    '0.0',
    '100.0',
  ]);
  expect([31.69, 0.8312, 12345, 1e-5, 0].map((value) => format(value, plain))).toEqual([
    '31.69',
    '0.831',
    '12345',
    '1.00e−5',
    '0.0000',
  ]);
  expect([0.031, -0.031, 0, -0.0001].map((value) => formatDifference(value, percent))).toEqual([
    '+3.1',
    '−3.1',
    '0.0',
    '0.0',
  ]);
  expect([0.0002, 0.05, 1].map(formatProbability)).toEqual(['< 0.001', '0.050', '1.000']);
  expect([300, 4096, 9000, 10240, 1500].map(formatLength)).toEqual(['300', '4K', '9k', '10K', '1.5k']);
});
