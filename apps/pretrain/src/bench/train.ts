#!/usr/bin/env node
/**
 * Times one LLaMA training step (forward, backward, clip, AdamW) on random tokens: `pnpm bench:train`.
 * Its JSON has the keys of `bench/torch_llama_bench.py`.
 */
import { createLlama, flopsPerToken, parseConfig, presets } from '@meap/llama-model';
import { runCommand } from '@meap/recipe-cli';
import {
  type BackendName,
  backendNames,
  describeBackend,
  globalNorm,
  measurePeak,
  type Precision,
  precisionNames,
  setBackend,
  setPrecision,
} from '@meap/tensor-kernels';
import { adamWOptimizer } from '@meap/trainer';
import * as tf from '@tensorflow/tfjs-core';
import { Command, Option } from 'commander';
import { isUserError } from '../errors.ts';
import { wholeNumber } from '../whole-number.ts';
import { type KernelTime, profileKernels } from './kernel-profile.ts';
import { comparePeers } from './peers.ts';

interface BenchOptions {
  preset: 'tiny' | 'small' | '100m' | '1.1b';
  seq: number;
  batch: number;
  steps: number;
  precision: Precision;
  backend: BackendName;
  recompute: boolean;
  profile: boolean;
  peers: boolean;
  json: boolean;
}

async function benchmark(options: BenchOptions): Promise<Record<string, unknown>> {
  const { preset, seq, batch, steps, precision, recompute } = options;
  await setBackend(options.backend);
  setPrecision(precision);
  const profile = options.profile ? profileKernels() : undefined;
  const peakBefore = await measurePeak(precision);
  const config = parseConfig({ ...presets[preset], max_position_embeddings: seq });
  const model = createLlama(config, { seed: 0 });
  const parameters = model.parameters;
  const variables = [...parameters.values()];
  const names = new Map([...parameters].map(([name, variable]) => [variable.name, name]));
  const optimizer = adamWOptimizer();
  const state = optimizer.init(parameters);
  const ids = Int32Array.from({ length: batch * (seq + 1) }, (_, i) =>
    Math.floor((((i + 1) * 0.6180339887498949) % 1) * config.vocab_size),
  );
  const inputs = tf.tensor2d(ids.slice(0, batch * seq), [batch, seq], 'int32');
  const targets = tf.tensor2d(ids.slice(batch), [batch, seq], 'int32');

  const times: number[] = [];
  const cpuTimes: number[] = [];
  let loss = 0;
  // The first two steps are warm-up.
  for (let step = 0; step < steps + 2; step++) {
    if (step === 2) await profile?.take();
    const started = performance.now();
    const cpuStarted = process.cpuUsage();
    const { value, grads } = tf.variableGrads(
      () => model.loss(inputs, targets, undefined, { recompute }).sum,
      variables,
    );
    const gradients = new Map(Object.entries(grads).map(([name, gradient]) => [names.get(name)!, gradient]));
    const norm = (await globalNorm(Object.values(grads))) / targets.size;
    const gradientScale = Math.min(1, 1 / norm) / targets.size;
    optimizer.update(state, { parameters, gradients, learningRate: 4e-4, gradientScale });
    // Waits for the update too, which a GPU runs asynchronously.
    const last = tf.tidy(() => variables.at(-1)!.flatten().slice([0], [1]));
    await last.data();
    last.dispose();
    loss = (await value.data())[0] / targets.size;
    tf.dispose([value, ...Object.values(grads)]);
    if (step < 2) continue;
    times.push((performance.now() - started) / 1000);
    const { user, system } = process.cpuUsage(cpuStarted);
    cpuTimes.push((user + system) / 1e6);
  }
  const kernels = await profile?.take();
  const total = times.reduce((sum, seconds) => sum + seconds, 0);
  times.sort((a, b) => a - b);
  cpuTimes.sort((a, b) => a - b);
  const seconds = times[Math.floor(times.length / 2)];
  const flopPerToken = flopsPerToken(config, seq);
  const gflops = (flopPerToken * batch * seq) / seconds / 1e9;
  const { name, device } = describeBackend();
  // The better of two measurements, since clock rates drift.
  const peak = Math.max(peakBefore ?? 0, (await measurePeak(precision)) ?? 0);
  return {
    peer: 'meap',
    backend: name,
    device,
    preset,
    precision,
    recompute,
    batch,
    seq,
    loss: Number(loss.toFixed(4)),
    step_ms: Number((seconds * 1000).toFixed(1)),
    // Less sensitive to other programs than wall-clock time.
    cpu_ms: Number((cpuTimes[Math.floor(cpuTimes.length / 2)] * 1000).toFixed(1)),
    tokens_per_second: Number(((batch * seq) / seconds).toFixed(1)),
    flop_per_token: flopPerToken,
    gflops: Number(gflops.toFixed(1)),
    peak_gflops: peak > 0 ? Number(peak.toFixed(1)) : null,
    utilisation: peak > 0 ? Number((gflops / peak).toFixed(3)) : null,
    peak_rss_mb: Math.round(process.resourceUsage().maxRSS / 1024),
    ...(kernels && { kernels: shares(kernels, total) }),
  };
}

/** Returns each kernel's share of the timed steps, and the share of JavaScript between kernels. */
function shares(kernels: KernelTime[], seconds: number): Record<string, string> {
  const percent = (milliseconds: number) => `${(milliseconds / seconds / 10).toFixed(1)} %`;
  const inKernels = kernels.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  return {
    ...Object.fromEntries(kernels.map(({ kernel, milliseconds }) => [kernel, percent(milliseconds)])),
    'between kernels': percent(seconds * 1000 - inKernels),
  };
}

const program = new Command('bench-train')
  .description('Time one LLaMA training step on random tokens.')
  .addOption(new Option('--preset <name>').choices(['tiny', 'small', '100m', '1.1b']).default('tiny'))
  .addOption(new Option('--seq <tokens>', 'tokens per row').default(512).argParser(wholeNumber(1)))
  .addOption(new Option('--batch <rows>', 'rows per step').default(4).argParser(wholeNumber(1)))
  .addOption(
    new Option('--steps <count>', 'steps to take the median of').default(5).argParser(wholeNumber(1)),
  )
  .addOption(new Option('--precision <name>').choices(precisionNames).default('float32'))
  .addOption(new Option('--backend <name>').choices(backendNames).default('auto'))
  .option('--recompute', 'recompute activations per block', false)
  .option('--profile', "print each kernel's share of a step; slows a GPU down", false)
  .option('--peers', 'also time PyTorch and tfjs-wasm, on a CPU', false)
  .option('--json', 'print one JSON object', false);
const action = async () => {
  const options = program.opts<BenchOptions>();
  if (options.peers) {
    const rows = await comparePeers(options);
    if (options.json) console.log(JSON.stringify(rows));
    else console.table(rows);
    return 0;
  }
  const result = await benchmark(options);
  if (options.json) console.log(JSON.stringify(result));
  else {
    for (const [key, value] of Object.entries(result)) {
      if (key !== 'kernels') console.log(`${key.padEnd(18)} ${value}`);
    }
    if (result.kernels) console.table(result.kernels);
  }
  return 0;
};
process.exitCode = await runCommand(program, process.argv.slice(2), { io: process, isUserError, action });
