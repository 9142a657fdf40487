#!/usr/bin/env node
/**
 * What ranks gain and hold: node bench/ranks.mjs [--rounds 3] [--steps 12] [--batch 8] [key=value of a recipe …]
 *
 * Trains the same steps on one rank and on two, one thread each, in turns, and prints the throughput of the fastest step
 * (other programs on the cores can only slow one down, and two ranks more than one), the scaling efficiency, and the most
 * memory a rank held, for each stage of ZeRO. Two processes that know nothing of each other, with half of the rows each,
 * show what the machine itself allows: efficiency is also given in their terms. Needs Linux, MPI and the built packages.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startRanks } from '@meap/test-support';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '3' },
    steps: { type: 'string', default: '12' },
    batch: { type: 'string', default: '8' },
  },
});
const cli = join(import.meta.dirname, '../dist/cli.js');
const recipe = join(import.meta.dirname, '../../../recipes/quickstart.yaml');
const root = mkdtempSync(join(tmpdir(), 'meap-ranks-'));
const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];

/** Peak resident memory of a process in MiB, while it lives. */
function peakOf(pid) {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;
  } catch {
    return 0;
  }
}

let runs = 0;
async function measure(size, stage, batch = Number(values.batch)) {
  const out = join(root, String(runs++));
  const keys = [
    ...[
      `train.max_steps=${values.steps}`,
      `train.global_batch_size=${batch}`,
      `distributed.zero_stage=${stage}`,
    ],
    ...['checkpoint.every=1000000', 'validation.every=1000000', 'validation.max_rows=2'],
    ...['samples.every=1000000', 'samples.max_new_tokens=1', ...positionals],
  ];
  const args = [cli, '--config', recipe, '--out', out, ...keys.flatMap((key) => ['--set', key])];
  // Unbound: two runs that Open MPI starts beside each other it would put on one core.
  const env = { MEAP_NUM_THREADS: '1', OMPI_MCA_hwloc_base_binding_policy: 'none' };
  const ranks = startRanks(size, args, env);
  const peaks = new Map();
  const timer = setInterval(() => {
    for (const pid of ranks.pids()) peaks.set(pid, Math.max(peaks.get(pid) ?? 0, peakOf(pid)));
  }, 50);
  const code = await ranks.ended;
  clearInterval(timer);
  if (code !== 0) throw new Error(ranks.output.stderr);
  const speeds = readFileSync(join(out, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .filter(({ step, tokensPerSecond }) => tokensPerSecond && step > 2)
    .map(({ tokensPerSecond }) => tokensPerSecond);
  rmSync(out, { recursive: true });
  return { speed: Math.max(...speeds), memory: Math.max(...peaks.values()) };
}

/** Two runs beside each other. */
async function measureApart() {
  const both = await Promise.all([1, 2].map(() => measure(1, 0, Number(values.batch) / 2)));
  return { speed: both[0].speed + both[1].speed, memory: Math.max(...both.map(({ memory }) => memory)) };
}

const cases = {
  '1 rank': () => measure(1, 0),
  '2 processes apart': measureApart,
  '2 ranks': () => measure(2, 0),
  '2 ranks, ZeRO 1': () => measure(2, 1),
  '2 ranks, ZeRO 2': () => measure(2, 2),
};
const results = Object.fromEntries(Object.keys(cases).map((name) => [name, { speeds: [], memories: [] }]));
try {
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [name, run] of Object.entries(cases)) {
      const { speed, memory } = await run();
      results[name].speeds.push(speed);
      results[name].memories.push(memory);
    }
  }
} finally {
  rmSync(root, { recursive: true });
}
const speedOf = (name) => Math.max(...results[name].speeds);
const percent = (share) => `${(100 * share).toFixed(0)} %`;
console.table(
  Object.fromEntries(
    Object.entries(results).map(([name, { memories }]) => [
      name,
      {
        'tokens/s': Math.round(speedOf(name)),
        'of twice one rank': percent(speedOf(name) / speedOf('1 rank') / 2),
        'of two processes apart': percent(speedOf(name) / speedOf('2 processes apart')),
        'peak MiB of a rank': Math.round(median(memories)),
      },
    ]),
  ),
);
