#!/usr/bin/env node
/**
 * Achieved GFLOP/s of the kernels that bound a training step, against the measured multiply-add peak, and stock
 * tfjs-wasm on the same work in the same run: `pnpm bench:kernels [--json]`.
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

const { values: options } = parseArgs({ options: { json: { type: 'boolean', default: false } } });

const random = (shape) => tf.randomNormal(shape, 0, 1, 'float32', 1);
const attentionFlop = (B, T, H, D) => 2 * 2 * B * H * D * ((T * (T + 1)) / 2);

/** name, floating-point operations, function to time, whether wasm does it in reasonable time. */
function cases() {
  const products = [512, 1024, 2048].flatMap((n) =>
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
  const layers = [
    [2048, 512, 1408],
    [2048, 768, 2048],
  ].map(([tokens, width, feedForward]) => ({
    name: `linear ${tokens}×${width}→${feedForward}`,
    flop: 2 * tokens * width * feedForward,
    inputs: () => [random([tokens, width]), random([feedForward, width])],
    run: (x, w) => tf.matMul(x, w, false, true),
  }));
  const heads = [
    [4, 512, 8, 4, 64],
    [1, 2048, 8, 4, 64],
  ].flatMap(([B, T, H, G, D]) => {
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
  const loss = {
    name: 'linearCrossEntropy + gradient 2048×512→8192',
    flop: 6 * 2048 * 512 * 8192,
    inputs: () => [random([2048, 512]), random([8192, 512])],
    run: (x, w) => {
      const targets = tf.zeros([2048], 'int32');
      return tf.grads((a, b) => linearCrossEntropy(a, b, targets))([x, w]);
    },
    slow: true,
  };
  return [...products, ...layers, ...heads, loss];
}

/** Median seconds of a few runs after one to warm up. */
async function time({ inputs, run }, repeats) {
  const tensors = inputs();
  const seconds = [];
  for (let i = 0; i <= repeats; i++) {
    const started = performance.now();
    const out = tf.tidy(() => run(...tensors));
    await [out].flat()[0].data();
    if (i > 0) seconds.push((performance.now() - started) / 1000);
    tf.dispose(out);
  }
  tf.dispose(tensors);
  return seconds.sort((a, b) => a - b)[Math.floor(repeats / 2)];
}

const rows = [];
for (const item of cases()) {
  const row = { name: item.name };
  for (const precision of ['float32', 'bfloat16']) {
    await setBackend('native');
    setPrecision(precision);
    const peak = measurePeak(precision);
    const rate = item.flop / (await time(item, 7)) / 1e9;
    row[`${precision}_gflops`] = Math.round(rate);
    row[`${precision}_of_peak`] = Number((rate / Math.max(peak, measurePeak(precision))).toFixed(2));
    setPrecision('float32');
  }
  if (!item.slow) {
    await setBackend('wasm');
    row.wasm_gflops = Number((item.flop / (await time(item, 1)) / 1e9).toFixed(1));
  }
  rows.push(row);
  if (options.json) console.log(JSON.stringify({ ...row, device: describeBackend().device }));
}
if (!options.json) {
  await setBackend('native');
  console.log(
    `native: ${describeBackend().device}; fractions are of the multiply-add peak measured beside each row`,
  );
  console.table(rows);
}
