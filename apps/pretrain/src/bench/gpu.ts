#!/usr/bin/env node
/**
 * Benchmarks a GPU (`pnpm bench:gpu`): matrix products and attention at the shapes of the presets 100m and 1.1b, relative
 * to the measured multiply-add peak, then training steps, in float32 and float16 where supported; with `--torch` also
 * PyTorch's steps.
 */
import { presets } from '@meap/llama-model';
import { runCommand } from '@meap/recipe-cli';
import {
  attention,
  describeBackend,
  measurePeak,
  type Precision,
  setBackend,
  setPrecision,
} from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';
import { Command } from 'commander';
import { isUserError } from '../errors.ts';
import { OURS, PYTORCH, runBenchmark } from './run-benchmark.ts';

interface Case {
  name: string;
  /** Whether it depends on the precision; attention always computes in float32. */
  isProduct: boolean;
  flop: number;
  shapes: number[][];
  run: (...inputs: tf.Tensor[]) => tf.Tensor;
}

type Step = { preset: string; seq: number; batch: number; recompute?: boolean };

function product(name: string, M: number, K: number, N: number): Case {
  const shapes = [
    [M, K],
    [N, K],
  ];
  return {
    name: `${name} ${M}×${K} · ${K}×${N}`,
    isProduct: true,
    flop: 2 * M * K * N,
    shapes,
    run: (a, b) => tf.matMul(a, b, false, true),
  };
}

/** Causal attention over one row; the gradient counts as 2.5 times the forward FLOP. */
function attentionOf(T: number, H: number, G: number, D: number, withGradient: boolean): Case {
  const shapes = [H, G, G].map((heads) => [1, T, heads, D]);
  const forward = (...x: tf.Tensor[]) => attention(...(x as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D]));
  return {
    name: `attention${withGradient ? ' + gradient' : ''} of ${T}, ${H}/${G} heads of ${D}`,
    isProduct: false,
    flop: (withGradient ? 3.5 : 1) * 2 * H * D * T * (T + 1),
    shapes,
    run: withGradient ? (...x) => tf.grads((...y) => tf.sum(forward(...y)))(x)[0] : forward,
  };
}

/** Returns the matrix products and attention of a preset. */
function casesOf(preset: '100m' | '1.1b' | 'tiny', tokens: number): Case[] {
  const { hidden_size: C, intermediate_size: F, ...config } = presets[preset];
  const { num_attention_heads: H, num_key_value_heads: G } = config;
  const shape = [tokens, H, G, C / H] as const;
  return [
    product(`${preset}: up`, tokens, C, F),
    product(`${preset}: down`, tokens, F, C),
    attentionOf(...shape, false),
    attentionOf(...shape, true),
  ];
}

/** Returns the median seconds of five measurements, each of several runs if a run is short. */
async function time({ shapes, run }: Case): Promise<number> {
  const inputs = shapes.map((shape, i) => tf.randomUniform(shape, -1, 1, 'float32', i + 1));
  const seconds: number[] = [];
  let numRuns = 1;
  for (let i = 0; i < 7; i++) {
    const started = performance.now();
    for (let j = 0; j < numRuns; j++) {
      const first = tf.tidy(() => tf.slice(tf.reshape(run(...inputs), [-1]), [0], [1]));
      // The GPU executes in order, so reading the last result waits for all runs.
      if (j === numRuns - 1) await first.data();
      first.dispose();
    }
    const perRun = (performance.now() - started) / 1000 / numRuns;
    // The first run compiles; the second sets the number of runs that take 0.1 s.
    if (i === 1) numRuns = Math.max(1, Math.min(100, Math.round(0.1 / perRun)));
    if (i > 1) seconds.push(perRun);
  }
  tf.dispose(inputs);
  return seconds.sort((a, b) => a - b)[2];
}

function describeFailure({ stderr = '', message }: Error & { stderr?: string }): object {
  return { failed: stderr.trim().split('\n').at(-1) || message };
}

const program = new Command('bench-gpu')
  .description('Time matrix products, attention and training steps on a GPU; print one JSON object per line.')
  .option('--torch', 'also time PyTorch, with MEAP_PYTHON or python3', false)
  .option('--profile', "print each kernel's share of a training step", false);

const action = async () => {
  const { torch, profile } = program.opts<{ torch: boolean; profile: boolean }>();
  const print = (row: object) => console.log(JSON.stringify(row));
  const { device } = await setBackend('webgpu');
  // A software rasterizer gets small sizes, which only show that everything runs.
  const isSoftware = device.endsWith('not a GPU)');
  const precisions = (['float32', 'float16'] as const).filter((precision) => {
    try {
      setPrecision(precision);
      return true;
    } catch {
      return false;
    }
  });
  const cases = isSoftware
    ? casesOf('tiny', 32)
    : [product('square', 4096, 4096, 4096), ...casesOf('100m', 4096), ...casesOf('1.1b', 4096)];
  for (const precision of precisions) {
    setPrecision(precision);
    for (const item of cases.filter(({ isProduct }) => isProduct || precision === 'float32')) {
      const peak = (await measurePeak(precision)) ?? 0;
      const gflops = item.flop / (await time(item)) / 1e9;
      print({
        name: item.name,
        precision,
        gflops: Number(gflops.toPrecision(4)),
        peak_float32_gflops: Math.round(peak),
        of_peak: Number((gflops / peak).toFixed(3)),
        device: describeBackend().device,
      });
    }
  }
  const steps: Step[] = isSoftware
    ? [{ preset: 'tiny', seq: 16, batch: 1 }]
    : [
        { preset: '100m', seq: 1024, batch: 8 },
        { preset: '1.1b', seq: 2048, batch: 4, recompute: true },
      ];
  for (const { preset, seq, batch, recompute } of steps) {
    const work = ['--preset', preset, '--seq', String(seq), '--batch', String(batch)];
    for (const precision of precisions) {
      const args = [...work, '--backend', 'webgpu', '--precision', precision, '--json'];
      if (recompute) args.push('--recompute');
      if (isSoftware) args.push('--steps', '1');
      if (profile) args.push('--profile');
      print(await runBenchmark<object>(OURS, args).catch(describeFailure));
    }
    if (!torch) continue;
    for (const precision of ['float32', 'bfloat16'] satisfies Precision[]) {
      const args = [...work, '--precision', precision, '--device', isSoftware ? 'cpu' : 'cuda'];
      print(await runBenchmark<object>(PYTORCH, args).catch(describeFailure));
    }
  }
  return 0;
};
process.exitCode = await runCommand(program, process.argv.slice(2), { io: process, isUserError, action });
