#!/usr/bin/env node
/**
 * Memory and time of one training step on one long row, each length in a process of its own:
 * `node packages/llama-model/bench/long-rows.js [--preset tiny] [--lengths 8192,16384,32768,65536] [--window N] [--json]`
 * after a build. With a window of attention the step takes the same memory and a fraction of the time.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { adamW, describeBackend, setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import { createLlama, flopsPerToken, presets } from '../dist/index.js';
import { ADAM } from './adam.js';

const { values: options } = parseArgs({
  options: {
    preset: { type: 'string', default: 'tiny' },
    lengths: { type: 'string', default: '8192,16384,32768,65536' },
    window: { type: 'string' },
    json: { type: 'boolean', default: false },
    // What a child process measures.
    length: { type: 'string' },
  },
});

function step(length) {
  const window = options.window && { model_type: 'mistral', sliding_window: Number(options.window) };
  const config = { ...presets[options.preset], max_position_embeddings: length, ...window };
  const model = createLlama(config, { seed: 0 });
  const parameters = [...model.parameters.values()];
  const ids = tf.randomUniform([1, length], 0, config.vocab_size, 'int32', 1);
  const began = performance.now();
  tf.tidy(() => {
    const { grads } = tf.variableGrads(
      () => model.loss(ids, ids, undefined, { recompute: true }).sum,
      parameters,
    );
    for (const parameter of parameters) {
      const [firstMoment, secondMoment] = [0, 1].map(() => tf.variable(tf.zeros(parameter.shape)));
      adamW({ parameter, gradient: grads[parameter.name], firstMoment, secondMoment, ...ADAM, step: 1 });
    }
  });
  const seconds = (performance.now() - began) / 1000;
  return {
    length,
    backend: describeBackend().name,
    peakRssMb: Math.round(process.resourceUsage().maxRSS / 1024),
    seconds: Number(seconds.toFixed(1)),
    msPerToken: Number(((seconds * 1000) / length).toFixed(3)),
    gflops: Number(((flopsPerToken(config, length) * length) / seconds / 1e9).toFixed(1)),
  };
}

if (options.length) {
  await setBackend('auto');
  console.log(JSON.stringify(step(Number(options.length))));
} else {
  const rows = [];
  for (const length of options.lengths.split(',')) {
    const window = options.window ? ['--window', options.window] : [];
    const argv = [fileURLToPath(import.meta.url), '--preset', options.preset, '--length', length, ...window];
    const { stdout, stderr, status } = spawnSync(process.execPath, argv, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`length ${length}: ${stderr}`);
    rows.push(JSON.parse(stdout));
    if (options.json) process.stdout.write(stdout);
  }
  if (!options.json) console.table(rows);
}
