#!/usr/bin/env node
/**
 * Peak memory of loading a checkpoint, and of full fine-tuning against LoRA, each in a process of its own:
 * `node packages/llama-model/bench/memory.js [--preset 100m] [--rows 1] [--length 512] [--json]` after a build.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { adamW, describeBackend, setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs';
import { addLora, countParameters, createLlama, loadLlama, presets, saveLlama } from '../dist/index.js';
import { ADAM } from './adam.js';

const { values: options } = parseArgs({
  options: {
    preset: { type: 'string', default: '100m' },
    rows: { type: 'string', default: '1' },
    length: { type: 'string', default: '512' },
    json: { type: 'boolean', default: false },
    // What a child process does, and where its checkpoint is.
    task: { type: 'string' },
    directory: { type: 'string' },
  },
});

/** Three AdamW steps on random ids. */
function train(model, recompute) {
  const [rows, length] = [Number(options.rows), Number(options.length)];
  const trainable = [...model.trainable.values()];
  const moments = trainable.map(({ shape }) =>
    tf.tidy(() => [tf.variable(tf.zeros(shape)), tf.variable(tf.zeros(shape))]),
  );
  let seconds = 0;
  for (let step = 1; step <= 3; step++) {
    const start = performance.now();
    tf.tidy(() => {
      const { grads } = tf.variableGrads(() => {
        const ids = tf.randomUniform([rows, length], 0, model.config.vocab_size, 'int32', step);
        return model.loss(ids, ids, undefined, { recompute }).sum;
      }, trainable);
      trainable.forEach((parameter, i) => {
        const [firstMoment, secondMoment] = moments[i];
        adamW({ parameter, gradient: grads[parameter.name], firstMoment, secondMoment, ...ADAM, step });
      });
    });
    seconds = (performance.now() - start) / 1000;
  }
  return {
    trainable: trainable.reduce((sum, { size }) => sum + size, 0),
    lastStepSeconds: Number(seconds.toFixed(2)),
  };
}

const lora = (model, targetModules) => addLora(model, { rank: 16, seed: 0, targetModules });
const tasks = {
  'write bfloat16 shards': async () => {
    const model = createLlama(presets[options.preset], { seed: 0 });
    await saveLlama(options.directory, model, { dtype: 'bfloat16', maxShardBytes: 1e8 });
  },
  load: async () => void (await loadLlama(options.directory)),
  'full fine-tuning': async () => train(await loadLlama(options.directory), false),
  'full, recompute': async () => train(await loadLlama(options.directory), true),
  'LoRA r=16, all layers': async () => {
    const model = await loadLlama(options.directory);
    lora(model);
    return train(model, false);
  },
  'LoRA r=16, q and v': async () => {
    const model = await loadLlama(options.directory);
    lora(model, ['q_proj', 'v_proj']);
    return train(model, false);
  },
  'LoRA r=16, all, recompute': async () => {
    const model = await loadLlama(options.directory);
    lora(model);
    return train(model, true);
  },
};

if (options.task) {
  await setBackend('auto');
  const before = process.resourceUsage().maxRSS;
  const result = await tasks[options.task]();
  const megabytes = (kilobytes) => Math.round(kilobytes / 1024);
  console.log(
    JSON.stringify({
      task: options.task,
      backend: describeBackend().name,
      startRssMb: megabytes(before),
      peakRssMb: megabytes(process.resourceUsage().maxRSS),
      ...result,
    }),
  );
} else {
  const directory = mkdtempSync(join(tmpdir(), 'llama-model-memory-'));
  try {
    const weights = Math.round((countParameters(presets[options.preset]) * 4) / 2 ** 20);
    const header = {
      preset: options.preset,
      rows: options.rows,
      length: options.length,
      float32WeightsMb: weights,
    };
    if (options.json) console.log(JSON.stringify(header));
    else
      console.log(
        `${options.preset}: ${weights} MB of float32 weights, ${options.rows} × ${options.length} tokens`,
      );
    for (const task of Object.keys(tasks)) {
      const argv = [
        fileURLToPath(import.meta.url),
        ...process.argv.slice(2),
        '--task',
        task,
        '--directory',
        directory,
      ];
      const { stdout, stderr, status } = spawnSync(process.execPath, argv, { encoding: 'utf8' });
      if (status !== 0) throw new Error(`${task}: ${stderr}`);
      if (options.json) process.stdout.write(stdout);
      else console.table([JSON.parse(stdout)]);
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
}
