/**
 * The server under requests that cost it as much as they can, and what honest ones notice of them.
 *
 *     node bench/serve-load.mjs MODEL
 *
 * Starts `meap-serve` on MODEL, asks `/health` every 25 ms and a completion of two tokens again and again, and
 * meanwhile sends, from a thread of its own, six prompts of almost 8 MiB, and 272 answers of as many tokens as the
 * context has room for, up to 500. Memory is that of the server and its processes together, from /proc (Linux).
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { cpus, loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

const PROMPTS = '6 prompts of 7.9 MiB';

if (!isMainThread) {
  parentPort.postMessage(await attack(workerData));
  process.exit();
}

const [model] = process.argv.slice(2);
if (!model) {
  console.error('usage: node bench/serve-load.mjs MODEL');
  process.exit(2);
}
const cli = fileURLToPath(new URL('../dist/serve.js', import.meta.url));
const server = spawn(process.execPath, [cli, '--model', model, '--port', '0', '--chat-template', 'alpaca']);
server.stderr.pipe(process.stderr);
let started = '';
for await (const chunk of server.stdout) {
  started += chunk;
  if (started.includes('listens')) break;
}
const url = /listens +(\S+)\/v1/.exec(started)[1];
const context = Number(/context (\d+)/.exec(started)[1]);

function post(body) {
  const headers = { 'content-type': 'application/json' };
  return fetch(`${url}/v1/completions`, { method: 'POST', headers, body: JSON.stringify(body) });
}

/** MiB of the server and the processes that it started. */
function memory() {
  let kib = 0;
  for (const entry of readdirSync('/proc')) {
    try {
      const status = readFileSync(`/proc/${entry}/status`, 'utf8');
      const value = (key) => Number(new RegExp(`^${key}:\\s*(\\d+)`, 'm').exec(status)?.[1] ?? 0);
      if (Number(entry) === server.pid || value('PPid') === server.pid) kib += value('VmRSS');
    } catch {
      // Gone, or no process.
    }
  }
  return kib / 1024;
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];

/** Watches health, memory and honest requests while something else goes on. */
async function watched(name, attack) {
  let isOver = false;
  const health = [];
  const honest = [];
  const refused = {};
  let peak = 0;
  const watchHealth = async () => {
    while (!isOver) {
      const start = performance.now();
      await (await fetch(`${url}/health`)).text();
      health.push(performance.now() - start);
      await sleep(25);
    }
  };
  const watchMemory = async () => {
    while (!isOver) {
      peak = Math.max(peak, memory());
      await sleep(100);
    }
  };
  const beHonest = async () => {
    while (!isOver) {
      const start = performance.now();
      const response = await post({ prompt: 'Once', max_tokens: 2 });
      await response.text();
      if (response.status === 200) honest.push(performance.now() - start);
      else refused[response.status] = (refused[response.status] ?? 0) + 1;
      await sleep(100);
    }
  };
  const watching = [watchHealth(), watchMemory(), beHonest()];
  const start = performance.now();
  const outcome = await attack();
  const seconds = (performance.now() - start) / 1000;
  isOver = true;
  await Promise.all(watching);
  health.sort((a, b) => a - b);
  honest.sort((a, b) => a - b);
  const ms = (values, q) => (values.length === 0 ? '-' : quantile(values, q).toFixed(0));
  console.log(
    `| ${name} | ${outcome} | ${seconds.toFixed(1)} | ${health.length} | ${ms(health, 0.5)} / ${ms(health, 0.99)} / ${ms(health, 1)} ` +
      `| ${honest.length} | ${ms(honest, 0.5)} / ${ms(honest, 1)} | ${JSON.stringify(refused)} | ${peak.toFixed(0)} |`,
  );
}

/** Sends requests of some kinds all at once; their statuses. */
async function attack({ url, kinds, numTokens }) {
  const long = 'Once upon a time there was a little girl. '.repeat(200_000).slice(0, 7.9 * 2 ** 20);
  const many = { prompt: Array.from({ length: 272 }, () => 'Once upon a time'), max_tokens: numTokens };
  const bodies = kinds.map((kind) => {
    if (kind === 'prompts') return Array(6).fill(JSON.stringify({ prompt: long }));
    return [JSON.stringify(kind === 'logprobs' ? { ...many, logprobs: 20 } : many)];
  });
  // Not fetch, which waits five minutes for a response and no longer.
  const post = (body) =>
    new Promise((resolve, reject) => {
      const options = { method: 'POST', headers: { 'content-type': 'application/json' }, agent: false };
      const sent = request(`${url}/v1/completions`, options, async (response) => {
        let length = 0;
        for await (const chunk of response) length += chunk.length;
        const size = length > 2 ** 20 ? ` (${(length / 2 ** 20).toFixed(1)} MiB)` : '';
        resolve(`${response.statusCode}${size}`);
      });
      sent.on('error', reject).end(body);
    });
  const all = await Promise.all(bodies.flat().map(post));
  return [...new Set(all)]
    .map((status) => `${all.filter((one) => one === status).length} × ${status}`)
    .join(', ');
}

/** The same from a thread of its own, so that what it costs to ask is not counted. */
function attackFromThread(...kinds) {
  return new Promise((resolve, reject) => {
    const thread = new Worker(new URL(import.meta.url), { workerData: { url, kinds, numTokens } });
    thread.once('message', resolve).once('error', reject);
  });
}

const numTokens = Math.min(500, context - 12);

console.log(
  `${cpus()[0].model}, ${cpus().length} cores, Node ${process.version}, context ${context}, load ${loadavg()[0].toFixed(1)} before\n`,
);
console.log(
  '| meanwhile | their answers | s | health checks | p50 / p99 / max ms | honest answers | p50 / max ms | refused | MiB |',
);
console.log('| --- | --- | --: | --: | --: | --: | --: | --- | --: |');
await watched('nothing', () => sleep(5000).then(() => ''));
await watched(PROMPTS, () => attackFromThread('prompts'));
await watched(`${PROMPTS}, and 272 answers of ${numTokens} tokens`, () =>
  attackFromThread('prompts', 'answers'),
);
await watched(`272 answers of ${numTokens} tokens with 20 log-probabilities each`, () =>
  attackFromThread('logprobs'),
);
server.kill('SIGTERM');
