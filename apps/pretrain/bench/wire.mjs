#!/usr/bin/env node
/**
 * Compares the bytes that ranks send per step, counted by their network interfaces, with the theoretical minimum:
 * node bench/wire.mjs [--ranks 2] [recipe key=value …]
 *
 * Each rank runs in its own network namespace (`fixtures/across-networks.sh`: Open MPI, Linux, root). The difference
 * between runs of 12 and of 4 steps excludes start and end. Each of N ranks has to send (N − 1)/N of the gradients for
 * the reduce-scatter and the same for the all-gather, of the weights with ZeRO (Rajbhandari et al. 2020, section 7):
 * 4 bytes per parameter each time.
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

/** Returns the bytes that each rank sent in a run. */
async function sent(zeroStage, steps) {
  const [out, count] = ['run', 'count'].map((name) => join(root, name));
  const keys = [
    `train.max_steps=${steps}`,
    `distributed.zero_stage=${zeroStage}`,
    ...['checkpoint', 'validation', 'samples'].map((section) => `${section}.every=1000000`),
    ...['validation.max_rows=2', 'samples.max_new_tokens=1'],
    ...[`train.global_batch_size=${2 * numRanks}`, 'train.micro_batch_size=null', ...positionals],
  ];
  const launch = ['--ranks', values.ranks, '--count', count, process.execPath, cli];
  const args = [...launch, '--config', recipe, '--out', out];
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
      'minimum, MB per step and rank': Number(theory.toFixed(2)),
      measured: perStep.map((megabytes) => megabytes.toFixed(2)).join(' '),
      'measured / minimum': (perStep.reduce((sum, x) => sum + x, 0) / numRanks / theory).toFixed(3),
    };
  }
} finally {
  rmSync(root, { recursive: true });
}
console.log(`${numParameters} parameters, ${numRanks} ranks`);
console.table(rows);
