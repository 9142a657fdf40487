/** Attention forward and backward in tiles, memory linear in length (FlashAttention-2, Dao 2023); see attention-tiles.ts. */
import * as tf from '@tensorflow/tfjs-core';
import { fewQueriesKernel } from './attention-decoding.ts';
import {
  each,
  FOUR,
  gather,
  KEY_RANGE,
  keyRows,
  type Layout,
  layoutOf,
  passKernel,
  queryRows,
  scores,
  share,
  store,
  sums,
  TILE,
} from './attention-tiles.ts';
import type { WebgpuBackend } from './backend-interface.ts';
import { elementwise, type Kernel, run, runElements } from './dispatch.ts';
import { rowGroup } from './rows.ts';

/** Bytes of workgroup memory that the kernels use. */
export const ATTENTION_WORKGROUP_BYTES = (2 * 16 * TILE + TILE * TILE) * 4;

/** Sizes of a call; the T queries are the last of S positions, a window of 0 is none. */
export type AttentionSizes = Record<'B' | 'T' | 'S' | 'H' | 'G' | 'D' | 'window' | 'scale', number>;

/** Segment and prefix id of each token side by side, which saves a binding. */
export function packSegments(
  backend: WebgpuBackend,
  segmentIds: tf.TensorInfo | undefined,
  prefixIds: tf.TensorInfo | undefined,
): tf.TensorInfo | undefined {
  if (!segmentIds) return undefined;
  const count = tf.util.sizeFromShape(segmentIds.shape);
  const packed = backend.makeTensorInfo([count, 2], 'int32');
  const kernel = elementwise(
    `AttentionSegments_${prefixIds ? 1 : 0}`,
    { own: 'i32', ...(prefixIds && { prefix: 'i32' }) },
    { packed: 'vec2<i32>' },
    {},
    `  packed[i] = vec2<i32>(own[i], ${prefixIds ? 'prefix' : 'own'}[i]);`,
  );
  runElements(backend, kernel, count, { own: segmentIds, prefix: prefixIds, packed });
  return packed;
}

/** Inputs and outputs by name. */
type Tensors<Name extends string> = Record<Name, tf.TensorInfo> & {
  segments?: tf.TensorInfo;
  logSumExp?: tf.TensorInfo;
};

/** Largest number of queries that get a workgroup each: a tile would be nearly empty. */
const FEW_QUERIES = 8;

/** Writes `out` `[B, T, H, D]` and, where given, the logarithm of each row's sum `[B, H, T]`. */
export function attentionForward(
  backend: WebgpuBackend,
  sizes: AttentionSizes,
  tensors: Tensors<'q' | 'k' | 'v' | 'out'>,
  queryBase = 0,
): void {
  const { B, T, H, D } = sizes;
  const [hasSegments, hasSums] = [tensors.segments !== undefined, tensors.logSumExp !== undefined];
  const isFew = T <= FEW_QUERIES && !hasSums && !hasSegments;
  const kernel = isFew
    ? fewQueriesKernel(Math.ceil(D / TILE), rowGroup(backend.gpu, TILE))
    : forwardKernel(layoutOf(D), hasSegments, hasSums);
  run(backend, kernel, tensors, { ...sizes, queryBase }, [isFew ? T : Math.ceil(T / TILE), H, B]);
}

/** Writes the gradients dq, dk and dv. */
export function attentionBackward(
  backend: WebgpuBackend,
  sizes: AttentionSizes,
  given: Tensors<'q' | 'k' | 'v' | 'dy' | 'out' | 'dq' | 'dk' | 'dv'>,
): void {
  const { B, T, S, H, G, D } = sizes;
  const stats = backend.makeTensorInfo([B, H, T, 2], 'float32');
  const tensors = { ...given, stats };
  runElements(backend, STATS, B * H * T, tensors, { T, H, D });
  const [uniforms, hasSegments] = [{ ...sizes, queryBase: 0 }, given.segments !== undefined];
  const queryKernel = queryGradientKernel(layoutOf(D), hasSegments);
  run(backend, queryKernel, tensors, uniforms, [Math.ceil(T / TILE), H, B]);
  const keyKernel = keyGradientKernel(layoutOf(D), hasSegments);
  run(backend, keyKernel, tensors, uniforms, [Math.ceil(S / TILE), G, B]);
  backend.disposeData(stats.dataId);
}

/** For each query the logarithm of its sum of exponentials, and the dot product of its output and gradient. */
const STATS = elementwise(
  'AttentionStats',
  { dy: 'f32', out: 'f32', logSumExp: 'f32' },
  { stats: 'vec2<f32>' },
  { T: 'u32', H: 'u32', D: 'u32' },
  `  let t = i % uniforms.T;
  let h = (i / uniforms.T) % uniforms.H;
  let b = i / (uniforms.T * uniforms.H);
  let base = ((b * uniforms.T + t) * uniforms.H + h) * uniforms.D;
  var product = 0.0;
  for (var d = 0u; d < uniforms.D; d++) { product += dy[base + d] * out[base + d]; }
  stats[i] = vec2<f32>(logSumExp[i], product);`,
);

function forwardKernel(layout: Layout, hasSegments: boolean, keepsSums: boolean): Kernel {
  const writes = { out: layout.type, ...(keepsSums && { logSumExp: 'f32' }) };
  return passKernel(
    keepsSums ? 'AttentionWithSums' : 'Attention',
    layout,
    hasSegments,
    {},
    writes,
    `
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
  }`,
  );
}

function queryGradientKernel(layout: Layout, hasSegments: boolean): Kernel {
  const reads = { dy: layout.type, stats: 'vec2<f32>' };
  return passKernel(
    'AttentionQueryGrad',
    layout,
    hasSegments,
    reads,
    { dq: layout.type },
    `
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
  ${store('sum', queryRows('dq', 't0'), layout, () => 'uniforms.scale')}`,
  );
}

function keyGradientKernel(layout: Layout, hasSegments: boolean): Kernel {
  const reads = { dy: layout.type, stats: 'vec2<f32>' };
  return passKernel(
    'AttentionKeyGrad',
    layout,
    hasSegments,
    reads,
    { dk: layout.type, dv: layout.type },
    `
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
  ${store('dvSum', keyRows('dv', 's0'), layout, () => '1.0')}`,
  );
}
