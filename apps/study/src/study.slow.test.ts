/** Studies as processes: killed, stopped, failed, and continued to the same bytes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { newFolder, removeFolders, writeStudy } from './testing.ts';

removeFolders();

const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url));
const cache = newFolder();

const TINY = {
  title: 'Tiny',
  kind: 'exploratory',
  seeds: [0],
  steps: {
    pretrain: {
      recipe: 'quickstart',
      set: {
        model: {
          hidden_size: 16,
          intermediate_size: 32,
          num_hidden_layers: 1,
          num_attention_heads: 2,
          num_key_value_heads: 2,
        },
        data: { npm: ['moby-dick'], cache_dir: cache },
        tokenizer: { vocab_size: 300 },
        train: { max_steps: 24, sequence_length: 32 },
        validation: { every: 8, max_rows: 8 },
        checkpoint: { every: 4 },
        samples: { every: 24, prompts: [''] },
      },
    },
    evaluate: { model: 'pretrain', set: { tasks: ['induction'], induction: { length: 8, sequences: 4 } } },
  },
  arms: { ntp: { set: { pretrain: { 'masking.ratio': 0 } } }, meap: {} },
  measures: {
    bits: { step: 'pretrain', metric: 'bitsPerByte' },
    'tokens to 4': { step: 'pretrain', metric: 'loss', at_most: 4 },
    induction: { step: 'evaluate', metric: 'induction/gain' },
  },
  comparisons: [{ measure: 'bits', arms: ['ntp', 'meap'] }],
};

interface Started {
  child: ChildProcess;
  output: () => string;
  ended: Promise<number | null>;
}

function start(file: string, out: string): Started {
  const child = spawn(process.execPath, [cli, '--config', file, '--out', out, '--jobs', '2'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, CI: '1' },
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => (text += part));
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  return { child, output: () => text, ended };
}

/** What has to be equal: everything but times, machines and the folder's name. */
function exactFiles(out: string): Record<string, string> {
  const files = ['plan.yaml', 'plan.sha256', 'results.csv', 'tables.tex'];
  const results = readdirSync(join(out, 'results')).map((file) => join('results', file));
  const figures = readdirSync(join(out, 'figures')).map((file) => join('figures', file));
  return Object.fromEntries(
    [...files, ...results, ...figures].map((file) => [file, readFileSync(join(out, file), 'utf8')]),
  );
}

/** Command lines of running programs that name a folder; none where the system does not list them. */
function programsIn(out: string): string[] {
  if (!existsSync('/proc/self/cmdline')) return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(join('/proc', pid, 'cmdline'), 'utf8');
      } catch {
        return '';
      }
    })
    .filter((line) => line.includes(out));
}

const metrics = (out: string) => join(out, 'runs/ntp/seed-0/pretrain/metrics.jsonl');

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 2400; i++) {
    if (condition()) return;
    await sleep(50);
  }
  throw new Error(`timed out: ${what}`);
}

const hasLines = (path: string, count: number) =>
  existsSync(path) && readFileSync(path, 'utf8').split('\n').length > count;

describe('a study', () => {
  const file = writeStudy(TINY);
  const whole = newFolder();
  beforeAll(async () => {
    const { ended, output } = start(file, whole);
    expect(await ended, output()).toBe(0);
  });

  it('measures every run and deletes its checkpoints', () => {
    expect(readdirSync(join(whole, 'results')).sort()).toEqual(['meap-seed-0.json', 'ntp-seed-0.json']);
    const { measures, series } = JSON.parse(readFileSync(join(whole, 'results/ntp-seed-0.json'), 'utf8'));
    expect(Object.keys(measures)).toEqual(['bits', 'tokens to 4', 'induction']);
    expect(series.pretrain.bitsPerByte.values).toHaveLength(3);
    expect(existsSync(metrics(whole))).toBe(true);
    expect(existsSync(join(whole, 'runs/ntp/seed-0/pretrain/checkpoints'))).toBe(false);
  });

  it('that has finished does nothing again', async () => {
    const before = exactFiles(whole);
    const { ended, output } = start(file, whole);
    expect(await ended, output()).toBe(0);
    expect(output()).not.toContain('ntp-seed-0: pretrain');
    expect(exactFiles(whole)).toEqual(before);
  });

  it('saves when killed and on a signal, refuses a second one, and continues to the same bytes', async () => {
    const out = newFolder();
    const kill = async (condition: () => boolean, what: string) => {
      const { child, ended, output } = start(file, out);
      await until(() => condition() || child.exitCode !== null, `${what}\n${output()}`);
      child.kill('SIGKILL');
      await ended;
    };
    await kill(() => hasLines(metrics(out), 6), 'steps of the first run');
    await until(() => programsIn(out).length === 0, 'the end of the programs');
    const [, steps] = /"step":(\d+)(?!.*"step":)/s.exec(readFileSync(metrics(out), 'utf8'))!;
    expect(readdirSync(join(out, 'runs/ntp/seed-0/pretrain/checkpoints'))).toContain(
      `step-${steps.padStart(8, '0')}`,
    );

    const first = start(file, out);
    await until(() => first.output().includes('ntp-seed-0: pretrain'), 'the start of the first run');
    const second = start(file, out);
    expect(await second.ended).toBe(1);
    expect(second.output()).toContain('run.lock is held by process');
    first.child.kill('SIGTERM');
    expect(await first.ended, first.output()).toBe(143);
    expect(first.output()).toContain('stopped; continue with: meap-study --config');
    expect(existsSync(join(out, 'runs/ntp/seed-0/pretrain/run.lock'))).toBe(false);

    // The programs of a killed study save and end, or the next one waits for them.
    await kill(() => existsSync(join(out, 'results/ntp-seed-0.json')), 'the first result');
    const { ended, output } = start(file, out);
    expect(await ended, output()).toBe(0);
    expect(exactFiles(out)).toEqual(exactFiles(whole));
    expect(programsIn(out)).toEqual([]);
  });
});

it('a run that fails leaves the others, is reported, and is tried again', async () => {
  const study = {
    ...TINY,
    steps: { pretrain: TINY.steps.pretrain },
    measures: { bits: TINY.measures.bits },
    // 3 heads do not divide a width of 16.
    arms: { ...TINY.arms, broken: { set: { pretrain: { 'model.num_attention_heads': 3 } } } },
  };
  const out = newFolder();
  const file = writeStudy(study);
  const { ended, output } = start(file, out);
  expect(await ended).toBe(1);
  expect(output()).toMatch(/broken-seed-0: pretrain failed:\n.*meap-pretrain: .*num_attention_heads/s);
  expect(readdirSync(join(out, 'results')).sort()).toEqual(['meap-seed-0.json', 'ntp-seed-0.json']);
  expect(readFileSync(join(out, 'report.md'), 'utf8')).toContain(
    'Failed: broken-seed-0 in pretrain: meap-pretrain:',
  );
  const again = start(file, out);
  expect(await again.ended).toBe(1);
  expect(again.output()).toContain('broken-seed-0: pretrain failed');
  expect(again.output()).not.toContain('ntp-seed-0: pretrain');
});
