import { describe, expect, it } from 'vitest';
import { analyse } from './analysis.ts';
import type { RunResult } from './measures.ts';
import { type RunId, runName } from './plan.ts';
import { readStudy, type Study } from './study-files.ts';
import { fixStudy, removeFolders, resultOf, STUDY } from './testing.ts';

removeFolders();

const studies = new Map<string, Study>();

/** A study without results; reading one takes long enough to do it once. */
function emptyStudy(change: object): Study {
  const key = JSON.stringify(change);
  const study = studies.get(key) ?? readStudy(fixStudy({ ...STUDY, ...change }).out);
  studies.set(key, study);
  return { ...study, results: new Map() };
}

function add(study: Study, run: RunId, measures: RunResult['measures']): void {
  study.results.set(runName(run), resultOf(study.hash, run, measures));
}

/** A study with results: losses of NTP, and how much lower MEAP's are; times of both arms. */
function studyOf(
  differences: readonly number[],
  times: readonly (readonly [number, boolean, number, boolean])[] = [],
  change: object = {},
) {
  const study = emptyStudy(change);
  differences.forEach((difference, seed) => {
    const [ntp, isNtpReached, meap, isMeapReached] = times[seed] ?? [64, false, 64, false];
    add(
      study,
      { arm: 'ntp', seed },
      {
        loss: { value: 2 + seed / 10 },
        induction: { value: ntp, censored: !isNtpReached },
      },
    );
    add(
      study,
      { arm: 'meap', seed },
      {
        loss: { value: 2 + seed / 10 + difference },
        induction: { value: meap, censored: !isMeapReached },
      },
    );
  });
  return analyse(study);
}

const eight = [-0.1, -0.2, -0.15, -0.1, -0.3, -0.2, -0.1, -0.12];

describe('values', () => {
  it('are compared in pairs, with the exact test', () => {
    const [loss] = studyOf(eight).comparisons;
    // All eight signs agree: 2 of 2^8 assignments.
    expect(loss).toMatchObject({
      seeds: [0, 1, 2, 3, 4, 5, 6, 7],
      pValue: 2 / 256,
      isExact: true,
      verdict: 'lower',
    });
    expect(loss.difference).toBeCloseTo(-0.15875, 10);
    expect(loss.first!.mean).toBeCloseTo(2.35, 10);
    // Student's density with 7 degrees of freedom, integrated numerically beyond |t| = 6.324.
    expect(loss.tTest).toBeCloseTo(0.00039492, 8);
    expect(loss.interval![1]).toBeLessThan(0);
  });

  it('that do not differ are no difference shown', () => {
    const [loss] = studyOf([0.1, -0.1, 0.2, -0.2, 0.1, -0.1, 0.05, -0.04]).comparisons;
    expect(loss.verdict).toBe('not shown');
  });

  it('of a few seeds are not judged, however large the difference', () => {
    for (const n of [1, 2, 5]) {
      const [loss] = studyOf(eight.slice(0, n)).comparisons;
      expect(loss).toMatchObject({ verdict: 'few', smallest: 2 ** (1 - n) });
    }
    expect(studyOf(eight.slice(0, 6)).comparisons[0].verdict).toBe('lower');
    expect(studyOf([]).comparisons[0]).toMatchObject({ verdict: 'none', adjusted: 1 });
  });

  it('of two seeds, or with equal differences, have the exact test and no interval', () => {
    for (const differences of [eight.slice(0, 1), eight.slice(0, 2), [-0.1, -0.1, -0.1]]) {
      const [loss] = studyOf(differences).comparisons;
      expect(loss).toMatchObject({ pValue: 2 ** (1 - differences.length), isExact: true });
      expect([loss.interval, loss.bootstrap, loss.tTest, loss.effect]).toEqual(Array(4).fill(undefined));
    }
  });

  it('use only seeds that both arms have', () => {
    const study = emptyStudy({});
    for (const seed of [0, 1, 2]) add(study, { arm: 'ntp', seed }, { loss: { value: 2 } });
    for (const seed of [1, 2, 3]) add(study, { arm: 'meap', seed }, { loss: { value: 1 } });
    const { comparisons, byArm } = analyse(study);
    expect(comparisons[0]).toMatchObject({ seeds: [1, 2], difference: -1 });
    expect(byArm.find(({ measure, arm }) => measure === 'loss' && arm === 'ntp')!.n).toBe(3);
  });
});

describe('times', () => {
  const times = Array.from({ length: 8 }, (_, i) => [64, false, 16 + i, true] as const);

  it('are compared by the paired log-rank test', () => {
    const { comparisons, byArm } = studyOf(eight, times);
    expect(comparisons[1]).toMatchObject({ numReached: [0, 8], pValue: 2 / 256, verdict: 'sooner' });
    expect(comparisons[1].medians).toEqual([undefined, 19]);
    expect(byArm.find(({ isTime, arm }) => isTime && arm === 'meap')).toMatchObject({
      numReached: 8,
      median: 19,
    });
  });

  it('of an arm that is slower are later', () => {
    const slower = times.map(([a, isA, b, isB]) => [b, isB, a, isA] as const);
    expect(studyOf(eight, slower).comparisons[1].verdict).toBe('later');
  });
});

describe('the correction', () => {
  const times = Array.from({ length: 8 }, (_, i) => [64, false, 16 + i, true] as const);

  it('holds the others to the largest of the primary ones', () => {
    const noise = [0.1, -0.1, 0.2, -0.2, 0.1, -0.1, 0.05, -0.04];
    const [loss, induction] = studyOf(noise, times).comparisons;
    expect(induction.pValue).toBe(2 / 256);
    expect(induction.adjusted).toBe(loss.adjusted);
    expect(induction.verdict).toBe('not shown');
  });

  it('is Holm’s over all where none is primary', () => {
    const comparisons = STUDY.comparisons.map((comparison) => ({ ...comparison, primary: false }));
    const adjusted = studyOf(eight, times, { comparisons }).comparisons.map(({ adjusted }) => adjusted);
    expect(adjusted).toEqual([4 / 256, 4 / 256]);
  });

  it('knows when the seeds are too few for the number of comparisons', () => {
    // The smallest p of six pairs is 1/32, which two comparisons raise above 5 %.
    const comparisons = STUDY.comparisons.map((comparison) => ({ ...comparison, primary: false }));
    const found = studyOf(eight.slice(0, 6), times, { comparisons }).comparisons;
    expect(found.map(({ verdict }) => verdict)).toEqual(['few', 'few']);
  });
});

it('puts the paper’s numbers beside means and differences', () => {
  const entry = { label: 'Loss', source: 'Table 1', measure: 'loss' };
  const paper = [
    { ...entry, arms: ['meap'], value: 2 },
    { ...entry, arms: ['ntp', 'meap'], value: -0.1 },
  ];
  const [mean, difference] = studyOf(eight, [], { paper }).paper;
  expect(mean).toMatchObject({ n: 8, value: 2 });
  expect(mean.ours).toBeCloseTo(2.19125, 10);
  expect(difference.ours).toBeCloseTo(-0.15875, 10);
  expect(difference.interval).toHaveLength(2);
});
