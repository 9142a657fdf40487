/**
 * Seconds of a LoRA step on a frozen base in int8 or nf4, beside PEFT with bitsandbytes on the CPU on the same model and rows,
 * in turns:
 *
 *     MEAP_NUM_THREADS=1 node apps/finetune/bench/quantized-step.mjs MODEL [--weights int8,nf4] [--length 128] [--steps 3]
 *       [--python PYTHON]
 *
 * PYTHON has peft and bitsandbytes. Rank 16, all linear layers, AdamW, float32 activations. With one thread times are
 * processor time, which other programs change little.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { addLora, loadLlama } from '@meap/llama-model';
import { adamW, describeBackend, setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    weights: { type: 'string', default: 'int8,nf4' },
    length: { type: 'string', default: '128' },
    steps: { type: 'string', default: '3' },
    python: { type: 'string' },
  },
});
const [directory] = positionals;
const [length, steps] = [Number(options.length), Number(options.steps)];
await setBackend('native');
const { device } = describeBackend();
const threads = Number(/(\d+) thread/.exec(device)[1]);
console.log(device);
for (const quantize of options.weights.split(',')) {
  const peer = options.python && startPeer(quantize);
  const model = await loadLlama(directory, { weights: 'bfloat16', quantize });
  const train = trainer(model);
  const [ours, theirs] = [[], []];
  // The first step allocates.
  for (let step = 0; step <= steps; step++) {
    ours.push(await train(step + 1));
    if (peer) theirs.push(await peer.step());
  }
  model.dispose();
  peer?.stop();
  const row = (name, values) => {
    const last = values.slice(1);
    const seconds = last.map((x) => x.seconds).sort((a, b) => a - b)[Math.floor(last.length / 2)];
    const losses = values.map((x) => x.loss.toFixed(4)).join(' ');
    console.log(
      `${quantize} ${name}: ${seconds.toFixed(2)} s a step, ${(length / seconds).toFixed(1)} tokens/s; losses ${losses}`,
    );
  };
  row('meap', ours);
  if (peer) row('peft', theirs);
}

/** Returns a function that makes a step on the same ids as the peer's. */
function trainer(model) {
  addLora(model, { rank: 16, seed: 0 });
  const trainable = [...model.trainable.values()];
  const zeros = ({ shape }) => tf.tidy(() => tf.variable(tf.zeros(shape)));
  const moments = trainable.map((parameter) => [zeros(parameter), zeros(parameter)]);
  const row = Array.from({ length: length + 1 }, (_, i) => (i * 7919) % model.config.vocab_size);
  return async (step) => {
    const started = now();
    const loss = tf.tidy(() => {
      const { value, grads } = tf.variableGrads(() => {
        const [inputs, targets] = [row.slice(0, -1), row.slice(1)].map((ids) =>
          tf.tensor2d(ids, [1, length], 'int32'),
        );
        return tf.div(model.loss(inputs, targets).sum, length);
      }, trainable);
      trainable.forEach((parameter, i) => {
        const [firstMoment, secondMoment] = moments[i];
        const rates = {
          learningRate: 1e-3,
          beta1: 0.9,
          beta2: 0.999,
          epsilon: 1e-8,
          weightDecay: 0,
          gradientScale: 1,
        };
        adamW({ parameter, gradient: grads[parameter.name], firstMoment, secondMoment, ...rates, step });
      });
      return value;
    });
    const [value] = await loss.data();
    loss.dispose();
    return { seconds: now() - started, loss: value };
  };
}

function startPeer(quantize) {
  const script = fileURLToPath(new URL('peft_peer.py', import.meta.url));
  const child = spawn(options.python, [script, directory, quantize, String(length), String(threads)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    step: async () => {
      child.stdin.write('\n');
      return JSON.parse((await lines.next()).value);
    },
    stop: () => child.stdin.end(),
  };
}

function now() {
  if (threads > 1) return performance.now() / 1000;
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
