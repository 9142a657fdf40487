#!/usr/bin/env node
/**
 * Measures the start of meap-pretrain: node bench/start.mjs [--rounds 10] [other/dist/cli.js …]
 *
 * Runs the program with `--help`, and until the end of a run of one step of a tiny model on data that are prepared, and
 * prints medians of the time and of the processor's time (Linux). Other builds named are measured in turn with this one.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '10' } },
});
const programs = [join(import.meta.dirname, '../dist/cli.js'), ...positionals.map((path) => resolve(path))];
const folder = mkdtempSync(join(tmpdir(), 'meap-start-'));
const text = Array.from({ length: 2000 }, (_, i) => `Whale ${(i * i) % 97} meets ship ${(i * 7) % 89}.`);
writeFileSync(join(folder, 'text.txt'), text.join(' '));
writeFileSync(
  join(folder, 'tiny.yaml'),
  `model: {hidden_size: 16, intermediate_size: 32, num_hidden_layers: 2, num_attention_heads: 2}
data: {files: [text.txt], cache_dir: cache}
tokenizer: {vocab_size: 290}
train: {max_steps: 1, global_batch_size: 4, sequence_length: 16, learning_rate: 0.01}
validation: {max_rows: 1}
samples: {max_new_tokens: 1}
`,
);

/** The processor's seconds of all children that have ended. */
function childSeconds() {
  const fields = readFileSync('/proc/self/stat', 'utf8').split(') ').at(-1).split(' ');
  return (Number(fields[13]) + Number(fields[14])) / 100;
}

let runs = 0;
async function measure(program, kind) {
  const run = ['--config', join(folder, 'tiny.yaml'), '--out', join(folder, `run-${runs++}`)];
  const args = kind === 'help' ? ['--help'] : run;
  const [started, before] = [performance.now(), childSeconds()];
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} failed, got exit code ${code}, expected 0`);
  return { wall: (performance.now() - started) / 1000, cpu: childSeconds() - before };
}

const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];
try {
  for (const kind of ['help', 'step']) {
    const times = new Map(programs.map((program) => [program, []]));
    // The first round prepares the data, and fills the caches of the system.
    for (let round = -1; round < Number(values.rounds); round++) {
      for (const program of programs) {
        const time = await measure(program, kind);
        if (round >= 0) times.get(program).push(time);
      }
      if (process.stderr.isTTY) process.stderr.write(`\r${kind} ${round + 1} of ${values.rounds} `);
    }
    for (const [program, list] of times) {
      const [wall, cpu] = ['wall', 'cpu'].map((key) => median(list.map((time) => time[key])).toFixed(2));
      console.log(`${kind}: ${wall} s, ${cpu} s of the processor, ${program}`);
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
