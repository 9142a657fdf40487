/** Attention forward and backward in tiles, memory linear in length (FlashAttention-2, Dao 2023); see attention-tiles.ts. */
import * as tf from '@tensorflow/tfjs-core';
import { fewQueriesKernel } from './attention-decoding.ts';
import {
  attended,
  each,
  FOUR,
  gather,
  KEY_RANGE,
  keyRows,
  type Layout,
  layoutOf,
  MAIN,
  queryRows,
  SIZES,
  scores,
  share,
  store,
  sums,
  TILE,
  visible,
  workgroupMemory,
} from './attention-tiles.ts';
import type { WebgpuBackend } from './backend-interface.ts';
import { ELEMENTWISE_MAIN, type Kernel, run, runElements } from './dispatch.ts';
import { rowGroup } from './rows.ts';

/** Bytes of workgroup memory that the kernels use. */
export const ATTENTION_WORKGROUP_BYTES = (2 * 16 * TILE + TILE * TILE) * 4;

/** Sizes of a call; the T queries are the last of S positions. */
export interface AttentionSizes {
  B: number;
  T: number;
  S: number;
  H: number;
  G: number;
  D: number;
  /** 0 for none. */
  window: number;
  scale: number;
}

/** Segment and prefix id of each token side by side, which saves a binding. */
export function packSegments(
  backend: WebgpuBackend,
  segmentIds: tf.TensorInfo | undefined,
  prefixIds: tf.TensorInfo | undefined,
): tf.TensorInfo | undefined {
  if (!segmentIds) return undefined;
  const count = tf.util.sizeFromShape(segmentIds.shape);
  const packed = backend.makeTensorInfo([count, 2], 'int32');
  const kernel: Kernel = {
    key: `AttentionSegments_${prefixIds ? 1 : 0}`,
    reads: { own: 'i32', ...(prefixIds && { prefix: 'i32' }) },
    writes: { packed: 'vec2<i32>' },
    uniforms: { count: 'u32' },
    code: `${ELEMENTWISE_MAIN}
  packed[i] = vec2<i32>(own[i], ${prefixIds ? 'prefix' : 'own'}[i]);
}`,
  };
  const reads = { own: segmentIds, ...(prefixIds && { prefix: prefixIds }) };
  runElements(backend, kernel, count, { reads, writes: { packed } });
  return packed;
}

/** Tensors of {@link attentionForward}. */
export interface AttentionTensors {
  q: tf.TensorInfo;
  k: tf.TensorInfo;
  v: tf.TensorInfo;
  segments?: tf.TensorInfo;
}

/** Largest number of queries that get a workgroup each: a tile would be nearly empty. */
const FEW_QUERIES = 8;

/** Writes `out` `[B, T, H, D]` and, where given, the logarithm of each row's sum `[B, H, T]`. */
export function attentionForward(
  backend: WebgpuBackend,
  sizes: AttentionSizes,
  { q, k, v, segments }: AttentionTensors,
  out: tf.TensorInfo,
  logSumExp?: tf.TensorInfo,
  queryBase = 0,
): void {
  const { B, T, H, D } = sizes;
  if (T <= FEW_QUERIES && !logSumExp && !segments) {
    const binding = { reads: { q, k, v }, writes: { out }, uniforms: { ...sizes, queryBase } };
    run(backend, fewQueriesKernel(Math.ceil(D / TILE), rowGroup(backend.gpu, TILE)), {
      ...binding,
      workgroups: [T, H, B],
    });
    return;
  }
  run(backend, forwardKernel(layoutOf(D), segments !== undefined, logSumExp !== undefined), {
    reads: { q, k, v, ...(segments && { segments }) },
    writes: { out, ...(logSumExp && { logSumExp }) },
    uniforms: { ...sizes, queryBase },
    workgroups: [Math.ceil(T / TILE), H, B],
  });
}

/** Writes the gradients of q, k and v. */
export function attentionBackward(
  backend: WebgpuBackend,
  sizes: AttentionSizes,
  { q, k, v, segments }: AttentionTensors,
  { dy, out, logSumExp }: { dy: tf.TensorInfo; out: tf.TensorInfo; logSumExp: tf.TensorInfo },
  { dq, dk, dv }: { dq: tf.TensorInfo; dk: tf.TensorInfo; dv: tf.TensorInfo },
): void {
  const { B, T, S, H, G, D } = sizes;
  const stats = backend.makeTensorInfo([B, H, T, 2], 'float32');
  runElements(backend, STATS, B * H * T, {
    reads: { dy, out, logSumExp },
    writes: { stats },
    uniforms: { T, H, D },
  });
  const reads = { q, k, v, dy, stats, ...(segments && { segments }) };
  const uniforms = { ...sizes, queryBase: 0 };
  const hasSegments = segments !== undefined;
  run(backend, queryGradientKernel(layoutOf(D), hasSegments), {
    reads,
    writes: { dq },
    uniforms,
    workgroups: [Math.ceil(T / TILE), H, B],
  });
  run(backend, keyGradientKernel(layoutOf(D), hasSegments), {
    reads,
    writes: { dk, dv },
    uniforms,
    workgroups: [Math.ceil(S / TILE), G, B],
  });
  backend.disposeData(stats.dataId);
}

