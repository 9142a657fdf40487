import { cpSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseHTML } from 'linkedom';
import { beforeAll, describe, expect, it } from 'vitest';
import { addSeconds, writeFailure } from '../study-files.ts';
import { addResult, fixStudy, newFolder, removeFolders, STUDY } from '../testing.ts';
import { writeReport } from './write-report.ts';

removeFolders();

const title = 'Does <b>MEAP</b> help & when?';
let out: string;
let printed: string;
const read = (name: string, folder = out) => readFileSync(join(folder, name), 'utf8');

beforeAll(() => {
  ({ out } = fixStudy({ ...STUDY, title, kind: 'exploratory' }));
  for (const seed of [0, 1, 2, 3, 4, 5]) {
    addResult(out, 'ntp', seed, {
      loss: { value: 2 + seed / 10 },
      induction: { value: 64, censored: true },
    });
    addResult(out, 'meap', seed, {
      loss: { value: 1.9 + seed / 11 },
      induction: { value: 32, censored: false },
    });
  }
  writeFailure(out, { arm: 'ntp', seed: 6 }, { step: 'pretrain', message: 'first\nout of memory' });
  addSeconds(out, { arm: 'ntp', seed: 0 }, 'pretrain', 61);
  printed = writeReport(out);
});

describe('the report', () => {
  it('can be computed again from the small files, to the same bytes', () => {
    const copy = newFolder();
    for (const name of ['plan.yaml', 'plan.sha256', 'runs.yaml', 'results', 'timings', 'failures']) {
      cpSync(join(out, name), join(copy, name), { recursive: true });
    }
    writeReport(copy);
    const files = readdirSync(out, { recursive: true, encoding: 'utf8' }).filter((file) =>
      /\.\w+$/.test(file),
    );
    expect(files).toContain('report.html');
    expect(files).toContain(join('figures', 'kaplan-meier-induction.svg'));
    for (const file of files) expect(read(file, copy), file).toBe(read(file));
  });

  it('says in large letters that it is exploratory, what is missing and what failed', () => {
    const { document } = parseHTML(read('report.html'));
    expect(document.querySelector('h2')!.textContent).toBe('Exploratory');
    expect(document.querySelector('strong')!.textContent).toMatch(/^EXPLORATORY/);
    const text = document.body.textContent!;
    expect(text).toContain(
      '12 of 16 runs finished. Missing: ntp-seed-6, meap-seed-6, ntp-seed-7, meap-seed-7.',
    );
    expect(text).toContain('Failed: ntp-seed-6 in pretrain: out of memory');
    expect(printed).toContain('induction, meap against ntp: meap sooner (6 pairs, p = 0.0');
  });

  it('draws the arms for a terminal on one scale', () => {
    const [title, ntp, meap] = printed
      .split('\n')
      .slice(printed.split('\n').findIndex((line) => line.includes('▁')));
    expect(title).toBe('bitsPerByte of pretrain up to 64 tokens, ▁ 2.127 to █ 4.000');
    expect(ntp).toBe('ntp   █▄▁  lowest 2.250 at 64, last 2.250, mean of 6 seeds');
    expect(meap).toBe('meap  █▄▁  lowest 2.127 at 64, last 2.127, mean of 6 seeds');
  });

  it('escapes names', () => {
    const { document } = parseHTML(read('report.html'));
    expect(document.querySelector('h1')!.textContent).toBe(title);
    expect(read('report.md')).not.toContain('\n| <b>');
  });

  it('draws every seed and the Kaplan–Meier curves', () => {
    const { document } = parseHTML(read('report.html'));
    const figures = [...document.querySelectorAll('figure')];
    const [curves, survival] = figures;
    const lines = (figure: (typeof figures)[number]) =>
      figure.querySelectorAll('.wide [aria-label="line"]').length;
    expect([lines(curves), lines(survival)]).toEqual([12, 2]);
    expect(survival.textContent).toContain('share of runs that have not reached it');
  });

  it('names the plan’s hash, hardware and commands', () => {
    for (const file of ['report.html', 'report.md']) {
      const text = read(file);
      expect(text).toContain(read('plan.sha256').split(' ')[0]);
      expect(text).toContain('1 m 1 s of program time');
      expect(text).toContain(
        '--set masking.ratio=0.15 --set seed=SEED --out DIR/runs/meap/seed-SEED/pretrain',
      );
    }
  });

  it('gives no verdict on few seeds', () => {
    const { out } = fixStudy(STUDY);
    addResult(out, 'ntp', 0, { loss: { value: 2 } });
    addResult(out, 'meap', 0, { loss: { value: 1 } });
    expect(writeReport(out)).toContain('too few seeds to test');
  });

  it('of a study without any result says so', () => {
    const { out } = fixStudy(STUDY);
    expect(writeReport(out)).toContain('0 of 16 runs finished');
    expect(existsSync(join(out, 'report.html'))).toBe(true);
  });
});

it('results.csv has a line a run and measure', () => {
  const lines = read('results.csv').trim().split('\n');
  expect(lines.slice(0, 3)).toEqual([
    'arm,seed,measure,value,censored',
    'ntp,0,loss,2,',
    'ntp,0,induction,64,true',
  ]);
  expect(lines).toHaveLength(1 + 24);
});

it('tables.tex has the comparisons and the arms', () => {
  const tex = read('tables.tex');
  expect(tex).toContain('\\toprule');
  expect(tex.split('\\begin{tabular}')).toHaveLength(4);
});
