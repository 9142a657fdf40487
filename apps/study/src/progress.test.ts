import { afterEach, describe, expect, it, vi } from 'vitest';
import { parseCores } from './cores.ts';
import { runsOf } from './plan.ts';
import { MatrixProgress, renderMatrix } from './progress.ts';

const runs = runsOf({ ntp: [0, 1], meap: [0, 1] });

function capture(isTTY: boolean) {
  let text = '';
  const write = (part: string) => {
    text += part;
    return true;
  };
  return { stream: { write, isTTY, columns: 80 }, text: () => text };
}

describe('the matrix', () => {
  it('has arms as rows and seeds as columns', () => {
    const lines = renderMatrix(
      runs,
      ({ arm, seed }) =>
        arm === 'ntp'
          ? { status: 'done' }
          : seed === 0
            ? { status: 'running', share: 0.427, step: 'pretrain' }
            : { status: 'failed', step: 'pretrain', message: '' },
      80,
    );
    expect(lines.map((line) => line.split(/\s{2,}/))).toEqual([
      ['seed', '0', '1'],
      ['ntp', 'done', 'done'],
      ['meap', '42 %', 'failed'],
    ]);
  });

  it('shows the seeds that fit', () => {
    const many = runsOf({ ntp: Array.from({ length: 40 }, (_, i) => i) });
    for (const line of renderMatrix(many, () => undefined, 60)) expect(line.length).toBeLessThanOrEqual(60);
    expect(renderMatrix(many, () => undefined, 60)[0]).toMatch(/ 5 …$/);
  });
});

describe('MatrixProgress', () => {
  afterEach(() => void vi.unstubAllEnvs());

  it('writes lines without a terminal, of starts, ends and failures', () => {
    const { stream, text } = capture(false);
    const progress = new MatrixProgress(runs, stream);
    progress.onState(runs[1], { status: 'done' });
    progress.onState(runs[0], { status: 'running', share: 0, step: 'pretrain' });
    progress.onState(runs[0], { status: 'running', share: 0.5, step: 'pretrain' });
    progress.onState(runs[0], { status: 'failed', step: 'pretrain', message: 'one\ntwo\x1b[31m' });
    progress.close();
    expect(text()).toBe('ntp-seed-0: pretrain\nntp-seed-0: pretrain failed:\n  one\n  two�[31m\n');
  });

  it('redraws in a terminal, and writes lines in CI', () => {
    const redraws = () => {
      const { stream, text } = capture(true);
      const progress = new MatrixProgress(runs, stream);
      progress.onState(runs[0], { status: 'running', share: 0, step: 'pretrain' });
      progress.onState(runs[1], { status: 'done' });
      progress.close();
      return text();
    };
    vi.stubEnv('CI', '');
    expect(redraws().split('\x1b[4F\x1b[J')).toHaveLength(2);
    expect(redraws()).toContain('1 of 4 runs done');
    vi.stubEnv('CI', 'true');
    expect(redraws()).toBe('ntp-seed-0: pretrain\n');
  });
});

it('parses lists of cores', () => {
  expect(parseCores('0-3,8')).toEqual([0, 1, 2, 3, 8]);
  expect(parseCores('5')).toEqual([5]);
});
