/**
 * Latency of small requests while others are as expensive as possible.
 *
 *     node bench/serve-load.mjs MODEL
 *
 * Starts `meap-serve` on MODEL and requests `/health` every 25 ms and completions of two tokens. Meanwhile another thread
 * sends six prompts of almost 8 MiB, and requests 272 answers of up to 500 tokens. Memory is the sum of the server and
 * its processes, from /proc (Linux).
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
  if (started.includes('listening')) break;
}
const url = /listening +(\S+)\/v1/.exec(started)[1];
const context = Number(/context (\d+)/.exec(started)[1]);

function post(body) {
  const headers = { 'content-type': 'application/json' };
  return fetch(`${url}/v1/completions`, { method: 'POST', headers, body: JSON.stringify(body) });
}

/** Returns the memory of the server and its child processes in MiB. */
function memory() {
  let kib = 0;
  for (const entry of readdirSync('/proc')) {
    try {
      const status = readFileSync(`/proc/${entry}/status`, 'utf8');
      const value = (key) => Number(new RegExp(`^${key}:\\s*(\\d+)`, 'm').exec(status)?.[1] ?? 0);
      if (Number(entry) === server.pid || value('PPid') === server.pid) kib += value('VmRSS');
    } catch {
      // Not a process, or ended.
    }
  }
  return kib / 1024;
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];

/** Measures health checks, memory and small requests during a load. */
async function measure(name, attack) {
  let isOver = false;
  const health = [];
  const small = [];
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
  const sendSmall = async () => {
    while (!isOver) {
      const start = performance.now();
      const response = await post({ prompt: 'Once', max_tokens: 2 });
      await response.text();
      if (response.status === 200) small.push(performance.now() - start);
      else refused[response.status] = (refused[response.status] ?? 0) + 1;
      await sleep(100);
    }
  };
  const watching = [watchHealth(), watchMemory(), sendSmall()];
  const start = performance.now();
  const outcome = await attack();
  const seconds = (performance.now() - start) / 1000;
  isOver = true;
  await Promise.all(watching);
  health.sort((a, b) => a - b);
  small.sort((a, b) => a - b);
  const ms = (values, q) => (values.length === 0 ? '-' : quantile(values, q).toFixed(0));
  console.log(
    `| ${name} | ${outcome} | ${seconds.toFixed(1)} | ${health.length} | ${ms(health, 0.5)} / ${ms(health, 0.99)} / ${ms(health, 1)} ` +
      `| ${small.length} | ${ms(small, 0.5)} / ${ms(small, 1)} | ${JSON.stringify(refused)} | ${peak.toFixed(0)} |`,
  );
}

/** Sends all requests of some kinds at once; returns their statuses. */
async function attack({ url, kinds, numTokens }) {
  const long = 'Once upon a time there was a little girl. '.repeat(200_000).slice(0, 7.9 * 2 ** 20);
  const many = { prompt: Array.from({ length: 272 }, () => 'Once upon a time'), max_tokens: numTokens };
  const bodies = kinds.map((kind) => {
    if (kind === 'prompts') return Array(6).fill(JSON.stringify({ prompt: long }));
    return [JSON.stringify(kind === 'logprobs' ? { ...many, logprobs: 20 } : many)];
  });
  // fetch has a timeout of five minutes.
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

/** Runs the attack in another thread, so that its cost is not measured. */
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
  '| meanwhile | responses | s | health checks | p50 / p99 / max ms | small requests | p50 / max ms | refused | MiB |',
);
console.log('| --- | --- | --: | --: | --: | --: | --: | --- | --: |');
await measure('nothing', () => sleep(5000).then(() => ''));
await measure(PROMPTS, () => attackFromThread('prompts'));
await measure(`${PROMPTS}, and 272 answers of ${numTokens} tokens`, () =>
  attackFromThread('prompts', 'answers'),
);
await measure(`272 answers of ${numTokens} tokens with 20 log-probabilities each`, () =>
  attackFromThread('logprobs'),
);
server.kill('SIGTERM');
