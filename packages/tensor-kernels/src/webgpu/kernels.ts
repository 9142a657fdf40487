/** TensorFlow.js kernels of the `webgpu` backend: each allocates outputs and records WGSL. */
import * as tf from '@tensorflow/tfjs-core';
import { registerKernels } from '../register-kernels.ts';
import {
  ATTENTION_WORKGROUP_BYTES,
  type AttentionSizes,
  appendToCache,
  attentionBackward,
  attentionForward,
  packSegments,
} from './attention.ts';
import type { WebgpuBackend } from './backend-interface.ts';
import * as layers from './layers.ts';
import { crossEntropy } from './loss.ts';
import { multiply } from './matmul.ts';
import {
  type AdamWAttributes,
  type AdamWTensors,
  adamW,
  type GradientScaleAttributes,
  gradientScale,
  sumsOfSquares,
} from './optimizer.ts';

interface Call {
  backend: WebgpuBackend;
  inputs: Record<string, tf.TensorInfo>;
  // biome-ignore lint/suspicious/noExplicitAny: TensorFlow.js types attributes loosely
  attrs: Record<string, any>;
}

const { sizeFromShape, arraysEqual } = tf.util;

function sizesOf(q: tf.TensorInfo, k: tf.TensorInfo, { window, scale }: Call['attrs']): AttentionSizes {
  const [B, T, H, D] = q.shape;
  return { B, T, S: k.shape[1], H, G: k.shape[2], D, window, scale };
}

const attentionKernels: Record<string, (call: Call) => tf.TensorInfo | tf.TensorInfo[]> = {
  Attention({ backend, inputs: { q, k, v, segmentIds, prefixIds }, attrs }) {
    const [B, T, H] = q.shape;
    const out = backend.makeTensorInfo(q.shape, 'float32');
    const logSumExp = backend.makeTensorInfo([B, H, T], 'float32');
    const segments = packSegments(backend, segmentIds, prefixIds);
    attentionForward(backend, sizesOf(q, k, attrs), { q, k, v, segments }, out, logSumExp);
    if (segments) backend.disposeData(segments.dataId);
    return [out, logSumExp];
  },

  AttentionGrad({ backend, inputs: { dy, q, k, v, out, logSumExp, segmentIds, prefixIds }, attrs }) {
    const [dq, dk, dv] = [q, k, v].map(({ shape }) => backend.makeTensorInfo(shape, 'float32'));
    const segments = packSegments(backend, segmentIds, prefixIds);
    const sizes = sizesOf(q, k, attrs);
    attentionBackward(backend, sizes, { q, k, v, segments }, { dy, out, logSumExp }, { dq, dk, dv });
    if (segments) backend.disposeData(segments.dataId);
    return [dq, dk, dv];
  },

  CachedAttention({ backend, inputs: { q, k, v, ...caches }, attrs: { lengths, window, scale } }) {
    const [B, T, H, D] = q.shape;
    const G = k.shape[2];
    const out = backend.makeTensorInfo(q.shape, 'float32');
    for (let b = 0; b < B; b++) {
      const [keys, values] = [caches[`keys${b}`], caches[`values${b}`]];
      const at = { b, length: lengths[b], count: T * G * D };
      appendToCache(backend, k, keys, at);
      appendToCache(backend, v, values, at);
      const sizes = { B: 1, T, S: lengths[b] + T, H, G, D, window, scale };
      attentionForward(backend, sizes, { q, k: keys, v: values }, out, undefined, b * T * H * D);
    }
    return out;
  },
};

