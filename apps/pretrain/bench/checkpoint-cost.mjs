/**
 * Measures the cost of a checkpoint: node apps/pretrain/bench/checkpoint-cost.mjs [tiny|small|100m] [ROUNDS]
 *
 * Trains a preset of bench:train on random tokens and saves every ten steps, first in the background, then blocking.
 * The cost of a checkpoint is the time of ten steps with one minus ten median steps: the median over rounds, relative to
 * the default of 100 steps between checkpoints. It is measured in wall-clock time and in CPU time, which other programs
 * disturb less.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLlama, parseConfig, presets, saveLlama } from '@meap/llama-model';
import { setBackend } from '@meap/tensor-kernels';
import { adamWOptimizer, train, warmupConstant } from '@meap/trainer';
import * as tf from '@tensorflow/tfjs';

const EVERY = 10;
const DEFAULT_EVERY = 100;
const [preset = 'tiny', rounds = '4'] = process.argv.slice(2);
if (!(Number(rounds) >= 3))
  throw new Error(`rounds: got ${rounds}, expected at least 3, since the first ones are warm-up`);
const [seq, batch] = [512, preset === '100m' ? 2 : 4];
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

const { name, device } = await setBackend('auto');
const model = createLlama(parseConfig({ ...presets[preset], max_position_embeddings: seq }), { seed: 0 });
const vocabulary = model.config.vocab_size;
const ids = Int32Array.from({ length: batch * (seq + 1) }, (_, i) => (i * 7919) % vocabulary);
const directory = mkdtempSync(join(tmpdir(), 'meap-checkpoint-cost-'));

/** Trains; returns the end of each step in wall-clock and CPU time, in ms. */
async function timesOf(background) {
  const ends = [];
  const steps = Number(rounds) * EVERY + 3;
  await train({
    directory: join(directory, String(background)),
    parameters: model.parameters,
    batches: () => ids,
    loss: (ids) => {
      const inputs = tf.tensor2d(ids.slice(0, batch * seq), [batch, seq], 'int32');
      const targets = tf.tensor2d(ids.slice(batch), [batch, seq], 'int32');
      return model.loss(inputs, targets);
    },
    optimizer: adamWOptimizer(),
    schedule: warmupConstant({ peak: 1e-5, warmupSteps: 0 }),
    steps,
    clipNorm: 1,
    checkpoint: {
      every: EVERY,
      background,
      keepLast: 1,
      saveModel: (path, writer) => saveLlama(path, model, { dtype: 'float32', ...writer }),
      loadModel: () => {},
    },
    onEvent: (event) => {
      const { user, system } = process.cpuUsage();
      if (event.type === 'step') ends.push({ clock: performance.now(), cpu: (user + system) / 1000 });
      if (event.type === 'warning') throw new Error(event.message);
    },
  });
  return ends;
}

/** Returns the median step and the time that a checkpoint adds to ten of them. */
function costOf(ends) {
  const lengths = ends.map((end, i) => end - (ends[i - 1] ?? end));
  // Excludes the first steps, which fill pools, and those next to a save.
  const step = median(lengths.filter((_, i) => i > 2 && i % EVERY > EVERY / 2));
  const costs = [];
  for (let at = EVERY - 1; at + EVERY < ends.length; at += EVERY) {
    costs.push(ends[at + EVERY] - ends[at] - EVERY * step);
  }
  // The first checkpoint maps the memory of the copy.
  return { step, cost: median(costs.slice(1)) };
}

const percent = ({ step, cost }) => `${((100 * cost) / (DEFAULT_EVERY * step)).toFixed(2)} %`;

try {
  for (const background of [true, false]) {
    const ends = await timesOf(background);
    const [clock, cpu] = ['clock', 'cpu'].map((key) => costOf(ends.map((end) => end[key])));
    const result = {
      preset,
      backend: `${name} (${device})`,
      saving: background ? 'background' : 'blocking',
      checkpoint_mb: Math.round(
        (12 * [...model.parameters.values()].reduce((sum, { size }) => sum + size, 0)) / 1e6,
      ),
      step_ms: Math.round(clock.step),
      checkpoint_ms: Math.round(clock.cost),
      share_of_100_steps: percent(clock),
      share_of_cpu_time: percent(cpu),
    };
    console.log(JSON.stringify(result));
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}
