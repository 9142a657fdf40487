#!/usr/bin/env node
/**
 * GFLOP/s of the kernels that dominate a training step, beside the measured multiply-add peak, and on `native` of other
 * programs in the same run: products in tfjs-wasm; everything in PyTorch and products in ONNX Runtime, if a Python
 * (`MEAP_PYTHON`, else `python3`) has them:
 * `pnpm bench:kernels [--backend webgpu] [--only attention] [--json]`.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs';
import {
  attention,
  describeBackend,
  linearCrossEntropy,
  measurePeak,
  setBackend,
  setPrecision,
} from '../dist/index.js';

const { values: options } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    backend: { type: 'string', default: 'native' },
    only: { type: 'string', default: '' },
  },
});
await setBackend(options.backend);
const { device } = describeBackend();
const isNative = options.backend === 'native';
// A software rasterizer would take minutes, so it gets small sizes.
const isSoftware = device.endsWith('not a GPU)');

const random = (shape) => tf.randomUniform(shape, -1, 1, 'float32', 1);
function product(name, M, N, K, transposeA, transposeB) {
  return {
    name: `${name} ${M}×${K}${transposeA ? 'ᵀ' : ''} · ${K}×${N}${transposeB ? 'ᵀ' : ''}`,
    flop: 2 * M * N * K,
    inputs: () => [random(transposeA ? [K, M] : [M, K]), random(transposeB ? [N, K] : [K, N])],
    run: (a, b) => tf.matMul(a, b, transposeA, transposeB),
    peer: { op: 'product', shape: [M, N, K, transposeA, transposeB] },
  };
}

function attentionAlone(B, T, H, G, D) {
  return {
    name: `attention ${B}×${T}, ${H}/${G} heads of ${D}`,
    // Causal: half of the square.
    flop: 2 * 2 * B * H * D * ((T * (T + 1)) / 2),
    inputs: () => [random([B, T, H, D]), random([B, T, G, D]), random([B, T, G, D])],
    run: (...x) => attention(...x),
    peer: { op: 'attention', shape: [B, T, H, G, D, false] },
  };
}

function attentionWithGradient(...shape) {
  const forward = attentionAlone(...shape);
  return {
    name: forward.name.replace('attention', 'attention + gradient'),
    flop: 3.5 * forward.flop,
    inputs: forward.inputs,
    run: (...x) => tf.grads((...y) => tf.sum(attention(...y)))(x),
    peer: { op: 'attention', shape: [...shape, true] },
  };
}

function loss(tokens, width, words) {
  return {
    name: `linearCrossEntropy + gradient ${tokens}×${width}→${words}`,
    flop: 6 * tokens * width * words,
    inputs: () => [random([tokens, width]), random([words, width])],
    run: (x, w) => {
      const targets = tf.zeros([tokens], 'int32');
      return tf.grads((a, b) => linearCrossEntropy(a, b, targets))([x, w]);
    },
    peer: { op: 'crossEntropy', shape: [tokens, width, words] },
  };
}

/** The cases: name, floating-point operations, inputs, function, and the arguments of PyTorch. */
function cases() {
  const sizes = isSoftware ? [256] : [512, 1024, 2048, 4096];
  const transposes = [false, true].flatMap((a) => [false, true].map((b) => [a, b]));
  // Tokens, hidden and feed-forward size of the presets tiny, small and 100m.
  const layers = [
    [2048, 256, 704],
    [2048, 512, 1408],
    [1024, 768, 2048],
  ];
  const heads = [
    [4, 512, 8, 4, 32],
    [4, 512, 8, 4, 64],
    [1, 1024, 8, 4, 64],
    [1, 4096, 8, 4, 64],
    [1, 16384, 8, 4, 64],
  ];
  return [
    ...sizes.flatMap((n) => transposes.map((transposed) => product('matMul', n, n, n, ...transposed))),
    ...(isSoftware ? [[128, 192, 512]] : layers).flatMap(([tokens, width, inner]) => [
      product('linear', tokens, inner, width, false, true),
      product('linear, gradient of x', tokens, width, inner, false, false),
      product('linear, gradient of weight', inner, width, tokens, true, false),
    ]),
    ...(isSoftware ? [[1, 128, 2, 1, 64]] : heads).flatMap((shape) => [
      attentionAlone(...shape),
      attentionWithGradient(...shape),
    ]),
    isSoftware ? loss(128, 64, 512) : loss(2048, 512, 8192),
  ].filter(({ name }) => name.includes(options.only));
}

