import { expect, it } from 'vitest';
import { describeProbeCurves, describeProbes, probeCurves } from './probe-values.ts';
import { renderProbes } from './report-page.ts';

const line = (step: number, probes: Record<string, number | null>) => ({
  ...{ step, tokens: 64 * step, seconds: 1 },
  probes,
});
const lines = [
  line(0, { 'induction/gain': 0.0123456, 'induction/acc': 0, 'recall/acc/pairs=4': 1 }),
  line(2, { 'recall/acc': 0.5, 'induction/acc': null }),
  line(4, { 'induction/gain': -0.75, 'induction/acc': 0.25 }),
];

it('follows the finite values of all rows over their own steps', () => {
  expect(probeCurves(lines)).toEqual([
    {
      ...{ probe: 'induction', name: 'gain' },
      points: [
        { step: 0, value: 0.0123456 },
        { step: 4, value: -0.75 },
      ],
    },
    {
      ...{ probe: 'induction', name: 'acc' },
      points: [
        { step: 0, value: 0 },
        { step: 4, value: 0.25 },
      ],
    },
    { probe: 'recall', name: 'acc', points: [{ step: 2, value: 0.5 }] },
  ]);
});

it('describes a line, and first and last values', () => {
  expect(describeProbes({ ...lines[0].probes, 'recall/acc': null })).toBe(
    'induction gain 0.012, acc 0.000; recall acc not finite',
  );
  expect(describeProbeCurves(probeCurves(lines))).toBe(
    'induction gain 0.012 → -0.75, acc 0 → 0.25; recall acc 0.5',
  );
  expect(describeProbeCurves([])).toBe('');
});

it('draws a labelled chart for each value', () => {
  const { markup } = renderProbes(probeCurves(lines));
  expect([...markup.matchAll(/aria-label="([^"]+)"/g)].map(([, label]) => label)).toEqual(
    ['induction gain', 'induction acc', 'recall acc'].map((name) => `${name} over steps`),
  );
  expect(markup.match(/<circle/g)).toHaveLength(5);
  // All charts have the steps of the run; this one its only value.
  const last = markup.split('<figure>').at(-1)!;
  expect(last).toContain('>4</text>');
  expect(last).not.toContain('NaN');
});
