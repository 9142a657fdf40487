import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { toHarnessJson } from '@meap/evals';
import { captureOutput } from '@meap/recipe-cli';
import { parseHTML } from 'linkedom';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { evaluateCommand } from './command.ts';
import { SYNTHETIC_TASKS, syntheticModel, syntheticResult } from './report/testing.ts';
import { writeResults } from './result-files.ts';

/** Folders of finished evaluations, the model of each better than the one before. */
let runs: string;
let out: string;
const folderOf = (name: string) => join(runs, name);
const NAMES = ['a1', 'a2', 'a3', 'b1', 'b2', 'b3'];

async function evaluation(name: string, skill: number, tasks = ['boolq', 'piqa']): Promise<void> {
  const specs = SYNTHETIC_TASKS.filter((spec) => tasks.includes(spec.name));
  const model = syntheticModel(name, skill);
  const results = await Promise.all(specs.map((spec) => syntheticResult(spec, model, skill)));
  writeResults(
    folderOf(name),
    { tasks: results, harness: toHarnessJson(results) },
    { model: name, data: {}, backend: { name: 'cpu', reason: 'test', device: 'test' }, logSamples: false },
  );
}

beforeAll(async () => {
  runs = mkdtempSync(join(tmpdir(), 'meap-runs-'));
  for (const [i, name] of NAMES.entries()) await evaluation(name, 0.15 * i);
  await evaluation('other', 0.5, ['boolq']);
  return () => rmSync(runs, { recursive: true });
});
beforeEach(() => {
  out = mkdtempSync(join(tmpdir(), 'meap-compared-'));
  return () => rmSync(out, { recursive: true });
});

const evaluate = (...args: string[]) => captureOutput((io) => evaluateCommand(args, io));
/** Names of runs become their folders. */
const compare = (...args: string[]) =>
  evaluate(
    'compare',
    ...args.map((arg) => (/^[a-z]\w+$/.test(arg) ? folderOf(arg) : arg)),
    ...['--out', join(out, 'compared')],
  );

