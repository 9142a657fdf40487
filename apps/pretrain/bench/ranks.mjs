#!/usr/bin/env node
/**
 * Measures throughput and memory of ranks: node bench/ranks.mjs [--rounds 3] [--steps 12] [--batch 8] [recipe key=value …]
 *
 * Trains the same steps on one rank and on two, one thread each, interleaved, for each ZeRO stage, and prints
 *
 * - the throughput of the fastest step, which other programs disturb least;
 * - the CPU time of a step, summed over ranks, and the efficiency: the CPU time of one rank divided by it;
 * - the maximum memory of a rank, from the third step on.
 *
 * Needs Linux, MPI and the built packages.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
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
const recipe = join(import.meta.dirname, '../../../recipes/pretrain/quickstart.yaml');
const root = mkdtempSync(join(tmpdir(), 'meap-ranks-'));
const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];

/** Returns the CPU seconds of a process, all threads included. */
function cpuTime(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Returns the resident memory of a process in MiB. */
function memoryOf(pid) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;
}

let runs = 0;
async function measure(size, stage) {
  const out = join(root, String(runs++));
  const keys = [
    `train.max_steps=${values.steps}`,
    `train.global_batch_size=${values.batch}`,
    `distributed.zero_stage=${stage}`,
    ...['checkpoint', 'validation', 'samples'].map((section) => `${section}.every=1000000`),
    ...['validation.max_rows=2', 'samples.max_new_tokens=1', ...positionals],
  ];
  const args = [cli, '--config', recipe, '--out', out, ...keys.flatMap((key) => ['--set', key])];
  const ranks = startRanks(size, args, { MEAP_NUM_THREADS: '1' });
  const marks = [];
  const timer = setInterval(() => {
    const pids = ranks.pids();
    const steps = existsSync(join(out, 'metrics.jsonl'))
      ? readFileSync(join(out, 'metrics.jsonl'), 'utf8').split('"lr"').length - 1
      : 0;
    if (steps < 3 || steps === (marks.at(-1)?.steps ?? 0) || steps >= Number(values.steps)) return;
    try {
      marks.push({
        steps,
        seconds: pids.reduce((sum, pid) => sum + cpuTime(pid), 0),
        memory: Math.max(...pids.map(memoryOf)),
      });
    } catch {
      // A rank has ended.
    }
  }, 20);
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
  const [first, last] = [marks[0], marks.at(-1)];
  const cpu = (last.seconds - first.seconds) / (last.steps - first.steps);
  return { speed: Math.max(...speeds), cpu, memory: Math.max(...marks.map(({ memory }) => memory)) };
}

const cases = {
  '1 rank': () => measure(1, 0),
  '2 ranks': () => measure(2, 0),
  '2 ranks, ZeRO 1': () => measure(2, 1),
  '2 ranks, ZeRO 2': () => measure(2, 2),
};
const results = Object.fromEntries(
  Object.keys(cases).map((name) => [name, { speeds: [], cpus: [], memories: [] }]),
);
try {
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [name, run] of Object.entries(cases)) {
      const { speed, cpu, memory } = await run();
      results[name].speeds.push(speed);
      results[name].cpus.push(cpu);
      results[name].memories.push(memory);
    }
  }
} finally {
  rmSync(root, { recursive: true });
}
const speedOf = (name) => Math.max(...results[name].speeds);
const cpuOf = (name) => median(results[name].cpus);
const percent = (share) => `${(100 * share).toFixed(0)} %`;
console.table(
  Object.fromEntries(
    Object.entries(results).map(([name, { memories }]) => [
      name,
      {
        'tokens/s': Math.round(speedOf(name)),
        'CPU ms per step': Math.round(1000 * cpuOf(name)),
        efficiency: percent(cpuOf('1 rank') / cpuOf(name)),
        'MiB per rank': Math.round(median(memories)),
      },
    ]),
  ),
);
