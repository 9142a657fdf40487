/** AdamW in place and sums of squares: one sweep over each parameter. */
import * as tf from '@tensorflow/tfjs';
import type { WebgpuBackend } from './backend.ts';
import { ELEMENTWISE_MAIN, type Kernel, run, workgroupsFor } from './dispatch.ts';
import { type RowGroup, rowGroup, rowMain } from './rows.ts';

const ADAM_W: Kernel = {
  key: 'AdamW',
  reads: { gradient: 'f32' },
  writes: { parameter: 'f32', firstMoment: 'f32', secondMoment: 'f32' },
  uniforms: {
    count: 'u32',
    decay: 'f32',
    stepSize: 'f32',
    inverseRoot: 'f32',
    beta1: 'f32',
    beta2: 'f32',
    rest1: 'f32',
    rest2: 'f32',
    epsilon: 'f32',
    gradientScale: 'f32',
  },
  code: `${ELEMENTWISE_MAIN}
  let g = gradient[i] * uniforms.gradientScale;
  let m = firstMoment[i] * uniforms.beta1 + g * uniforms.rest1;
  let v = secondMoment[i] * uniforms.beta2 + g * g * uniforms.rest2;
  firstMoment[i] = m;
  secondMoment[i] = v;
  parameter[i] = parameter[i] * uniforms.decay - uniforms.stepSize * m / (sqrt(v) * uniforms.inverseRoot + uniforms.epsilon);
}`,
};

/** Tensors of {@link adamW}; all but the gradient change. */
export type AdamWTensors = Record<'parameter' | 'gradient' | 'firstMoment' | 'secondMoment', tf.TensorInfo>;

/** Attributes of the kernel, as `AdamWOptions` names them. */
export type AdamWAttributes = Record<
  'learningRate' | 'beta1' | 'beta2' | 'epsilon' | 'weightDecay' | 'step' | 'gradientScale',
  number
>;

export function adamW(backend: WebgpuBackend, tensors: AdamWTensors, attributes: AdamWAttributes): void {
  const { gradient, ...written } = tensors;
  const { learningRate, beta1, beta2, epsilon, weightDecay, step, gradientScale } = attributes;
  const count = tf.util.sizeFromShape(gradient.shape);
  run(backend, ADAM_W, {
    reads: { gradient },
    writes: written,
    // Differences from 1 are taken in float64: 1 − 0.999 loses digits in float32.
    uniforms: {
      count,
      decay: 1 - learningRate * weightDecay,
      stepSize: learningRate / (1 - beta1 ** step),
      inverseRoot: 1 / Math.sqrt(1 - beta2 ** step),
      beta1,
      beta2,
      rest1: 1 - beta1,
      rest2: 1 - beta2,
      epsilon,
      gradientScale,
    },
    workgroups: workgroupsFor(count),
  });
}

/** Numbers that one workgroup sums, at least. */
const SHARE = 1 << 14;

/** Workgroups for one tensor, at most. */
const MAX_PARTS = 1024;

const squaresKernel = (group: RowGroup): Kernel => ({
  key: `SumOfSquares_${group.key}`,
  extensions: group.extensions,
  reads: { x: 'f32' },
  writes: { parts: 'f32' },
  uniforms: { rows: 'u32', count: 'u32', share: 'u32' },
  code: `${group.combine('sumOf', 'f32', 'a + b')}
${rowMain(group)}
  var sum = 0.0;
  let end = min((row + 1u) * uniforms.share, uniforms.count);
  for (var i = row * uniforms.share + thread; i < end; i += ${group.threads}u) { sum += x[i] * x[i]; }
  sum = sumOf(sum, thread);
  if (thread == 0u) { parts[row] = sum; }
}`,
});

const sumPartsKernel = (group: RowGroup): Kernel => ({
  key: `SumOfParts_${group.key}`,
  extensions: group.extensions,
  reads: { parts: 'f32' },
  writes: { sums: 'f32' },
  uniforms: { rows: 'u32', count: 'u32', index: 'u32' },
  code: `${group.combine('sumOf', 'f32', 'a + b')}
${rowMain(group)}
  var sum = 0.0;
  for (var i = thread; i < uniforms.count; i += ${group.threads}u) { sum += parts[i]; }
  sum = sumOf(sum, thread);
  if (thread == 0u) { sums[uniforms.index] = sum; }
}`,
});

/** Sum of squares of each tensor, [tensors, 1], all on the device. */
export function sumsOfSquares(backend: WebgpuBackend, tensors: tf.TensorInfo[]): tf.TensorInfo {
  const sums = backend.makeTensorInfo([tensors.length, 1], 'float32');
  const parts = backend.makeTensorInfo([MAX_PARTS], 'float32');
  const group = rowGroup(backend.gpu, SHARE);
  for (const [index, x] of tensors.entries()) {
    const count = tf.util.sizeFromShape(x.shape);
    const share = Math.max(SHARE, Math.ceil(count / MAX_PARTS));
    const rows = Math.ceil(count / share);
    run(backend, squaresKernel(group), {
      reads: { x },
      writes: { parts },
      uniforms: { rows, count, share },
      workgroups: [rows],
    });
    run(backend, sumPartsKernel(group), {
      reads: { parts },
      writes: { sums },
      uniforms: { rows: 1, count: rows, index },
      workgroups: [1],
    });
  }
  backend.disposeData(parts.dataId);
  return sums;
}