describe('meap-evaluate compare A1 A2 --with B1 B2', () => {
  it('compares runs, and writes their values and a page', async () => {
    const { code, stdout, stderr } = await compare('a1', 'a2', 'a3', '--with', 'b1', 'b2', 'b3');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(`pair 2       A ${folderOf('a2')}, B ${folderOf('b2')}`);
    expect(stdout).toMatch(
      /\| boolq +\| +\d+ \| acc +\| ↑ +\| 0\.\d{4} ± 0\.\d{4} \| 0\.\d{4} ± 0\.\d{4} \| \+0/,
    );
    expect(stdout).toContain('too few runs to test: 3 pairs can give no p below 0.25, before the correction');
    const comparison = JSON.parse(readFileSync(join(out, 'compared/comparison.json'), 'utf8'));
    expect(comparison.pairs[2]).toEqual([folderOf('a3'), folderOf('b3')]);
    expect(comparison.metrics.map(({ task, metric }: Record<string, string>) => `${task} ${metric}`)).toEqual(
      ['boolq acc', 'piqa acc', 'piqa acc_norm'],
    );
    const [{ a, b, pValue, adjusted }] = comparison.metrics;
    for (const [i, value] of [...a.values, ...b.values].entries()) {
      const { results } = JSON.parse(readFileSync(join(folderOf(NAMES[i]), 'results.json'), 'utf8'));
      expect(value).toBe(results.boolq['acc,none']);
    }
    expect([pValue, adjusted]).toEqual([0.25, 0.75]);
    const { document } = parseHTML(readFileSync(join(out, 'compared/report.html'), 'utf8'));
    expect(document.querySelector('h1')!.textContent).toBe('Comparison of 3 pairs of runs');
    const rows = [...document.querySelectorAll('table tbody tr')].map((row) => row.textContent);
    expect(rows).toHaveLength(6);
    expect(rows[0]).toMatch(/BoolQ, Accuracy \(acc\) ↑\d+ rows/);
    expect(document.querySelector('main')!.textContent).toContain('can give no p below 0.25');
  });

  it('prints JSON, and is a part of a report', async () => {
    const { stdout } = await compare('a1', 'a2', '--json', '--with', 'b1', 'b2');
    expect(JSON.parse(stdout)).toMatchObject({ smallestPValue: 0.5, notCompared: [] });
    const page = join(out, 'page.html');
    await evaluate('report', folderOf('a1'), join(out, 'compared'), '--out', page);
    expect(readFileSync(page, 'utf8')).toMatch(/<h1>Evaluation of a1<.*Comparison over runs.*Setup/s);
    writeFileSync(join(out, 'compared/comparison.json'), '{"pairs": 3}');
    const damaged = await evaluate('report', join(out, 'compared'), '--out', page);
    expect(damaged.stderr).toMatch(/comparison\.json: pairs: .*; expected a file of meap-evaluate/);
  });

  it('compares two arms of a study by seed, without seeds that one of them has not finished', async () => {
    const arm = (name: string, seeds: Record<string, string>) => {
      for (const [seed, run] of Object.entries(seeds)) {
        if (run === '') mkdirSync(join(out, name, seed, 'pretrain'), { recursive: true });
        else cpSync(folderOf(run), join(out, name, seed, 'evaluate'), { recursive: true });
      }
      return join(out, name);
    };
    const ntp = arm('ntp', { 'seed-2': 'a1', 'seed-10': 'a2', 'seed-3': 'a3' });
    const meap = arm('meap', { 'seed-10': 'b2', 'seed-2': 'b1', 'seed-3': '' });
    const { code, stdout, stderr } = await compare(ntp, meap);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(
      `pair 1       A ${ntp}/seed-2/evaluate, B ${meap}/seed-2/evaluate\npair 2       A ${ntp}/seed-10/`,
    );
    expect(stdout).toContain(
      `left out, without a finished evaluation of the same seed on both sides: ${ntp}/seed-3/evaluate, ${meap}/seed-3\n`,
    );
    // In another order, by name.
    const named = await compare(
      ...[`${ntp}/seed-10/evaluate`, `${ntp}/seed-2/evaluate`],
      ...['--with', `${meap}/seed-2/evaluate`, `${meap}/seed-10/evaluate`],
    );
    expect(named.stdout).toContain(`pair 1       A ${ntp}/seed-10/evaluate, B ${meap}/seed-10/evaluate`);
    expect((await compare(ntp, 'b1')).stderr).toMatch(/got 3 and 1 runs, expected the same number/);
    expect(
      (await compare(ntp, '--with', `${meap}/seed-2/evaluate`, `${meap}/seed-2/evaluate`)).stderr,
    ).toMatch(/got seed 2 twice on one side/);
    const other = arm('other', { 'seed-4': 'b3' });
    expect((await compare(ntp, other)).stderr).toMatch(
      /finished evaluations of the seeds 2, 3, 10 and 4, expected seeds that both sides have/,
    );
    cpSync(folderOf('b3'), join(other, 'seed-4', 'longer'), { recursive: true });
    expect((await compare(ntp, other)).stderr).toMatch(
      /seed-4 has 2 evaluations .*evaluate, .*longer\), expected one/,
    );
  });

  it.each([
    ['three models', ['a1', 'a2', 'a3'], 2, /got 3 models, expected 2, or .*A1 A2 --with B1 B2/],
    ['one run a side', ['a1', '--with', 'b1'], 1, /got 1 run a side, expected at least 2/],
    ['more runs on one side', ['a1', 'a2', '--with', 'b1'], 1, /got 2 and 1 runs, expected the same number/],
    [
      'unfinished evaluations',
      ['a1', 'absent', '--with', 'b1', 'missing'],
      1,
      /absent does not exist, .*\n.*missing does not exist, expected a finished evaluation/,
    ],
    [
      'other tasks',
      ['a1', 'a2', '--with', 'b1', 'other'],
      1,
      /tasks: got boolq, piqa in .*a1 and boolq in .*other/,
    ],
    [
      'flags of an evaluation',
      ['a1', 'a2', '--with', 'b1', 'b2', '--limit', '3', '--no-bos'],
      2,
      /got flags of an evaluation \(limit, bos\) beside --with/,
    ],
  ])('refuses %s', async (_, args, expected, message) => {
    const { code, stderr } = await compare(...args);
    expect(stderr).toMatch(message);
    expect(code).toBe(expected);
    expect(existsSync(join(out, 'compared'))).toBe(false);
  });
});
