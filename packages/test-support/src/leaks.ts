import * as tf from '@tensorflow/tfjs';

/** Throws if repeated runs of `body`, after one to warm caches, leave more tensors or data buffers than before. */
export async function expectNoLeaks(body: () => unknown, { repeats = 3 } = {}): Promise<void> {
  await body();
  const before = tf.memory();
  for (let i = 0; i < repeats; i++) await body();
  const after = tf.memory();
  if (after.numTensors !== before.numTensors || after.numDataBuffers !== before.numDataBuffers) {
    throw new Error(
      `expectNoLeaks: ${repeats} runs left ${after.numTensors - before.numTensors} tensors and ` +
        `${after.numDataBuffers - before.numDataBuffers} data buffers`,
    );
  }
}
