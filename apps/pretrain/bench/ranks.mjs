#!/usr/bin/env node
/**
 * What ranks gain and hold: node bench/ranks.mjs [--rounds 3] [--steps 12] [key=value of a recipe …]
 *
 * Trains the same steps on one rank and on two, one thread each, in turns, and prints the median throughput, the scaling
 * efficiency, and the most memory a rank held, for each stage of ZeRO. Needs Linux, MPI and the built packages.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startRanks } from '@meap/test-support';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '3' }, steps: { type: 'string', default: '12' } },
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
async function measure(size, stage) {
  const out = join(root, String(runs++));
  const keys = [
    ...[
      `train.max_steps=${values.steps}`,
      'checkpoint.every=1000000',
      'validation.every=1000000',
      'validation.max_rows=2',
    ],
    ...[
      'samples.every=1000000',
      'samples.max_new_tokens=1',
      `distributed.zero_stage=${stage}`,
      ...positionals,
    ],
  ];
  const args = [cli, '--config', recipe, '--out', out, ...keys.flatMap((key) => ['--set', key])];
  const ranks = startRanks(size, args, { MEAP_NUM_THREADS: '1' });
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
  return { speed: median(speeds), memory: Math.max(...peaks.values()) };
}

const cases = [
  [1, 0],
  [2, 0],
  [2, 1],
  [2, 2],
];
const results = new Map(cases.map((key) => [key, { speeds: [], memories: [] }]));
try {
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [key, { speeds, memories }] of results) {
      const { speed, memory } = await measure(...key);
      speeds.push(speed);
      memories.push(memory);
    }
  }
} finally {
  rmSync(root, { recursive: true });
}
const alone = median(results.get(cases[0]).speeds);
console.table(
  [...results].map(([[ranks, stage], { speeds, memories }]) => ({
    ranks,
    'ZeRO stage': stage,
    'tokens/s': Math.round(median(speeds)),
    'efficiency %': Number(((100 * median(speeds)) / alone / ranks).toFixed(1)),
    'peak RSS of a rank, MiB': Math.round(median(memories)),
  })),
);
