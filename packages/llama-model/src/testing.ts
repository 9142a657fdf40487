/** Helpers of the tests of this package; not part of the build. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type BackendName, setBackend } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';
import type { ForwardOptions } from './input-checks.ts';
import type { Llama } from './model.ts';

/** Returns the backends that can run here; warns about the others. */
async function available(names: BackendName[]): Promise<BackendName[]> {
  const found: BackendName[] = [];
  for (const name of names) {
    await setBackend(name).then(
      () => found.push(name),
      (error: Error) => console.warn(`not tested on ${name}: ${error.message}`),
    );
  }
  return found;
}

/** Backends that the same tests run on; `cpu` composes its kernels as `wasm` does, many times slower: see `model.test.ts`. */
export const backends = await available(['native', 'wasm']);

/** Backends of accelerators, for slow tests: no synchronous reads, and minutes on a software rasterizer. */
export const devices = () => available(['webgpu', 'xla', 'tensorflow']);

/** A random LLaMA with grouped queries, and the results of transformers and PyTorch. */
export const fixture = fileURLToPath(new URL('../fixtures/tiny-llama', import.meta.url));

export const expected: {
  ids: number[][];
  logits: number[][][];
  greedy: number[];
  batches: number[][][];
  losses: number[];
  gradientNorms: number[];
} = JSON.parse(readFileSync(`${fixture}/expected.json`, 'utf8'));

/** A tiny random model of an architecture, and the results of transformers; loss and gradients from Qwen3 on. */
export function architecture(name: string): {
  directory: string;
  expected: {
    ids: number[][];
    logits: number[][][];
    greedy: number[];
    loss: number;
    gradientNorms: Record<string, number>;
  };
} {
  const directory = fileURLToPath(new URL(`../fixtures/architectures/${name}`, import.meta.url));
  return { directory, expected: JSON.parse(readFileSync(`${directory}/expected.json`, 'utf8')) };
}

/**
 * A LoRA adapter that PEFT wrote for such a model, and PEFT's results; a `token-adapter` has trained embeddings too, a
 * `tables-adapter`, of rsLoRA, the whole embedding table and head. A `dora-adapter` has losses of AdamW steps too.
 */
export function adapter(
  base: string,
  kind: 'adapter' | 'token-adapter' | 'tables-adapter' | 'dora-adapter' = 'adapter',
): {
  directory: string;
  expected: { logits: number[][][]; loss: number; gradients: Record<string, number[]>; losses: number[] };
} {
  const directory = fileURLToPath(new URL(`../fixtures/architectures/${base}-${kind}`, import.meta.url));
  return { directory, expected: JSON.parse(readFileSync(`${directory}/expected.json`, 'utf8')) };
}

/** Rows of token ids as a tensor. */
export function tokens(rows: number[][]): tf.Tensor2D {
  return tf.tensor2d(rows, [rows.length, rows[0].length], 'int32');
}

/** Logits of rows of ids, all in one list. */
export function logits(model: Llama, ids: number[][]): Float32Array {
  return tf.tidy(() => model.logits(tokens(ids)).dataSync() as Float32Array).slice();
}

/** Loss sum and gradients of the trained parameters for next-token prediction. */
export function gradients(
  model: Llama,
  ids: number[][],
  options: ForwardOptions,
): { loss: number; byName: Map<string, Float32Array> } {
  const byName = new Map<string, Float32Array>();
  let loss = 0;
  tf.tidy(() => {
    const { value, grads } = tf.variableGrads(() => {
      const inputs = tokens(ids.map((row) => row.slice(0, -1)));
      return model.loss(inputs, tokens(ids.map((row) => row.slice(1))), undefined, options).sum;
    }, [...model.trainable.values()]);
    loss = value.dataSync()[0];
    for (const [name, parameter] of model.trainable) {
      byName.set(name, (grads[parameter.name].dataSync() as Float32Array).slice());
    }
  });
  return { loss, byName };
}

/** Largest absolute difference. */
export function distance(actual: ArrayLike<number>, wanted: ArrayLike<number>): number {
  if (actual.length !== wanted.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  for (let i = 0; i < wanted.length; i++) {
    const difference = Math.abs(actual[i] - wanted[i]);
    if (!(difference <= worst)) worst = difference;
  }
  return worst;
}

/** Collects what an async generator yields. */
export async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of source) items.push(item);
  return items;
}