/** Starts PyTorch and ONNX Runtime in another process; undefined if no Python has either. */
async function startPeers(numThreads) {
  const script = fileURLToPath(new URL('peers.py', import.meta.url));
  const child = spawn(process.env.MEAP_PYTHON ?? 'python3', [script, String(numThreads)], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  child.on('error', () => undefined);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const versions = await lines.next();
  if (versions.done) return undefined;
  return {
    versions: JSON.parse(versions.value),
    async time(work) {
      child.stdin.write(`${JSON.stringify(work)}\n`);
      return JSON.parse((await lines.next()).value);
    },
    stop: () => child.stdin.end(),
  };
}

/** Median seconds of a run after a warm-up; queues several runs on a GPU, so that waiting does not count. */
async function time({ inputs, run }) {
  const tensors = inputs();
  const seconds = [];
  let atOnce = 1;
  let [runs, total] = [0, 0];
  while (seconds.length < 3 || (total < 0.5 && seconds.length < 50)) {
    const started = performance.now();
    for (let j = 0; j < atOnce; j++) {
      const first = tf.tidy(() => [run(...tensors)].flat()[0].flatten().slice([0], [1]));
      // Work runs in order: the first number of the last run comes after everything else.
      if (j === atOnce - 1) await first.data();
      first.dispose();
    }
    const each = (performance.now() - started) / 1000 / atOnce;
    runs += 1;
    if (runs === 1) continue;
    if (runs === 2 && !isNative) {
      atOnce = Math.max(1, Math.min(50, Math.round(0.1 / each)));
      continue;
    }
    total += each * atOnce;
    seconds.push(each);
  }
  tf.dispose(tensors);
  return seconds.sort((a, b) => a - b)[Math.floor(seconds.length / 2)];
}

const peers = isNative ? await startPeers(Number(/(\d+) thread/.exec(device)[1])) : undefined;
const rows = [];
for (const item of cases()) {
  const row = { name: item.name };
  const rounded = (seconds) => {
    const rate = item.flop / seconds / 1e9;
    return rate < 10 ? Number(rate.toFixed(2)) : Math.round(rate);
  };
  for (const precision of isNative ? ['float32', 'bfloat16'] : ['float32']) {
    await setBackend(options.backend);
    setPrecision(precision);
    const peak = (await measurePeak(precision)) ?? 0;
    const seconds = await time(item);
    const limit = Math.max(peak, (await measurePeak(precision)) ?? 0);
    row[`${precision}_gflops`] = rounded(seconds);
    if (limit > 0) row[`${precision}_of_peak`] = Number((item.flop / seconds / 1e9 / limit).toFixed(2));
    setPrecision('float32');
  }
  // Larger products take ten seconds there.
  if (isNative && item.peer.op === 'product' && item.flop < 2e10) {
    await setBackend('wasm');
    row['tfjs-wasm'] = rounded(await time(item));
    await setBackend(options.backend);
  }
  for (const [name, seconds] of Object.entries((await peers?.time(item.peer)) ?? {})) {
    if (seconds) row[name] = rounded(seconds);
  }
  rows.push(row);
  if (options.json) console.log(JSON.stringify({ ...row, backend: options.backend, device }));
}
peers?.stop();
if (!options.json) {
  for (const [name, version] of Object.entries(peers?.versions ?? {}))
    console.log(`${name} ${version}, float32`);
  console.log(
    `${options.backend}: ${device}; fractions are relative to the multiply-add peak measured for each row`,
  );
  console.table(rows);
}
