#!/usr/bin/env node
/**
 * All that is to be known of a GPU in one command, `pnpm bench:gpu`: matrix products and attention at the shapes of the
 * presets 100m and 1.1b against the multiply-add peak, then whole training steps, in float32 and, where the GPU has
 * it, float16; with `--torch` PyTorch's steps on the same card.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
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

interface Case {
  name: string;
  /** Whether the precision changes it: attention is float32 in all. */
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

/** Causal, of one row: half of the square; with gradient, as is usual, 3.5 times forward. */
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

/** Products of a layer and attention, at the shapes of a preset. */
function casesOf(preset: '100m' | '1.1b' | 'tiny', tokens: number): Case[] {
  const {
    hidden_size: C,
    intermediate_size: F,
    num_attention_heads: H,
    num_key_value_heads: G,
  } = presets[preset];
  const heads = [tokens, H, G, C / H] as const;
  return [
    product(`${preset}: up`, tokens, C, F),
    product(`${preset}: down`, tokens, F, C),
    attentionOf(...heads, false),
    attentionOf(...heads, true),
  ];
}

/** Median seconds of five runs, several at once where one is too short to be timed alone. */
async function time({ shapes, run }: Case): Promise<number> {
  const inputs = shapes.map((shape, i) => tf.randomUniform(shape, -1, 1, 'float32', i + 1));
  const seconds: number[] = [];
  let atOnce = 1;
  for (let i = 0; i < 7; i++) {
    const started = performance.now();
    for (let j = 0; j < atOnce; j++) {
      const first = tf.tidy(() =>
        run(...inputs)
          .flatten()
          .slice([0], [1]),
      );
      // Work is done in order: the last one's first number comes after all else.
      if (j === atOnce - 1) await first.data();
      first.dispose();
    }
    const each = (performance.now() - started) / 1000 / atOnce;
    // The first run compiles, the second tells how many make a tenth of a second.
    if (i === 1) atOnce = Math.max(1, Math.min(100, Math.round(0.1 / each)));
    if (i > 1) seconds.push(each);
  }
  tf.dispose(inputs);
  return seconds.sort((a, b) => a - b)[2];
}

/** A program's last line, which is a JSON object; or why there is none. */
async function lastLine(command: string, args: string[]): Promise<object> {
  try {
    const { stdout } = await promisify(execFile)(command, args, { maxBuffer: 1 << 26 });
    return JSON.parse(stdout.trim().split('\n').at(-1)!);
  } catch (error) {
    const { stderr = '', message } = error as Error & { stderr?: string };
    return { failed: stderr.trim().split('\n').at(-1) || message };
  }
}

const program = new Command('bench-gpu')
  .description('Times products, attention and training steps on a GPU; prints a JSON object a line.')
  .option('--torch', "PyTorch's steps too, by `python3` or the one that MEAP_PYTHON names", false)
  .option('--profile', "with each kernel's share of a training step", false);

const action = async () => {
  const { torch, profile } = program.opts<{ torch: boolean; profile: boolean }>();
  const print = (row: object) => console.log(JSON.stringify(row));
  const { device } = await setBackend('webgpu');
  // A processor that imitates a GPU needs minutes for what a GPU does at once: small sizes show that all runs.
  const isImitation = device.endsWith('not a GPU)');
  const precisions = (['float32', 'float16'] as const).filter((precision) => {
    try {
      setPrecision(precision);
      return true;
    } catch {
      return false;
    }
  });
  const cases = isImitation
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
  const steps: Step[] = isImitation
    ? [{ preset: 'tiny', seq: 16, batch: 1 }]
    : [
        { preset: '100m', seq: 1024, batch: 8 },
        { preset: '1.1b', seq: 2048, batch: 4, recompute: true },
      ];
  for (const { preset, seq, batch, recompute } of steps) {
    const work = ['--preset', preset, '--seq', String(seq), '--batch', String(batch)];
    for (const precision of precisions) {
      const own = ['--backend', 'webgpu', '--precision', precision, '--json'];
      const flags = [...(recompute ? ['--recompute'] : []), ...(isImitation ? ['--steps', '1'] : [])];
      const script = fileURLToPath(new URL('train.js', import.meta.url));
      print(
        await lastLine(process.execPath, [
          script,
          ...work,
          ...own,
          ...flags,
          ...(profile ? ['--profile'] : []),
        ]),
      );
    }
    if (!torch) continue;
    for (const precision of ['float32', 'bfloat16'] satisfies Precision[]) {
      const script = fileURLToPath(new URL('../../bench/torch_llama_bench.py', import.meta.url));
      const args = [script, ...work, '--precision', precision, '--device', isImitation ? 'cpu' : 'cuda'];
      print(await lastLine(process.env.MEAP_PYTHON ?? 'python3', args));
    }
  }
  return 0;
};
process.exitCode = await runCommand(program, process.argv.slice(2), { io: process, isUserError, action });
