/**
 * Head and cross-entropy over chunks of tokens: the logits of a chunk give its losses and are replaced by their own
 * gradient, from which two matrix products compute the gradients of hidden states and head.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from './backend-interface.ts';
import { type Kernel, runRows } from './dispatch.ts';
import { nanFrom, requireIds } from './layers.ts';
import { multiply } from './matmul.ts';
import { type RowGroup, rowGroup, rowKernel, sumOf } from './rows.ts';

/** Factor on gradients of logits in float16 products: they lie between -1 and 1, most below the least float16 number. */
const FLOAT16_SCALE = 4096;

/** Arguments of {@link crossEntropy}. */
export interface CrossEntropy {
  x: tf.TensorInfo;
  weight: tf.TensorInfo;
  targets: tf.TensorInfo;
  mask?: tf.TensorInfo;
  gradients: 'none' | 'x' | 'both';
  /** Above 0: returns the squares of log Σ exp of the logits too, and minimises them with this factor; 0 by default. */
  zLoss?: number;
  /** Whether to return the most probable token of each row too. */
  greedy?: boolean;
  /** Logits held at once; 64 MiB by default. */
  chunkNumbers?: number;
}

/** Losses `[N]`, then those requested of: squares of log Σ exp `[N]`, gradient of x, gradient of the head, greedy ids. */
export function crossEntropy(backend: WebgpuBackend, call: CrossEntropy): tf.TensorInfo[] {
  const { x, weight, targets, mask, gradients, zLoss = 0, greedy = false, chunkNumbers = 1 << 24 } = call;
  const [N, C] = x.shape;
  const V = weight.shape[0];
  requireIds(backend, 'linearCrossEntropy', targets, V);
  const losses = backend.makeTensorInfo([N], 'float32');
  const squares = zLoss > 0 ? backend.makeTensorInfo([N], 'float32') : undefined;
  const dx = gradients === 'none' ? undefined : backend.makeTensorInfo(x.shape, 'float32');
  const dWeight = gradients === 'both' ? backend.makeTensorInfo(weight.shape, 'float32') : undefined;
  const greedyIds = greedy ? backend.makeTensorInfo([N], 'int32') : undefined;
  const chunk = Math.min(N, chunkRows(V, chunkNumbers));
  const logits = backend.makeTensorInfo([chunk, V], 'float32');
  const larger = backend.precision === 'float16' ? FLOAT16_SCALE : 1;
  const kernel = softmaxKernel({
    group: rowGroup(backend.gpu, V),
    masked: mask !== undefined,
    gradient: dx !== undefined,
    penalized: squares !== undefined,
    greedy,
  });
  const scale = 1 / larger;
  for (let first = 0; first < N; first += chunk) {
    const rows = Math.min(chunk, N - first);
    const offset = first * C;
    const plain = { transposeA: false, transposeB: false };
    const head = { ...plain, transposeB: true, a: x, b: weight, c: logits, aOffset: offset };
    multiply(backend, { ...head, M: rows, N: V, K: C });
    const tensors = { targets, mask, logits, losses, squares, greedyIds };
    runRows(backend, kernel, rows, tensors, { V, first, larger, zLoss });
    if (dx) {
      const toX = { ...plain, a: logits, b: weight, c: dx, cOffset: offset, scale };
      multiply(backend, { ...toX, M: rows, N: C, K: V });
    }
    if (dWeight) {
      const toWeight = { ...plain, transposeA: true, a: logits, b: x, c: dWeight, bOffset: offset, scale };
      multiply(backend, { ...toWeight, M: V, N: C, K: rows, accumulate: first > 0 });
    }
  }
  backend.disposeData(logits.dataId);
  return [losses, squares, dx, dWeight, greedyIds].filter((tensor) => tensor !== undefined);
}

/** Tokens of a chunk, a multiple of the tiles of a product. */
function chunkRows(V: number, numbers: number): number {
  return Math.max(128, Math.floor(numbers / V / 128) * 128);
}

interface Variant {
  group: RowGroup;
  masked: boolean;
  gradient: boolean;
  /** Whether there is a z-loss. */
  penalized: boolean;
  greedy: boolean;
}

function softmaxKernel({ group, masked, gradient, penalized, greedy }: Variant): Kernel {
  return rowKernel(group, `CrossEntropy_${[masked, gradient, penalized, greedy].map(Number).join('')}`, {
    reads: { targets: 'i32', ...(masked && { mask: 'f32' }) },
    writes: {
      logits: 'f32',
      losses: 'f32',
      ...(penalized && { squares: 'f32' }),
      ...(greedy && { greedyIds: 'i32' }),
    },
    uniforms: { V: 'u32', first: 'u32', larger: 'f32', zLoss: 'f32' },
    functions: `
// The largest logit and, in y, its first index.
${group.combine('largestOf', 'vec2<f32>', 'select(select(a, b, b.y < a.y), select(a, b, b.x > a.x), a.x != b.x)')}
${sumOf(group)}`,
    body: `  let base = row * uniforms.V;
  var largest = vec2<f32>(-3.4e38, 0.0);
  for (var v = thread; v < uniforms.V; v += ${group.threads}u) {
    let x = logits[base + v];
    if (x > largest.x) { largest = vec2<f32>(x, f32(v)); }
  }
  largest = largestOf(largest, thread);
  var sum = 0.0;
  for (var v = thread; v < uniforms.V; v += ${group.threads}u) { sum += exp(logits[base + v] - largest.x); }
  sum = sumOf(sum, thread);
  let token = uniforms.first + row;
  let factor = ${masked ? 'mask[token]' : '1.0'};
  let targetId = u32(targets[token]);
  let logSumExp = log(sum) + largest.x;
  if (thread == 0u) {
    var loss = ${nanFrom('row')};
    if (targetId < uniforms.V) { loss = factor * (logSumExp - logits[base + targetId]); }
    losses[token] = loss;
    ${penalized ? 'squares[token] = factor * logSumExp * logSumExp;' : ''}
    ${greedy ? 'greedyIds[token] = i32(largest.y);' : ''}
  }
  ${
    gradient
      ? `storageBarrier();
  for (var v = thread; v < uniforms.V; v += ${group.threads}u) {
    let probability = exp(logits[base + v] - largest.x) / sum${penalized ? ' * (1.0 + 2.0 * uniforms.zLoss * logSumExp)' : ''};
    logits[base + v] = uniforms.larger * factor * (probability - select(0.0, 1.0, v == targetId));
  }`
      : ''
  }`,
  });
}