const kernels: Record<string, (call: Call) => tf.TensorInfo | tf.TensorInfo[]> = {
  RmsNorm: ({ backend, inputs: { x, weight }, attrs }) => layers.rmsNorm(backend, x, weight, attrs.epsilon),
  RmsNormGrad: ({ backend, inputs: { dy, x, weight }, attrs }) =>
    layers.rmsNormGrad(backend, dy, x, weight, attrs.epsilon),
  RotaryEmbedding: ({ backend, inputs: { x, cos, sin }, attrs }) =>
    layers.rotaryEmbedding(backend, x, cos, sin, attrs.inverse),
  SwiGlu: ({ backend, inputs: { gate, up } }) => layers.swiGlu(backend, gate, up),
  SwiGluGrad: ({ backend, inputs: { dy, gate, up } }) => layers.swiGluGrad(backend, dy, gate, up),
  Embedding: ({ backend, inputs: { ids, table } }) => layers.embedding(backend, ids, table),
  EmbeddingGrad: ({ backend, inputs: { dy, ids }, attrs }) =>
    layers.embeddingGrad(backend, dy, ids, attrs.numRows),
  LinearCrossEntropy: ({ backend, inputs: { x, weight, targets, mask }, attrs: { gradients } }) =>
    crossEntropy(backend, { x, weight, targets, mask, gradients }),
  ScoreTokens: ({ backend, inputs: { x, weight, targets } }) =>
    crossEntropy(backend, { x, weight, targets, gradients: 'none', greedy: true }),
  AdamW({ backend, inputs, attrs }) {
    adamW(backend, inputs as AdamWTensors, attrs as AdamWAttributes);
    return [];
  },
  GradientScale: ({ backend, inputs: { values, previous }, attrs }) =>
    gradientScale(backend, values, previous, attrs as GradientScaleAttributes),
  SumsOfSquares: ({ backend, inputs }) => sumsOfSquares(backend, Object.values(inputs)),
};

/** TensorFlow.js's own kernels where ours takes the common case; undefined hands back to the stock one. */
const overrides: Record<string, (call: Call) => tf.TensorInfo | undefined> = {
  BatchMatMul({ backend, inputs: { a, b }, attrs: { transposeA, transposeB } }) {
    if (a.dtype !== 'float32' || b.dtype !== 'float32') return undefined;
    const [rowsA, columnsA] = a.shape.slice(-2);
    const [rowsB, columnsB] = b.shape.slice(-2);
    const [M, K] = transposeA ? [columnsA, rowsA] : [rowsA, columnsA];
    const [innerB, N] = transposeB ? [columnsB, rowsB] : [rowsB, columnsB];
    if (K !== innerB || M * N * K === 0) return undefined;
    const batchA = a.shape.slice(0, -2);
    const batchB = b.shape.slice(0, -2);
    const [sharedA, sharedB] = [sizeFromShape(batchA) === 1, sizeFromShape(batchB) === 1];
    if (!sharedA && !sharedB && !arraysEqual(batchA, batchB)) return undefined;
    const batchShape = tf.broadcast_util.assertAndGetBroadcastShape(batchA, batchB);
    const c = backend.makeTensorInfo([...batchShape, M, N], 'float32');
    const batch = sizeFromShape(batchShape);
    multiply(backend, { M, N, K, transposeA, transposeB, a, b, c, batch, sharedA, sharedB });
    return c;
  },

  // The gradient of a loss is scaled by the one that ends the tape: 1.
  Multiply({ backend, inputs: { a, b } }) {
    const [scalar, other] = sizeFromShape(a.shape) === 1 ? [a, b] : [b, a];
    if (sizeFromShape(scalar.shape) !== 1 || scalar.shape.length > other.shape.length) return undefined;
    if (scalar.dtype !== other.dtype || backend.hostValues(scalar)?.[0] !== 1) return undefined;
    backend.incRef(other.dataId);
    return { dataId: other.dataId, shape: other.shape, dtype: other.dtype };
  },
};

/** Adds this package's kernels to the `webgpu` backend; those that a device has no room for are left out. */
export function registerWebgpuKernels(limits: GPUSupportedLimits): void {
  const fitting = limits.maxComputeWorkgroupStorageSize >= ATTENTION_WORKGROUP_BYTES ? attentionKernels : {};
  registerKernels('webgpu', { ...kernels, ...fitting }, overrides);
}
