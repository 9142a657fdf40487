/** The built command on ranks started by mpirun, compared with one process. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { hashFiles, readExactMetrics } from '@meap/recipe-cli';
import { mpirunFlags, startRanks } from '@meap/test-support';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Workbench } from './testing.ts';

const cli = join(import.meta.dirname, '../dist/cli.js');
const hasMpi = mpirunFlags() !== undefined;
if (!hasMpi) console.warn('ranks are not tested: no MPI (tried mpirun, mpicxx)');

describe.skipIf(!hasMpi).each([
  ['the whole model', []],
  ['an adapter with dropout', ['--set', 'lora={rank: 4, dropout: 0.1}']],
] as const)('meap-finetune on ranks, %s', (name, flags) => {
  const bench = new Workbench();
  // The learning rate must not depend on max_steps, which the test raises.
  const sets = ['--set', 'train.global_batch_size=8', '--set', 'train.lr_scheduler_type=constant', ...flags];
  const argv = (out: string, ...more: string[]) => [
    ...['--config', bench.recipe, '--out', bench.path(out), ...sets, ...more],
  ];
  async function finish(size: number, out: string, ...more: string[]) {
    const ranks = startRanks(size, [cli, ...argv(out, ...more)]);
    expect(await ranks.ended, ranks.output.stderr).toBe(0);
    return ranks.output.stdout;
  }
  const filesOf = (out: string) =>
    new Set(Object.keys(hashFiles(bench.path(out))).map((name) => name.replace(/^events.*/, 'events')));

  beforeAll(async () => {
    await bench.fill();
    const { code, stderr } = await bench.finetune('alone', ...sets);
    expect(code, stderr).toBe(0);
  });
  afterAll(() => bench.dispose());

  it('as two, an adapter then as four, with ZeRO 2, match the metrics and files of one process', async () => {
    const zero = ['--set', 'distributed.zero_stage=2'];
    if (name === 'the whole model') {
      await finish(2, 'shared', ...zero);
    } else {
      const first = await finish(2, 'shared', '--set', 'train.max_steps=4');
      expect(first.match(/^backend /gm)).toHaveLength(1);
      const second = await finish(4, 'shared', ...zero);
      expect(second).toMatch(/^resume {7}at step 4/m);
    }
    const byStep = (out: string) =>
      new Map(readExactMetrics(bench.path(out)).map((line) => [`${'valLoss' in line} ${line.step}`, line]));
    const [alone, shared] = [byStep('alone'), byStep('shared')];
    for (const [step, { loss, valLoss, tokens }] of alone) {
      const line = shared.get(step)!;
      expect(Math.abs((line.loss ?? 0) - (loss ?? 0)), step).toBeLessThan(1e-4);
      expect(Math.abs((line.valLoss ?? 0) - (valLoss ?? 0)), step).toBeLessThan(1e-4);
      // The same rows, counted once.
      expect(line.tokens, step).toEqual(tokens);
    }
    expect(filesOf('shared')).toEqual(filesOf('alone'));
    expect(readdirSync(bench.path('shared', 'model'))).toEqual(readdirSync(bench.path('alone', 'model')));
  });
});
