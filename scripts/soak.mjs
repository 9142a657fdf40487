#!/usr/bin/env node
/**
 * Long training and long evaluation, watched: node scripts/soak.mjs [--minutes 60] [--folder DIR]
 *
 * Trains the quickstart's model without end, with validation, samples and a checkpoint every 25 steps, while a server
 * of its first checkpoint answers completions and scores texts, one request after another. Every five seconds memory,
 * open files and threads of both processes are noted. Prints them by parts of the run, and exits with 1 where one of
 * them grew from the second quarter to the last: memory by more than 5 %, the others at all.
 *
 * Needs Linux and the built packages. The run stays in the folder, figures in its soak.json.
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

/** A program of ours as a process; what it prints is kept, and its early end ends this program. */
function start(app, args) {
  const child = spawn(process.execPath, [join(repository, 'apps', app, 'dist/cli.js'), ...args], {
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
    console.error(`${app} ended by itself (${signal ?? code}):\n${printed}`);
    process.exit(1);
  });
  return watched;
}

/** Ends a process as its user would, and tells how it ended. */
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

/** What a process holds: resident memory in MiB, open files, threads. */
function holdings({ child: { pid } }) {
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

const training = start('pretrain', [
  ...['--config', join(repository, 'recipes/pretrain/quickstart.yaml'), '--out', out, '--json-logs'],
  ...['train.max_steps=1000000', 'checkpoint.every=25', 'validation.every=25', 'samples.every=25'].flatMap(
    (key) => ['--set', key],
  ),
]);
// A copy: training deletes checkpoints.
const model = join(folder, 'model');
const first = await until(() => checkpoints()[0]);
cpSync(join(out, 'checkpoints', first), model, { recursive: true });
const serving = start('evaluate', ['serve', '--model', model, '--port', '0']);
const [, url] = await until(() => /listening\s+(http\S+)/.exec(serving.printed()));

let requests = 0;
let isOver = false;
async function ask() {
  while (!isOver) {
    const from = (requests * 7919) % (TEXT.length - 200);
    const prompt = TEXT.slice(from, from + 20 + ((requests * 31) % 100));
    // A completion, then a score of a text as lm-evaluation-harness asks for it.
    const wish =
      requests % 2 === 0
        ? { prompt, max_tokens: 8 + (requests % 24), temperature: 0.8 }
        : { prompt, max_tokens: 1, echo: true, logprobs: 1, temperature: 0 };
    const response = await fetch(`${url}/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'model', ...wish }),
    });
    const body = await response.text();
    if (!response.ok) throw new Error(`request ${requests}: ${response.status} ${body}`);
    requests++;
  }
}
const asking = ask();

const began = Date.now();
const end = began + minutes * 60_000;
const notes = [];
while (Date.now() < end) {
  await Promise.race([sleep(Math.min(5000, end - Date.now())), asking]);
  notes.push({
    minute: (Date.now() - began) / 60_000,
    steps: linesOf('metrics.jsonl'),
    requests,
    training: holdings(training),
    serving: holdings(serving),
  });
}
isOver = true;
await asking;
const ends = { training: await stop(training), serving: await stop(serving) };

const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];
const PARTS = 8;
const parts = Array.from({ length: PARTS }, (_, i) =>
  notes.slice(Math.floor((i * notes.length) / PARTS), Math.floor(((i + 1) * notes.length) / PARTS)),
).filter((part) => part.length > 0);
const table = parts.map((part) => {
  const of = (process, what) => median(part.map((note) => note[process][what]));
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

// From the second quarter, in which everything has happened once, to the last.
const quarter = (index) =>
  notes.slice(Math.floor((index * notes.length) / 4), Math.floor(((index + 1) * notes.length) / 4));
const growth = {};
const grown = [];
for (const process of ['training', 'serving']) {
  for (const [what, most] of Object.entries({ memory: 0.05, files: 0, threads: 0 })) {
    const [before, after] = [quarter(1), quarter(3)].map((part) =>
      median(part.map((note) => note[process][what])),
    );
    growth[`${process} ${what}`] = after / before - 1;
    if (after > before * (1 + most)) grown.push(`${process}: ${what} grew from ${before} to ${after}`);
  }
}
const samples = linesOf('samples.jsonl');
console.log(
  `${minutes} minutes, ${linesOf('metrics.jsonl')} lines of metrics, ${samples} samples, ${requests} requests`,
);
for (const [name, share] of Object.entries(growth)) console.log(`${name}: ${(100 * share).toFixed(2)} %`);
writeFileSync(join(folder, 'soak.json'), JSON.stringify({ minutes, ends, growth, table, notes }));
for (const line of grown) console.error(line);
console.log(`figures: ${join(folder, 'soak.json')}`);
process.exitCode = grown.length > 0 ? 1 : 0;
