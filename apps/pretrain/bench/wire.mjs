#!/usr/bin/env node
/**
 * What ranks send in a step, as their network interfaces count it, beside the least that a sum takes:
 * node bench/wire.mjs [--ranks 2] [key=value of a recipe …]
 *
 * Each rank has a network of its own (`fixtures/across-networks.sh`: Open MPI, Linux, root). Runs of 4 and of 12 steps
 * send the same but for 8 steps; so what starts and ends a run does not count. Each of N ranks has to send
 * (N − 1)/N of the gradients for the sums of its part, and as much again to have all of them, or of the weights with
 * ZeRO (Rajbhandari et al. 2020, section 7): 4 bytes a parameter each time.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openSafetensors } from '@meap/safetensors';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { ranks: { type: 'string', default: '2' } },
});
const numRanks = Number(values.ranks);
const [cli, fixture, recipe] = [
  '../dist/cli.js',
  '../fixtures/across-networks.sh',
  '../../../recipes/pretrain/quickstart.yaml',
].map((path) => join(import.meta.dirname, path));
const root = mkdtempSync(join(tmpdir(), 'meap-wire-'));
let numParameters = 0;

/** Bytes that each rank sent in a run. */
async function sent(zeroStage, steps) {
  const [out, count] = ['run', 'count'].map((name) => join(root, name));
  const keys = [
    ...[`train.max_steps=${steps}`, `distributed.zero_stage=${zeroStage}`, 'checkpoint.every=1000000'],
    ...[
      'validation.every=1000000',
      'validation.max_rows=2',
      'samples.every=1000000',
      'samples.max_new_tokens=1',
    ],
    ...[`train.global_batch_size=${2 * numRanks}`, 'train.micro_batch_size=null', ...positionals],
  ];
  const args = [
    '--ranks',
    values.ranks,
    '--count',
    count,
    process.execPath,
    cli,
    '--config',
    recipe,
    '--out',
    out,
  ];
  execFileSync(fixture, [...args, ...keys.flatMap((key) => ['--set', key])], {
    stdio: 'ignore',
    env: { ...process.env, MEAP_NUM_THREADS: '1' },
  });
  const model = await openSafetensors(join(out, `checkpoints/step-${String(steps).padStart(8, '0')}`));
  numParameters = [...model.tensors.values()].reduce((sum, { byteLength }) => sum + byteLength / 4, 0);
  await model.close();
  rmSync(out, { recursive: true });
  return readFileSync(count, 'utf8').trim().split('\n').map(Number);
}

const [short, long] = [4, 12];
const MEGA = 1e6;
const rows = {};
try {
  for (const zeroStage of [0, 1, 2]) {
    const [before, after] = [await sent(zeroStage, short), await sent(zeroStage, long)];
    const perStep = after.map((bytes, rank) => (bytes - before[rank]) / (long - short) / MEGA);
    const theory = (2 * (numRanks - 1) * 4 * numParameters) / numRanks / MEGA;
    rows[`ZeRO ${zeroStage}`] = {
      'least, MB a step and rank': Number(theory.toFixed(2)),
      counted: perStep.map((megabytes) => megabytes.toFixed(2)).join(' '),
      'over theory': (perStep.reduce((sum, x) => sum + x, 0) / numRanks / theory).toFixed(3),
    };
  }
} finally {
  rmSync(root, { recursive: true });
}
console.log(`${numParameters} parameters, ${numRanks} ranks`);
console.table(rows);
