/**
 * Attention forward and backward in tiles of 64 queries × 64 keys, memory linear in length (FlashAttention-2,
 * Dao 2023).
 *
 * Both passes are made of two steps, each a small matrix product of a workgroup of 16 × 16 threads:
 * - `scores`: rows of one matrix against rows of another, summed over the head; a thread gets 4 × 4 of the tile.
 * - `gather`: weights of the tile, laid out [column][row] in workgroup memory, times rows of a third matrix; a thread
 *   sums 4 rows × 4 channels for every 64 channels of the head.
 *
 * In `forward` and `gradient of queries` rows are queries and columns are keys; in `gradient of keys and values` rows
 * are keys and columns are queries, so that each workgroup alone writes its outputs: no atomics, the same bits always.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from './backend-interface.ts';
import { ELEMENTWISE_MAIN, type Kernel, run, workgroupsFor } from './dispatch.ts';
import { type RowGroup, rowGroup } from './rows.ts';

/** Rows and columns of a tile. */
const TILE = 64;

/** Bytes of workgroup memory that the kernels take. */
export const ATTENTION_WORKGROUP_BYTES = (2 * 16 * TILE + TILE * TILE) * 4;

/** Sizes of one call; T queries stand at the end of S keys. */
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

const SIZES = {
  T: 'u32',
  S: 'u32',
  H: 'u32',
  G: 'u32',
  D: 'u32',
  window: 'u32',
  scale: 'f32',
  queryBase: 'u32',
} as const;

/** Segment and prefix of each token side by side: one binding less. */
export function packSegments(
  backend: WebgpuBackend,
  segmentIds: tf.TensorInfo | undefined,
  prefixIds: tf.TensorInfo | undefined,
): tf.TensorInfo | undefined {
  if (!segmentIds) return undefined;
  const count = tf.util.sizeFromShape(segmentIds.shape);
  const packed = backend.makeTensorInfo([count, 2], 'int32');
  run(
    backend,
    {
      key: `AttentionSegments_${prefixIds ? 1 : 0}`,
      reads: { own: 'i32', ...(prefixIds && { prefix: 'i32' }) },
      writes: { packed: 'vec2<i32>' },
      uniforms: { count: 'u32' },
      code: `${ELEMENTWISE_MAIN}
  packed[i] = vec2<i32>(own[i], ${prefixIds ? 'prefix' : 'own'}[i]);
}`,
    },
    {
      reads: { own: segmentIds, ...(prefixIds && { prefix: prefixIds }) },
      writes: { packed },
      uniforms: { count },
      workgroups: workgroupsFor(count),
    },
  );
  return packed;
}

/** Tensors of {@link attentionForward}. */
export interface AttentionTensors {
  q: tf.TensorInfo;
  k: tf.TensorInfo;
  v: tf.TensorInfo;
  segments?: tf.TensorInfo;
}

/** Queries up to which each is a workgroup of its own: a tile would be nearly empty. */
const FEW_QUERIES = 8;

