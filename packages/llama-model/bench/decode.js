#!/usr/bin/env node
/**
 * Tokens a second of reading a prompt and of generating at batch 1, the share of the memory's bandwidth that generating
 * reaches, and llama.cpp on the same weights in the same run, where a Python with it is found (`MEAP_PYTHON`, else
 * `python3`; `pip install llama-cpp-python gguf safetensors`):
 * `node packages/llama-model/bench/decode.js [--preset 100m] [--prompt 512] [--tokens 128] [--json]` after a build.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { describeBackend, globalNorm, setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import { createLlama, Decoder, loadLlama, presets, saveLlama } from '../dist/index.js';

const { values: options } = parseArgs({
  options: {
    preset: { type: 'string', default: '100m' },
    prompt: { type: 'string', default: '512' },
    tokens: { type: 'string', default: '128' },
    json: { type: 'boolean', default: false },
  },
});
const [promptLength, newTokens] = [Number(options.prompt), Number(options.tokens)];
const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];

/** Bytes a second of reading memory that no cache holds, in GB: the norm of 800 MB. */
async function measureBandwidth() {
  const values = tf.ones([2e8]);
  const seconds = [];
  for (let i = 0; i < 7; i++) {
    const started = performance.now();
    await globalNorm([values]);
    seconds.push((performance.now() - started) / 1000);
  }
  values.dispose();
  return (2e8 * 4) / median(seconds) / 1e9;
}

/** Seconds to read the prompt, and a median of those that a token takes, of three texts. */
async function decode(model, prompt) {
  const decoder = new Decoder(model, { promptTokensPerStep: promptLength });
  const [read, each] = [[], []];
  let text;
  for (let i = 0; i < 3; i++) {
    text = decoder.start(prompt, { maxNewTokens: newTokens, stopIds: [], temperature: 0 });
    for (let times = read; decoder.size > 0; times = each) {
      const started = performance.now();
      await decoder.step();
      times.push((performance.now() - started) / 1000);
    }
  }
  decoder.dispose();
  return { read: median(read), each: median(each), ids: text.ids };
}

function llamaCpp(directory, dtype, prompt, numThreads) {
  const script = fileURLToPath(new URL('llama_cpp_peer.py', import.meta.url));
  const child = spawnSync(
    process.env.MEAP_PYTHON ?? 'python3',
    [script, directory, dtype, String(newTokens), String(numThreads)],
    { input: JSON.stringify(prompt), encoding: 'utf8', stdio: ['pipe', 'pipe', 'ignore'] },
  );
  return child.status === 0 ? JSON.parse(child.stdout) : undefined;
}

await setBackend('auto');
const { device } = describeBackend();
const config = presets[options.preset];
const prompt = Array.from({ length: promptLength }, (_, i) => (i * 7919) % config.vocab_size);
const rows = [];
for (const dtype of ['float32', 'bfloat16']) {
  const directory = mkdtempSync(join(tmpdir(), 'meap-decode-'));
  try {
    const created = createLlama(config, { seed: 0 });
    await saveLlama(directory, created, { dtype });
    created.dispose();
    const model = await loadLlama(directory, { weights: dtype });
    // A token reads every weight once but of the embedding, whose row it looks up.
    const weights = [...model.parameters.entries()].filter(([name]) => !name.includes('embed_tokens'));
    const bytes = weights.reduce((sum, [, { size }]) => sum + size, 0) * (dtype === 'bfloat16' ? 2 : 4);
    const bandwidth = await measureBandwidth();
    const { read, each, ids } = await decode(model, prompt);
    model.dispose();
    const row = {
      preset: options.preset,
      weights: dtype,
      prompt_tokens_per_second: Math.round(promptLength / read),
      tokens_per_second: Number((1 / each).toFixed(1)),
      gb_per_second: Number((bytes / each / 1e9).toFixed(1)),
      of_bandwidth: Number((bytes / each / 1e9 / Math.max(bandwidth, await measureBandwidth())).toFixed(2)),
    };
    const peer = llamaCpp(directory, dtype, prompt, Number(/(\d+) thread/.exec(device)?.[1] ?? 1));
    if (peer) {
      row.llama_cpp_prompt_tokens_per_second = Math.round(promptLength / peer.read);
      row.llama_cpp_tokens_per_second = Number((1 / peer.each).toFixed(1));
      const apart = ids.findIndex((id, i) => id !== peer.ids[i]);
      row.same_tokens = apart < 0 ? ids.length : apart;
    }
    rows.push(row);
    if (options.json) console.log(JSON.stringify({ ...row, device }));
  } finally {
    rmSync(directory, { recursive: true });
  }
}
if (!options.json) {
  console.log(device);
  console.table(rows);
}
