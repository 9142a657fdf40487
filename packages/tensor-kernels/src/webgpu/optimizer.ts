/** AdamW in place, sums of squares, and the scale of an update: one pass over each parameter. */
import * as tf from '@tensorflow/tfjs-core';
import type { Kernels } from '../kernel-signatures.ts';
import type { WebgpuBackend } from './backend-interface.ts';
import { elementwise, runElements, runRows } from './dispatch.ts';
import { type RowGroup, rowGroup, rowKernel } from './rows.ts';

const { sizeFromShape } = tf.util;

const adamWKernel = (isScaledOnDevice: boolean) =>
  elementwise(
    isScaledOnDevice ? 'AdamWScaled' : 'AdamW',
    { gradient: 'f32', ...(isScaledOnDevice && { scale: 'f32' }) },
    { parameter: 'f32', firstMoment: 'f32', secondMoment: 'f32' },
    {
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
    `  ${isScaledOnDevice ? 'if (scale[0] == 0.0) { return; }' : ''}
  let g = gradient[i] * ${isScaledOnDevice ? 'scale[0]' : 'uniforms.gradientScale'};
  let m = firstMoment[i] * uniforms.beta1 + g * uniforms.rest1;
  let v = secondMoment[i] * uniforms.beta2 + g * g * uniforms.rest2;
  firstMoment[i] = m;
  secondMoment[i] = v;
  parameter[i] = parameter[i] * uniforms.decay - uniforms.stepSize * m / (sqrt(v) * uniforms.inverseRoot + uniforms.epsilon);`,
  );

/** Least number of elements that a workgroup sums. */
const MIN_SHARE = 1 << 14;

/** Largest number of workgroups for a tensor. */
const MAX_PARTS = 1024;

const squaresKernel = (group: RowGroup) =>
  rowKernel(group, 'SumOfSquares', {
    reads: { x: 'f32' },
    writes: { parts: 'f32' },
    uniforms: { count: 'u32', share: 'u32' },
    body: `  var sum = 0.0;
  let end = min((row + 1u) * uniforms.share, uniforms.count);
  for (var i = row * uniforms.share + thread; i < end; i += ${group.threads}u) { sum += x[i] * x[i]; }
  sum = sumOf(sum, thread);
  if (thread == 0u) { parts[row] = sum; }`,
  });

const sumPartsKernel = (group: RowGroup) =>
  rowKernel(group, 'SumOfParts', {
    reads: { parts: 'f32' },
    writes: { sums: 'f32' },
    uniforms: { count: 'u32', index: 'u32' },
    body: `  var sum = 0.0;
  for (var i = thread; i < uniforms.count; i += ${group.threads}u) { sum += parts[i]; }
  sum = sumOf(sum, thread);
  if (thread == 0u) { sums[uniforms.index] = sum; }`,
  });

/**
 * The factor of a gradient from a step's losses and sums of squares: 0 where one of them is not finite or the previous
 * factor was 0. Tests the bits, since a compiler may assume that numbers are finite; scales squares by 2⁻⁶⁴, so that their
 * sum is finite where they are.
 */
const gradientScaleKernel = (group: RowGroup, hasPrevious: boolean) =>
  rowKernel(group, `GradientScale${hasPrevious ? 'AfterPrevious' : ''}`, {
    reads: { values: 'f32', ...(hasPrevious && { previous: 'f32' }) },
    writes: { scale: 'f32' },
    uniforms: { count: 'u32', numLosses: 'u32', numTargets: 'f32', clipNorm: 'f32' },
    body: `  var squares = 0.0;
  var faults = 0.0;
  for (var i = thread; i < uniforms.count; i += ${group.threads}u) {
    let value = values[i];
    if ((bitcast<u32>(value) & 0x7f800000u) == 0x7f800000u) { faults += 1.0; }
    else if (i >= uniforms.numLosses) { squares += value * exp2(-64.0); }
  }
  faults = sumOf(faults, thread);
  squares = sumOf(squares, thread);
  if (thread > 0u) { return; }
  let norm = sqrt(squares) * exp2(32.0) / uniforms.numTargets + 1e-6;
  let clip = select(uniforms.clipNorm / norm, 1.0, norm <= uniforms.clipNorm);
  let isLeftOut = faults > 0.0${hasPrevious ? ' || previous[0] == 0.0' : ''};
  scale[0] = select(clip / uniforms.numTargets, 0.0, isLeftOut);`,
  });

export const optimizerKernels: Kernels<WebgpuBackend> = {
  AdamW({ backend, inputs, attrs }) {
    const { learningRate, beta1, beta2, epsilon, weightDecay, step, gradientScale } = attrs;
    const count = sizeFromShape(inputs.gradient.shape);
    // Differences from 1 are computed in float64: 1 − 0.999 loses digits in float32.
    runElements(backend, adamWKernel(inputs.scale !== undefined), count, inputs, {
      decay: 1 - learningRate * weightDecay,
      stepSize: learningRate / (1 - beta1 ** step),
      inverseRoot: 1 / Math.sqrt(1 - beta2 ** step),
      beta1,
      beta2,
      rest1: 1 - beta1,
      rest2: 1 - beta2,
      epsilon,
      gradientScale,
    });
    return [];
  },

  GradientScale({ backend, inputs: { values, previous }, attrs }) {
    const scale = backend.makeTensorInfo([1], 'float32');
    const count = sizeFromShape(values.shape);
    const kernel = gradientScaleKernel(rowGroup(backend.gpu, count), previous !== undefined);
    // WGSL has no infinity.
    const uniforms = { ...attrs, count, clipNorm: Math.min(attrs.clipNorm, 3e38) };
    runRows(backend, kernel, 1, { values, previous, scale }, uniforms);
    return scale;
  },

  SumsOfSquares({ backend, inputs }) {
    const tensors = Object.values(inputs);
    const sums = backend.makeTensorInfo([tensors.length, 1], 'float32');
    const parts = backend.makeTensorInfo([MAX_PARTS], 'float32');
    const group = rowGroup(backend.gpu, MIN_SHARE);
    for (const [index, x] of tensors.entries()) {
      const count = sizeFromShape(x.shape);
      const share = Math.max(MIN_SHARE, Math.ceil(count / MAX_PARTS));
      const rows = Math.ceil(count / share);
      runRows(backend, squaresKernel(group), rows, { x, parts }, { count, share });
      runRows(backend, sumPartsKernel(group), 1, { parts, sums }, { count: rows, index });
    }
    backend.disposeData(parts.dataId);
    return sums;
  },
};