/** Writes `out` `[B, T, H, D]` and, unless a cache is read, the logarithm of each row's sum `[B, H, T]`. */
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
  run(backend, STATS, {
    reads: { dy, out, logSumExp },
    writes: { stats },
    uniforms: { count: B * H * T, T, H, D },
    workgroups: workgroupsFor(B * H * T),
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

/** Of each query: the logarithm of its sum of exponentials, and the product of its output with the gradient. */
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

const FOUR = [0, 1, 2, 3];
const each = (count: number, f: (i: number) => string) =>
  Array.from({ length: count }, (_, i) => f(i)).join('\n');

/** How a matrix's rows are found: `row` in [0, `limit`), each `D` channels at `base + row * stride`. */
interface Rows {
  name: string;
  base: string;
  stride: string;
  limit: string;
  start: string;
}

/** Four channels from offset at; those past the head's end are 0. */
function loadFour(name: string, { vector }: Layout): string {
  if (vector) return `${name}[at / 4u]`;
  const channel = (i: number) =>
    `select(0.0, ${name}[at + min(${i}u, uniforms.D - 1u - d)], d + ${i}u < uniforms.D)`;
  return `vec4<f32>(${FOUR.map(channel).join(', ')})`;
}

/**
 * Declares name0 to name3: products of rows (4 a thread) with columns (one in each component).
 *
 * Begins after a barrier and ends with one.
 */
function scores(name: string, left: Rows, right: Rows, layout: Layout): string {
  const load = (side: Rows, tile: string) => {
    return `
        let row = ${side.start} + (index / 4u) * 4u;
        let d = d0 + (index % 4u) * 4u;
        var turned = mat4x4<f32>();
        for (var i = 0u; i < 4u; i++) {
          if (row + i < ${side.limit} && d < uniforms.D) {
            let at = ${side.base} + (row + i) * ${side.stride} + d;
            turned[i] = ${loadFour(side.name, layout)};
          }
        }
        turned = transpose(turned);
        for (var i = 0u; i < 4u; i++) { ${tile}[((index % 4u) * 4u + i) * 16u + index / 4u] = turned[i]; }`;
  };
  return `
    ${each(4, (r) => `var ${name}${r} = vec4<f32>();`)}
    for (var d0 = 0u; d0 < uniforms.D; d0 += 16u) {
      if (thread < 64u) {
        let index = thread;${load(left, 'tileA')}
      } else if (thread < 128u) {
        let index = thread - 64u;${load(right, 'tileB')}
      }
      workgroupBarrier();
      for (var d = 0u; d < 16u; d++) {
        let x = tileA[d * 16u + ty];
        let y = tileB[d * 16u + tx];
        ${each(4, (r) => `${name}${r} = fma(vec4<f32>(x[${r}]), y, ${name}${r});`)}
      }
      workgroupBarrier();
    }`;
}

/** Puts name0 to name3 into workgroup memory as [column][row]; a barrier must follow. */
function share(name: string): string {
  return each(
    4,
    (c) =>
      `weights[(tx * 4u + ${c}u) * 16u + ty] = vec4<f32>(${FOUR.map((r) => `${name}${r}[${c}]`).join(', ')});`,
  );
}

/** Adds weights × rows of a matrix to sum_c_r. Begins after a barrier and ends with one. */
function gather(sum: string, side: Rows, layout: Layout): string {
  return each(layout.parts, (c) => {
    return `
    for (var part = 0u; part < ${TILE}u; part += 16u) {
      {
        let row = ${side.start} + part + ty;
        let d = ${c * TILE}u + tx * 4u;
        var value = vec4<f32>();
        if (row < ${side.limit} && d < uniforms.D) {
          let at = ${side.base} + row * ${side.stride} + d;
          value = ${loadFour(side.name, layout)};
        }
        tileA[ty * 16u + tx] = value;
      }
      workgroupBarrier();
      for (var k = 0u; k < 16u; k++) {
        let w = weights[(part + k) * 16u + ty];
        let x = tileA[k * 16u + tx];
        ${each(4, (r) => `${sum}_${c}_${r} = fma(vec4<f32>(w[${r}]), x, ${sum}_${c}_${r});`)}
      }
      workgroupBarrier();
    }`;
  });
}

const sums = (name: string, { parts }: Layout) =>
  each(parts, (c) => each(4, (r) => `var ${name}_${c}_${r} = vec4<f32>();`));

/** Writes sum_c_r times a factor for each row. */
function store(sum: string, side: Rows, layout: Layout, factor: (r: number) => string): string {
  return each(layout.parts, (c) =>
    each(4, (r) => {
      const at = `${side.base} + row * ${side.stride} + d`;
      const value = `${sum}_${c}_${r} * ${factor(r)}`;
      const write = layout.vector
        ? `${side.name}[(${at}) / 4u] = ${value};`
        : `let y = ${value}; for (var i = 0u; i < min(4u, uniforms.D - d); i++) { ${side.name}[${at} + i] = y[i]; }`;
      return `{
      let row = ${side.start} + ty * 4u + ${r}u;
      let d = ${c * TILE}u + tx * 4u;
      if (row < ${side.limit} && d < uniforms.D) { ${write} }
    }`;
    }),
  );
}

/** Whether query t may see key s; a query beyond the end sees nothing. */
const visible = (hasSegments: boolean) => `
fn isVisible(b: u32, t: u32, s: u32) -> bool {
  if (t >= uniforms.T || s >= uniforms.S) { return false; }
  let position = t + uniforms.S - uniforms.T;
  if (s > position || (uniforms.window > 0u && s + uniforms.window <= position)) { return false; }
  ${
    hasSegments
      ? `let query = segments[b * uniforms.T + t];
  let key = segments[b * uniforms.S + s].x;
  return query.x == key || query.y == key;`
      : 'return true;'
  }
}`;

const workgroupMemory = `
var<workgroup> tileA: array<vec4<f32>, ${(16 * TILE) / 4}>;
var<workgroup> tileB: array<vec4<f32>, ${(16 * TILE) / 4}>;
var<workgroup> weights: array<vec4<f32>, ${(TILE * TILE) / 4}>;`;

const MAIN = `
@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let tx = id.x;
  let ty = id.y;
  let b = group.z;`;

/** Rows of queries (or what has their shape), of head h. */
const queryRows = (name: string, start: string): Rows => ({
  name,
  base: `(uniforms.queryBase + (b * uniforms.T * uniforms.H + h) * uniforms.D)`,
  stride: `uniforms.H * uniforms.D`,
  limit: 'uniforms.T',
  start,
});

const keyRows = (name: string, start: string): Rows => ({
  name,
  base: `((b * uniforms.S * uniforms.G + g) * uniforms.D)`,
  stride: `uniforms.G * uniforms.D`,
  limit: 'uniforms.S',
  start,
});

/** First and past the last tile of keys that queries t0 to t0 + 63 see. */
const KEY_RANGE = `
  let offset = uniforms.S - uniforms.T;
  let lastPosition = min(t0 + ${TILE - 1}u, uniforms.T - 1u) + offset;
  var firstKey = 0u;
  if (uniforms.window > 0u && t0 + offset + 1u > uniforms.window) { firstKey = t0 + offset + 1u - uniforms.window; }
  firstKey = firstKey / ${TILE}u * ${TILE}u;`;

/** What of the head's size the text of a kernel depends on. */
interface Layout {
  /** Whether four channels are read at once. */
  vector: boolean;
  /** Parts of up to 64 channels. */
  parts: number;
}

const layoutOf = (D: number): Layout => ({ vector: D % 4 === 0, parts: Math.ceil(D / TILE) });

/** Types of what every pass reads. */
const attended = (type: 'vec4<f32>' | 'f32', hasSegments: boolean): Kernel['reads'] => ({
  q: type,
  k: type,
  v: type,
  ...(hasSegments && { segments: 'vec2<i32>' }),
});

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
    // The largest of each row over the threads that share it.
    tileA[tx * 16u + ty] = vec4<f32>(${FOUR.map((r) => `max(max(x${r}.x, x${r}.y), max(x${r}.z, x${r}.w))`).join(', ')});
    workgroupBarrier();
    var peak = largest;
    for (var i = 0u; i < 16u; i++) { peak = max(peak, tileA[i * 16u + ty]); }
    let shrink = exp(largest - peak);
    largest = peak;
    // What is hidden lies below any peak and becomes 0 even where a row has seen nothing yet.
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
  // Queries from the first that sees key s0 to the last that sees one of the tile.
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

/** A workgroup of 64 threads for each query and head: a thread scores a key, then sums a channel of the values. */
function fewQueriesKernel(parts: number, group: RowGroup): Kernel {
  const perPart = (f: (part: number) => string) => each(parts, f);
  return {
    key: `AttentionFewQueries_${parts}_${group.key}`,
    extensions: group.extensions,
    reads: { q: 'f32', k: 'f32', v: 'f32' },
    writes: { out: 'f32' },
    uniforms: SIZES,
    code: `
var<workgroup> weights: array<f32, ${TILE}>;
${group.declarations}
${group.combine('largestOf', 'f32', 'max(a, b)')}
${group.combine('sumOf', 'f32', 'a + b')}
@compute @workgroup_size(${TILE})
fn main(@builtin(workgroup_id) group: vec3<u32>, ${group.parameters}) {
  ${group.prologue}
  let t = group.x;
  let h = group.y;
  let b = group.z;
  let g = h / (uniforms.H / uniforms.G);
  let query = uniforms.queryBase + ((b * uniforms.T + t) * uniforms.H + h) * uniforms.D;
  let end = t + uniforms.S - uniforms.T + 1u;
  let first = select(0u, end - uniforms.window, uniforms.window > 0u && end > uniforms.window);
  var peak = -1e30;
  var total = 0.0;
  ${perPart((part) => `var sum${part} = 0.0;`)}
  for (var s0 = first; s0 < end; s0 += ${TILE}u) {
    let key = ((b * uniforms.S + s0 + thread) * uniforms.G + g) * uniforms.D;
    let isInside = s0 + thread < end;
    var score = -2e30;
    if (isInside) {
      score = 0.0;
      for (var d = 0u; d < uniforms.D; d++) { score += q[query + d] * k[key + d]; }
      score *= uniforms.scale;
    }
    let newPeak = max(peak, largestOf(score, thread));
    let weight = select(0.0, exp(score - newPeak), isInside);
    weights[thread] = weight;
    let shrink = exp(peak - newPeak);
    peak = newPeak;
    total = total * shrink + sumOf(weight, thread);
    let count = min(${TILE}u, end - s0);
    ${perPart(
      (part) => `if (${part * TILE}u + thread < uniforms.D) {
      let value = ((b * uniforms.S + s0) * uniforms.G + g) * uniforms.D + ${part * TILE}u + thread;
      var sum = 0.0;
      for (var i = 0u; i < count; i++) { sum += weights[i] * v[value + i * uniforms.G * uniforms.D]; }
      sum${part} = sum${part} * shrink + sum;
    }`,
    )}
    workgroupBarrier();
  }
  ${perPart(
    (part) =>
      `if (${part * TILE}u + thread < uniforms.D) { out[query + ${part * TILE}u + thread] = sum${part} / total; }`,
  )}
}`,
  };
}

/** Copies new keys (or values) `[T, G, D]` of sequence b behind the first length rows of its cache, in place. */
export function appendToCache(
  backend: WebgpuBackend,
  fresh: tf.TensorInfo,
  cache: tf.TensorInfo,
  { b, length, count }: { b: number; length: number; count: number },
): void {
  const rowSize = tf.util.sizeFromShape(cache.shape.slice(1));
  run(backend, APPEND, {
    reads: { fresh },
    writes: { cache },
    uniforms: { count, first: b * count, offset: length * rowSize },
    workgroups: workgroupsFor(count),
  });
}

const APPEND: Kernel = {
  key: 'AppendToCache',
  reads: { fresh: 'f32' },
  writes: { cache: 'f32' },
  uniforms: { count: 'u32', first: 'u32', offset: 'u32' },
  code: `${ELEMENTWISE_MAIN}
  cache[uniforms.offset + i] = fresh[uniforms.first + i];
}`,
};
