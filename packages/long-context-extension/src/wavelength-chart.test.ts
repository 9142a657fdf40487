import { expect, test } from 'vitest';
import { wavelengthChart } from './wavelength-chart.ts';

const series = (theta: number) => Float64Array.from({ length: 32 }, (_, i) => theta ** (-i / 32));

test('counts the pairs without a full rotation, and draws both curves and both contexts', () => {
  const options = { before: series(1e4), after: series(64e4), trainedLength: 512, contextLength: 8192 };
  const text = wavelengthChart({ ...options, color: false });
  const unseen = (theta: number, length: number) =>
    series(theta).filter((f) => (2 * Math.PI) / f > length).length;
  expect(text).toContain(
    `${unseen(1e4, 512)} in training, ${unseen(1e4, 8192)} in the new context before, ${unseen(64e4, 8192)} after`,
  );
  const lines = text.split('\n').slice(2);
  expect(lines).toHaveLength(16);
  // The first line is the longest wavelength, 2π·640000^(31/32), the last the shortest, 2π.
  expect(Number(lines[0].slice(0, 12).replaceAll(',', ''))).toBe(Math.round(2 * Math.PI * 64e4 ** (31 / 32)));
  expect(Number(lines[15].slice(0, 12))).toBe(6);
  expect(wavelengthChart(options)).toContain('\x1b[');
  expect(text).not.toContain('\x1b[');
});
