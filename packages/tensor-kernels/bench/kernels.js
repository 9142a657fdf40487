#!/usr/bin/env node
/**
 * Achieved GFLOP/s of the kernels that bound a training step, against the measured multiply-add peak, and on `native`
 * stock tfjs-wasm on the same work in the same run: `pnpm bench:kernels [--backend webgpu] [--json]`.
 */
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
  options: { json: { type: 'boolean', default: false }, backend: { type: 'string', default: 'native' } },
});
await setBackend(options.backend);
const { device } = describeBackend();
const isNative = options.backend === 'native';
// A processor that imitates a GPU needs minutes for what a GPU does at once: small sizes show that all runs.
const isImitation = device.endsWith('not a GPU)');

const random = (shape) => tf.randomNormal(shape, 0, 1, 'float32', 1);
const attentionFlop = (B, T, H, D) => 2 * 2 * B * H * D * ((T * (T + 1)) / 2);

/** name, floating-point operations, function to time, whether wasm does it in reasonable time. */
function cases() {
  const products = (isImitation ? [256] : [512, 1024, 2048]).flatMap((n) =>
    [
      [false, false],
      [false, true],
      [true, false],
    ].map(([transposeA, transposeB]) => ({
      name: `matMul ${n}${transposeA ? 'ᵀ' : ''}·${n}${transposeB ? 'ᵀ' : ''}`,
      flop: 2 * n ** 3,
      inputs: () => [random([n, n]), random([n, n])],
      run: (a, b) => tf.matMul(a, b, transposeA, transposeB),
      slow: n > 1024,
    })),
  );
  const layers = (
    isImitation
      ? [[128, 192, 512]]
      : [
          [2048, 512, 1408],
          [2048, 768, 2048],
        ]
  ).map(([tokens, width, feedForward]) => ({
    name: `linear ${tokens}×${width}→${feedForward}`,
    flop: 2 * tokens * width * feedForward,
    inputs: () => [random([tokens, width]), random([feedForward, width])],
    run: (x, w) => tf.matMul(x, w, false, true),
  }));
  const heads = (
    isImitation
      ? [[1, 128, 2, 1, 64]]
      : [
          [4, 512, 8, 4, 64],
          [1, 2048, 8, 4, 64],
        ]
  ).flatMap(([B, T, H, G, D]) => {
    const inputs = () => [random([B, T, H, D]), random([B, T, G, D]), random([B, T, G, D])];
    const forward = attentionFlop(B, T, H, D);
    return [
      {
        name: `attention ${B}×${T}, ${H}/${G} heads of ${D}`,
        flop: forward,
        inputs,
        run: (...x) => attention(...x),
      },
      {
        name: `attention + gradient ${B}×${T}`,
        flop: 3.5 * forward,
        inputs,
        run: (...x) => tf.grads((...y) => tf.sum(attention(...y)))(x),
      },
    ];
  });
  const [tokens, width, words] = isImitation ? [128, 64, 512] : [2048, 512, 8192];
  const loss = {
    name: `linearCrossEntropy + gradient ${tokens}×${width}→${words}`,
    flop: 6 * tokens * width * words,
    inputs: () => [random([tokens, width]), random([words, width])],
    run: (x, w) => {
      const targets = tf.zeros([tokens], 'int32');
      return tf.grads((a, b) => linearCrossEntropy(a, b, targets))([x, w]);
    },
    slow: true,
  };
  return [...products, ...layers, ...heads, loss];
}

/** Median seconds of a few runs after one to warm up; a GPU is given several at once, so that waiting hides nothing. */
async function time({ inputs, run }, repeats) {
  const tensors = inputs();
  const seconds = [];
  let atOnce = 1;
  for (let i = 0; i <= repeats + 1; i++) {
    const started = performance.now();
    for (let j = 0; j < atOnce; j++) {
      const first = tf.tidy(() => [run(...tensors)].flat()[0].flatten().slice([0], [1]));
      // Work is done in order: the last one's first number comes after all else.
      if (j === atOnce - 1) await first.data();
      first.dispose();
    }
    const each = (performance.now() - started) / 1000 / atOnce;
    if (i > 1) seconds.push(each);
    else if (!isNative) atOnce = Math.max(1, Math.min(50, Math.round(0.1 / each)));
  }
  tf.dispose(tensors);
  return seconds.sort((a, b) => a - b)[Math.floor(repeats / 2)];
}

const rows = [];
for (const item of cases()) {
  const row = { name: item.name };
  for (const precision of isNative ? ['float32', 'bfloat16'] : ['float32']) {
    await setBackend(options.backend);
    setPrecision(precision);
    const peak = (await measurePeak(precision)) ?? 0;
    const rate = item.flop / (await time(item, 7)) / 1e9;
    const limit = Math.max(peak, (await measurePeak(precision)) ?? 0);
    row[`${precision}_gflops`] = rate < 10 ? Number(rate.toFixed(2)) : Math.round(rate);
    if (limit > 0) row[`${precision}_of_peak`] = Number((rate / limit).toFixed(2));
    setPrecision('float32');
  }
  if (isNative && !item.slow) {
    await setBackend('wasm');
    row.wasm_gflops = Number((item.flop / (await time(item, 1)) / 1e9).toFixed(1));
  }
  rows.push(row);
  if (options.json) console.log(JSON.stringify({ ...row, backend: options.backend, device }));
}
if (!options.json) {
  console.log(
    `${options.backend}: ${device}; fractions are of the multiply-add peak measured beside each row`,
  );
  console.table(rows);
}
