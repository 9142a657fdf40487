/** TensorFlow.js kernels of the `webgpu` backend: each allocates outputs and records WGSL. */
import type * as tf from '@tensorflow/tfjs-core';
import { matMulOf, scalarOperand, sharing } from '../kernel-shapes.ts';
import type { Kernels } from '../kernel-signatures.ts';
import { registerKernels } from '../register-kernels.ts';
import {
  ATTENTION_WORKGROUP_BYTES,
  type AttentionSizes,
  attentionBackward,
  attentionForward,
  packSegments,
} from './attention.ts';
import { appendToCache } from './attention-decoding.ts';
import type { WebgpuBackend } from './backend-interface.ts';
import { layerKernels } from './layers.ts';
import { crossEntropy } from './loss.ts';
import { multiply } from './matmul.ts';
import { optimizerKernels } from './optimizer.ts';

function sizesOf(
  q: tf.TensorInfo,
  k: tf.TensorInfo,
  { window, scale }: { window: number; scale: number },
): AttentionSizes {
  const [B, T, H, D] = q.shape;
  return { B, T, S: k.shape[1], H, G: k.shape[2], D, window, scale };
}

const attentionKernels: Kernels<WebgpuBackend> = {
  Attention({ backend, inputs: { q, k, v, segmentIds, prefixIds }, attrs }) {
    const [B, T, H] = q.shape;
    const out = backend.makeTensorInfo(q.shape, 'float32');
    const logSumExp = backend.makeTensorInfo([B, H, T], 'float32');
    const segments = packSegments(backend, segmentIds, prefixIds);
    attentionForward(backend, sizesOf(q, k, attrs), { q, k, v, segments, out, logSumExp });
    if (segments) backend.disposeData(segments.dataId);
    return [out, logSumExp];
  },

  AttentionGrad({ backend, inputs: { dy, q, k, v, out, logSumExp, segmentIds, prefixIds }, attrs }) {
    const [dq, dk, dv] = [q, k, v].map(({ shape }) => backend.makeTensorInfo(shape, 'float32'));
    const segments = packSegments(backend, segmentIds, prefixIds);
    const tensors = { q, k, v, segments, dy, out, logSumExp, dq, dk, dv };
    attentionBackward(backend, sizesOf(q, k, attrs), tensors);
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
      attentionForward(backend, sizes, { q, k: keys, v: values, out }, b * T * H * D);
    }
    return out;
  },
};

const lossKernels: Kernels<WebgpuBackend> = {
  LinearCrossEntropy: ({ backend, inputs, attrs }) => crossEntropy(backend, { ...inputs, ...attrs }),
  ScoreTokens: ({ backend, inputs }) => crossEntropy(backend, { ...inputs, gradients: 'none', greedy: true }),
};

/** Common cases of TensorFlow.js's own kernels; undefined leaves the call to the stock kernel. */
const overrides: Kernels<WebgpuBackend, tf.TensorInfo | undefined> = {
  BatchMatMul({ backend, inputs: { a, b }, attrs }) {
    const product = matMulOf(a, b, attrs);
    if (!product || product.sizes.M * product.sizes.N * product.sizes.K === 0) return undefined;
    const c = backend.makeTensorInfo(product.shape, 'float32');
    multiply(backend, { ...product.sizes, a, b, c });
    return c;
  },

  // The tape multiplies the gradient of a loss by 1.
  Multiply({ backend, inputs: { a, b } }) {
    const [scalar, other] = scalarOperand(a, b) ?? [];
    if (!other || scalar?.dtype !== other.dtype || backend.hostValues(scalar)?.[0] !== 1) return undefined;
    return sharing(backend, other);
  },
};

/** Registers the kernels of the `webgpu` backend; without those of attention if the device has too little workgroup memory. */
export function registerWebgpuKernels(limits: GPUSupportedLimits): void {
  const fitting = limits.maxComputeWorkgroupStorageSize >= ATTENTION_WORKGROUP_BYTES ? attentionKernels : {};
  const kernels = { ...layerKernels, ...lossKernels, ...optimizerKernels, ...fitting };
  registerKernels('webgpu', kernels, overrides);
}
