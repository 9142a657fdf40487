#!/usr/bin/env node
/**
 * Trains and serves for an hour and looks for leaks: node scripts/soak.mjs [--minutes 60] [--folder DIR]
 *
 * Trains the quickstart's model, with validation, samples and a checkpoint every 25 steps, while a server of its first
 * checkpoint answers completions and scores texts, one request after another. Samples memory, open files and threads of
 * both processes every five seconds, and prints a table. Exits with 1 if one of them grew from the second quarter of the
 * run to the last: memory by more than 5 %, the others at all.
 *
 * Needs Linux and the built packages. Writes the run and soak.json to the folder.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const { values: flags } = parseArgs({
  options: { minutes: { type: 'string', default: '60' }, folder: { type: 'string' } },
});
const minutes = Number(flags.minutes);
if (!(minutes > 0)) throw new Error(`--minutes: got ${flags.minutes}, expected a number above 0`);
const repository = join(import.meta.dirname, '..');
const folder = flags.folder ?? mkdtempSync(join(tmpdir(), 'meap-soak-'));
mkdirSync(folder, { recursive: true });
const out = join(folder, 'run');
const TEXT = readFileSync(join(repository, 'README.md'), 'utf8');

/** Starts a built program of `apps` and collects its output; if it ends early, so does this one. */
function start(program, args) {
  const child = spawn(process.execPath, [join(repository, 'apps', program), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (text) => {
      printed = (printed + text).slice(-4000);
    });
  }
  const watched = { child, isStopping: false, printed: () => printed };
  child.on('exit', (code, signal) => {
    if (watched.isStopping) return;
    console.error(`${program} ended early (${signal ?? code}):\n${printed}`);
    process.exit(1);
  });
  return watched;
}

/** Stops a process with SIGTERM; returns its exit code. */
async function stop(watched) {
  watched.isStopping = true;
  watched.child.kill('SIGTERM');
  const [code] = await once(watched.child, 'exit');
  return code;
}

async function until(condition) {
  for (;;) {
    const value = condition();
    if (value) return value;
    await sleep(200);
  }
}

/** Resident memory in MiB, open files and threads of a process. */
function usageOf({ child: { pid } }) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const number = (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)[1]);
  return {
    memory: number('VmRSS') / 1024,
    files: readdirSync(`/proc/${pid}/fd`).length,
    threads: number('Threads'),
  };
}

const linesOf = (file) => {
  try {
    return readFileSync(join(out, file), 'utf8').trim().split('\n').filter(Boolean).length;
  } catch {
    return 0;
  }
};
const checkpoints = () => {
  try {
    return readdirSync(join(out, 'checkpoints')).filter((name) => name.startsWith('step-'));
  } catch {
    return [];
  }
};

const training = start('pretrain/dist/cli.js', [
  ...['--config', join(repository, 'recipes/pretrain/quickstart.yaml'), '--out', out, '--json-logs'],
  ...['train.max_steps=1000000', 'checkpoint.every=25', 'validation.every=25', 'samples.every=25'].flatMap(
    (key) => ['--set', key],
  ),
]);
// Training deletes old checkpoints, so the server gets a copy.
const model = join(folder, 'model');
const first = await until(() => checkpoints()[0]);
cpSync(join(out, 'checkpoints', first), model, { recursive: true });
const serving = start('serve/dist/serve.js', ['--model', model, '--port', '0']);
const [, url] = await until(() => /(http:\S+)/.exec(serving.printed()));

let requests = 0;
let isOver = false;
async function ask() {
  while (!isOver) {
    const from = (requests * 7919) % (TEXT.length - 200);
    const prompt = TEXT.slice(from, from + 20 + ((requests * 31) % 100));
    // In turn a completion, and a score as lm-evaluation-harness requests it.
    const fields =
      requests % 2 === 0
        ? { prompt, max_tokens: 8 + (requests % 24), temperature: 0.8 }
        : { prompt, max_tokens: 1, echo: true, logprobs: 1, temperature: 0 };
    const response = await fetch(`${url}/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'model', ...fields }),
    });
    const body = await response.text();
    if (!response.ok) throw new Error(`request ${requests}: ${response.status} ${body}`);
    requests++;
  }
}
const asking = ask();

const began = Date.now();
const end = began + minutes * 60_000;
const records = [];
while (Date.now() < end) {
  await Promise.race([sleep(Math.min(5000, end - Date.now())), asking]);
  records.push({
    minute: (Date.now() - began) / 60_000,
    steps: linesOf('metrics.jsonl'),
    requests,
    training: usageOf(training),
    serving: usageOf(serving),
  });
}
isOver = true;
await asking;
const ends = { training: await stop(training), serving: await stop(serving) };

const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];
const PARTS = 8;
const parts = Array.from({ length: PARTS }, (_, i) =>
  records.slice(Math.floor((i * records.length) / PARTS), Math.floor(((i + 1) * records.length) / PARTS)),
).filter((part) => part.length > 0);
const table = parts.map((part) => {
  const of = (process, measure) => median(part.map((record) => record[process][measure]));
  return {
    'minutes to': Number(part.at(-1).minute.toFixed(1)),
    requests: part.at(-1).requests,
    'training MiB': Math.round(of('training', 'memory')),
    files: of('training', 'files'),
    threads: of('training', 'threads'),
    'serving MiB': Math.round(of('serving', 'memory')),
    'serving files': of('serving', 'files'),
    'serving threads': of('serving', 'threads'),
  };
});
console.table(table);

// By the second quarter everything has run once.
const quarter = (index) =>
  records.slice(Math.floor((index * records.length) / 4), Math.floor(((index + 1) * records.length) / 4));
const growth = {};
const grown = [];
for (const process of ['training', 'serving']) {
  for (const [measure, maxGrowth] of Object.entries({ memory: 0.05, files: 0, threads: 0 })) {
    const [before, after] = [quarter(1), quarter(3)].map((part) =>
      median(part.map((record) => record[process][measure])),
    );
    growth[`${process} ${measure}`] = after / before - 1;
    if (after > before * (1 + maxGrowth))
      grown.push(`${process}: ${measure} grew from ${before} to ${after}`);
  }
}
const samples = linesOf('samples.jsonl');
console.log(
  `${minutes} minutes, ${linesOf('metrics.jsonl')} lines of metrics, ${samples} samples, ${requests} requests`,
);
for (const [name, share] of Object.entries(growth)) console.log(`${name}: ${(100 * share).toFixed(2)} %`);
writeFileSync(join(folder, 'soak.json'), JSON.stringify({ minutes, ends, growth, table, records }));
for (const line of grown) console.error(line);
console.log(`figures: ${join(folder, 'soak.json')}`);
process.exitCode = grown.length > 0 ? 1 : 0;
