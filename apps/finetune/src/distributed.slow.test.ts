/** The built command on several ranks, as mpirun starts them, against one process. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { hashFiles, readExactMetrics } from '@meap/recipe-cli';
import { mpirunFlags, startRanks } from '@meap/test-support';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Workbench } from './testing.ts';

const cli = join(import.meta.dirname, '../dist/cli.js');
const hasMpi = mpirunFlags() !== undefined;
if (!hasMpi) console.warn('ranks are not launched: no MPI here (tried mpirun, mpicxx)');

describe.skipIf(!hasMpi).each([
  ['the whole model', []],
  ['an adapter with dropout', ['--set', 'lora={rank: 4, dropout: 0.1}']],
] as const)('meap-finetune on ranks, %s', (_, flags) => {
  let bench: Workbench;
  const argv = (out: string, ...more: string[]) => [
    ...[
      '--config',
      bench.recipe,
      '--out',
      bench.path(out),
      '--set',
      'train.global_batch_size=8',
      ...flags,
      ...more,
    ],
  ];
  async function finish(size: number, out: string, ...more: string[]) {
    const ranks = startRanks(size, [cli, ...argv(out, ...more)]);
    expect(await ranks.ended, ranks.output.stderr).toBe(0);
    return ranks.output.stdout;
  }
  const filesOf = (out: string) =>
    Object.keys(hashFiles(bench.path(out))).map((name) => name.replace(/^events.*/, 'events'));

  beforeAll(async () => {
    bench = await Workbench.create();
    const { code, stderr } = await bench.finetune('alone', '--set', 'train.global_batch_size=8', ...flags);
    expect(code, stderr).toBe(0);
  });
  afterAll(() => bench.dispose());

  it.each([
    [2, 0],
    [4, 2],
  ])('%i ranks with ZeRO %i learn what one process learns, and write what it writes', async (size, stage) => {
    const out = `${size}-${stage}`;
    const stdout = await finish(size, out, '--set', `distributed.zero_stage=${stage}`);
    expect(stdout.match(/^backend /gm)).toHaveLength(1);
    const [alone, shared] = [readExactMetrics(bench.path('alone')), readExactMetrics(bench.path(out))];
    expect(shared).toHaveLength(alone.length);
    for (const [i, { loss, valLoss, tokens, lr }] of shared.entries()) {
      expect(Math.abs((loss ?? 0) - (alone[i].loss ?? 0))).toBeLessThan(1e-4);
      expect(Math.abs((valLoss ?? 0) - (alone[i].valLoss ?? 0))).toBeLessThan(1e-4);
      // The same rows with the same masks, counted once.
      expect([tokens, lr]).toEqual([alone[i].tokens, alone[i].lr]);
    }
    expect(filesOf(out)).toEqual(filesOf('alone'));
    expect(readdirSync(bench.path(out, 'model'))).toEqual(readdirSync(bench.path('alone', 'model')));
  });

  it('go on with another number of ranks', async () => {
    await finish(2, 'on', '--set', 'train.max_steps=4');
    expect(await finish(4, 'on')).toMatch(/^resume {7}at step 4/m);
    const [alone, shared] = [readExactMetrics(bench.path('alone')), readExactMetrics(bench.path('on'))];
    expect(shared.at(-1)?.tokens).toBe(alone.at(-1)?.tokens);
  });
});