/** For each query the logarithm of its sum of exponentials, and the dot product of its output and gradient. */
const STATS: Kernel = {
  key: 'AttentionStats',
  reads: { dy: 'f32', out: 'f32', logSumExp: 'f32' },
  writes: { stats: 'vec2<f32>' },
  uniforms: { count: 'u32', T: 'u32', H: 'u32', D: 'u32' },
  code: `${ELEMENTWISE_MAIN}
  let t = i % uniforms.T;
  let h = (i / uniforms.T) % uniforms.H;
  let b = i / (uniforms.T * uniforms.H);
  let base = ((b * uniforms.T + t) * uniforms.H + h) * uniforms.D;
  var product = 0.0;
  for (var d = 0u; d < uniforms.D; d++) { product += dy[base + d] * out[base + d]; }
  stats[i] = vec2<f32>(logSumExp[i], product);
}`,
};

function forwardKernel(layout: Layout, hasSegments: boolean, keepsSums: boolean): Kernel {
  const type = layout.vector ? 'vec4<f32>' : 'f32';
  return {
    key: `Attention_${Number(layout.vector)}${layout.parts}_${Number(hasSegments)}_${Number(keepsSums)}`,
    reads: attended(type, hasSegments),
    writes: { out: type, ...(keepsSums && { logSumExp: 'f32' }) },
    uniforms: SIZES,
    code: `${workgroupMemory}
${visible(hasSegments)}
${MAIN}
  let h = group.y;
  let g = h / (uniforms.H / uniforms.G);
  let t0 = group.x * ${TILE}u;
  ${KEY_RANGE}
  ${sums('sum', layout)}
  var largest = vec4<f32>(-1e30);
  var total = vec4<f32>();
  for (var s0 = firstKey; s0 <= lastPosition; s0 += ${TILE}u) {
    ${scores('x', queryRows('q', 't0'), keyRows('k', 's0'), layout)}
    ${each(4, (r) =>
      each(
        4,
        (c) =>
          `x${r}[${c}] = select(-2e30, x${r}[${c}] * uniforms.scale, isVisible(b, t0 + ty * 4u + ${r}u, s0 + tx * 4u + ${c}u));`,
      ),
    )}
    // The maximum of each row over the threads that share it.
    tileA[tx * 16u + ty] = vec4<f32>(${FOUR.map((r) => `max(max(x${r}.x, x${r}.y), max(x${r}.z, x${r}.w))`).join(', ')});
    workgroupBarrier();
    var peak = largest;
    for (var i = 0u; i < 16u; i++) { peak = max(peak, tileA[i * 16u + ty]); }
    let shrink = exp(largest - peak);
    largest = peak;
    // Masked scores lie below any peak and become 0, also in a row without a visible key so far.
    ${each(4, (r) => `x${r} = select(exp(x${r} - vec4<f32>(peak[${r}])), vec4<f32>(), x${r} < vec4<f32>(-1e30));`)}
    total = total * shrink + vec4<f32>(${FOUR.map((r) => `x${r}.x + x${r}.y + x${r}.z + x${r}.w`).join(', ')});
    ${each(layout.parts, (c) => each(4, (r) => `sum_${c}_${r} *= shrink[${r}];`))}
    ${share('x')}
    workgroupBarrier();
    ${gather('sum', keyRows('v', 's0'), layout)}
  }
  tileA[tx * 16u + ty] = total;
  workgroupBarrier();
  total = vec4<f32>();
  for (var i = 0u; i < 16u; i++) { total += tileA[i * 16u + ty]; }
  ${store('sum', queryRows('out', 't0'), layout, (r) => `(1.0 / total[${r}])`)}
  ${
    keepsSums
      ? `if (tx < 4u) {
    let t = t0 + ty * 4u + tx;
    if (t < uniforms.T) { logSumExp[(b * uniforms.H + h) * uniforms.T + t] = largest[tx] + log(total[tx]); }
  }`
      : ''
  }
}`,
  };
}

