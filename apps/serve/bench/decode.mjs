/**
 * Decoding at batch 1 beside llama.cpp on a GGUF file of the same model, and beside the rate at which the machine reads
 * memory, in turns:
 *
 *     MEAP_NUM_THREADS=1 node apps/serve/bench/decode.mjs MODEL [--weights int8,nf4,bfloat16] [--prompt 16] [--tokens 32]
 *       [--rounds 5] [--python PYTHON] [--json]
 *
 * MODEL is larger than the caches: `apps/finetune/fixtures/make_random_model.mjs` writes one of any shape. PYTHON has
 * llama-cpp-python; without it llama.cpp is left out. `c++` compiles the program that reads memory. With one thread times
 * are processor time, which other programs change little.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { writeGguf } from '@meap/inference';
import { Decoder, loadLlama, weightBytes } from '@meap/llama-model';
import { describeBackend, setBackend } from '@meap/tensor-kernels';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    weights: { type: 'string', default: 'int8,nf4,bfloat16' },
    prompt: { type: 'string', default: '16' },
    tokens: { type: 'string', default: '32' },
    rounds: { type: 'string', default: '5' },
    python: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const [directory] = positionals;
const [promptLength, newTokens, rounds] = [options.prompt, options.tokens, options.rounds].map(Number);
/** The number format of llama.cpp beside ours. */
const GGUF = { float32: 'f32', bfloat16: 'bf16', int8: 'q8_0', nf4: 'q4_0' };

await setBackend('native');
const { device } = describeBackend();
const threads = Number(/(\d+) thread/.exec(device)[1]);
const work = mkdtempSync(join(tmpdir(), 'meap-decode-'));
try {
  const readMemory = join(work, 'read_memory');
  execute('c++', ['-O3', '-march=native', '-pthread', script('read_memory.cpp'), '-o', readMemory]);
  const rows = [];
  for (const weights of options.weights.split(',')) {
    const row = await measure(weights, () => Number(execute(readMemory, [String(threads)])));
    rows.push(row);
    if (options.json) console.log(JSON.stringify({ ...row, device }));
  }
  if (!options.json) {
    console.log(device);
    console.table(rows);
  }
} finally {
  rmSync(work, { recursive: true });
}

async function measure(weights, readRate) {
  const stored = ['float32', 'bfloat16'].includes(weights)
    ? { weights }
    : { weights: 'bfloat16', quantize: weights };
  const peer = options.python && (await startPeer(GGUF[weights]));
  const model = await loadLlama(directory, stored);
  const { vocab_size, hidden_size, tie_word_embeddings } = model.config;
  // A token reads every weight but the table of embeddings, unless that is the head.
  const table = tie_word_embeddings ? 0 : vocab_size * hidden_size * (weights === 'float32' ? 4 : 2);
  const bytes = weightBytes(model.config, stored) - table;
  const prompt = Array.from({ length: promptLength }, (_, i) => (i * 7919) % vocab_size);
  const seconds = { read: [], each: [], peerRead: [], peerEach: [] };
  const rates = [];
  let sameTokens;
  for (let round = 0; round < rounds; round++) {
    rates.push(readRate());
    const ours = await decode(model, prompt);
    seconds.read.push(ours.read);
    seconds.each.push(ours.each);
    if (!peer) continue;
    const theirs = await peer.decode(prompt);
    seconds.peerRead.push(theirs.read);
    seconds.peerEach.push(theirs.each);
    const apart = ours.ids.findIndex((id, i) => id !== theirs.ids[i]);
    sameTokens = apart < 0 ? newTokens : apart;
  }
  model.dispose();
  peer?.stop();
  const each = median(seconds.each);
  const rate = bytes / each / 1e9;
  return {
    weights,
    prompt_tokens_per_second: round(promptLength / median(seconds.read)),
    tokens_per_second: round(1 / each),
    gb_per_second: round(rate),
    memory_gb_per_second: round(median(rates)),
    of_memory: Number((rate / median(rates)).toFixed(2)),
    ...(peer && {
      llama_cpp: GGUF[weights],
      llama_cpp_prompt_tokens_per_second: round(promptLength / median(seconds.peerRead)),
      llama_cpp_tokens_per_second: round(1 / median(seconds.peerEach)),
      same_tokens: sameTokens,
    }),
  };
}

/** Seconds to read the prompt, and the median of those that a token takes. */
async function decode(model, prompt) {
  const decoder = new Decoder(model);
  const text = decoder.start(prompt, { maxNewTokens: newTokens, stopIds: [], temperature: 0 });
  const times = [];
  while (decoder.size > 0) {
    const started = now();
    await decoder.step();
    times.push(now() - started);
  }
  decoder.dispose();
  return { read: times[0], each: median(times.slice(1)), ids: text.ids };
}

async function startPeer(type) {
  const path = join(work, `${type}.gguf`);
  await writeGguf({ base: directory, tokenizer: directory }, { path, type });
  const args = [script('llama_cpp_peer.py'), path, String(newTokens), String(threads)];
  const child = spawn(options.python, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    decode: async (prompt) => {
      child.stdin.write(`${JSON.stringify(prompt)}\n`);
      return JSON.parse((await lines.next()).value);
    },
    stop: () => {
      child.stdin.end();
      rmSync(path);
    },
  };
}

function now() {
  if (threads > 1) return performance.now() / 1000;
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

function round(value) {
  return Number(value.toFixed(1));
}

function script(name) {
  return fileURLToPath(new URL(name, import.meta.url));
}

function execute(command, args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command}: ${error?.message ?? stderr}`);
  return stdout;
}