function queryGradientKernel(layout: Layout, hasSegments: boolean): Kernel {
  const type = layout.vector ? 'vec4<f32>' : 'f32';
  return {
    key: `AttentionQueryGrad_${Number(layout.vector)}${layout.parts}_${Number(hasSegments)}`,
    reads: { ...attended(type, hasSegments), dy: type, stats: 'vec2<f32>' },
    writes: { dq: type },
    uniforms: SIZES,
    code: `${workgroupMemory}
${visible(hasSegments)}
${MAIN}
  let h = group.y;
  let g = h / (uniforms.H / uniforms.G);
  let t0 = group.x * ${TILE}u;
  ${KEY_RANGE}
  ${sums('sum', layout)}
  for (var s0 = firstKey; s0 <= lastPosition; s0 += ${TILE}u) {
    ${scores('x', queryRows('q', 't0'), keyRows('k', 's0'), layout)}
    ${scores('p', queryRows('dy', 't0'), keyRows('v', 's0'), layout)}
    ${each(
      4,
      (r) => `{
      let t = t0 + ty * 4u + ${r}u;
      let stat = stats[(b * uniforms.H + h) * uniforms.T + min(t, uniforms.T - 1u)];
      for (var c = 0u; c < 4u; c++) {
        let weight = exp(x${r}[c] * uniforms.scale - stat.x);
        x${r}[c] = select(0.0, weight * (p${r}[c] - stat.y), isVisible(b, t, s0 + tx * 4u + c));
      }
    }`,
    )}
    ${share('x')}
    workgroupBarrier();
    ${gather('sum', keyRows('k', 's0'), layout)}
  }
  ${store('sum', queryRows('dq', 't0'), layout, () => 'uniforms.scale')}
}`,
  };
}

function keyGradientKernel(layout: Layout, hasSegments: boolean): Kernel {
  const type = layout.vector ? 'vec4<f32>' : 'f32';
  return {
    key: `AttentionKeyGrad_${Number(layout.vector)}${layout.parts}_${Number(hasSegments)}`,
    reads: { ...attended(type, hasSegments), dy: type, stats: 'vec2<f32>' },
    writes: { dk: type, dv: type },
    uniforms: SIZES,
    code: `${workgroupMemory}
${visible(hasSegments)}
${MAIN}
  let g = group.y;
  let s0 = group.x * ${TILE}u;
  let offset = uniforms.S - uniforms.T;
  // From the first query that attends to key s0 to the last that attends to one of the tile.
  let firstQuery = select(0u, s0 - offset, s0 > offset) / ${TILE}u * ${TILE}u;
  var endQuery = uniforms.T;
  if (uniforms.window > 0u) {
    let past = s0 + ${TILE - 1}u + uniforms.window;
    endQuery = min(endQuery, select(0u, past - offset, past > offset));
  }
  ${sums('dkSum', layout)}
  ${sums('dvSum', layout)}
  let share = uniforms.H / uniforms.G;
  for (var h = g * share; h < (g + 1u) * share; h++) {
    for (var t0 = firstQuery; t0 < endQuery; t0 += ${TILE}u) {
      ${scores('x', keyRows('k', 's0'), queryRows('q', 't0'), layout)}
      for (var c = 0u; c < 4u; c++) {
        let t = t0 + tx * 4u + c;
        let stat = stats[(b * uniforms.H + h) * uniforms.T + min(t, uniforms.T - 1u)];
        ${each(
          4,
          (r) =>
            `x${r}[c] = select(0.0, exp(x${r}[c] * uniforms.scale - stat.x), isVisible(b, t, s0 + ty * 4u + ${r}u));`,
        )}
      }
      ${share('x')}
      workgroupBarrier();
      ${gather('dvSum', queryRows('dy', 't0'), layout)}
      ${scores('p', keyRows('v', 's0'), queryRows('dy', 't0'), layout)}
      for (var c = 0u; c < 4u; c++) {
        let t = t0 + tx * 4u + c;
        let stat = stats[(b * uniforms.H + h) * uniforms.T + min(t, uniforms.T - 1u)];
        ${each(4, (r) => `x${r}[c] *= p${r}[c] - stat.y;`)}
      }
      ${share('x')}
      workgroupBarrier();
      ${gather('dkSum', queryRows('q', 't0'), layout)}
    }
  }
  ${store('dkSum', keyRows('dk', 's0'), layout, () => 'uniforms.scale')}
  ${store('dvSum', keyRows('dv', 's0'), layout, () => '1.0')}
}`,
  };
}
