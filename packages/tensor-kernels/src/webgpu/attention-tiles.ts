/**
 * WGSL of attention in tiles of 64 queries × 64 keys.
 *
 * Each pass consists of two steps, each a small matrix product of a workgroup of 16 × 16 threads:
 * - `scores`: rows of one matrix times rows of another, summed over the head; a thread computes 4 × 4 of the tile.
 * - `gather`: weights of the tile, stored [column][row] in workgroup memory, times rows of a third matrix; a thread
 *   sums 4 rows × 4 channels for every 64 channels of the head.
 *
 * In the forward pass and the gradient of queries, rows are queries and columns are keys; in the gradient of keys and
 * values rows are keys and columns are queries, so that each workgroup alone writes its outputs: no atomics, a
 * deterministic result.
 */
import type { Kernel } from './dispatch.ts';

/** Rows and columns of a tile. */
export const TILE = 64;

/** Uniforms of every pass. */
export const SIZES = {
  T: 'u32',
  S: 'u32',
  H: 'u32',
  G: 'u32',
  D: 'u32',
  window: 'u32',
  scale: 'f32',
  queryBase: 'u32',
} as const;

export const FOUR = [0, 1, 2, 3];
export const each = (count: number, f: (i: number) => string) =>
  Array.from({ length: count }, (_, i) => f(i)).join('\n');

/** Rows of a matrix: `row` in [0, `limit`), each `D` channels at `base + row * stride`. */
interface Rows {
  name: string;
  base: string;
  stride: string;
  limit: string;
  start: string;
}

/** Four channels from offset `at`; those beyond the head are 0. */
function channels(name: string, { vector }: Layout): string {
  if (vector) return `${name}[at / 4u]`;
  const channel = (i: number) =>
    `select(0.0, ${name}[at + min(${i}u, uniforms.D - 1u - d)], d + ${i}u < uniforms.D)`;
  return `vec4<f32>(${FOUR.map(channel).join(', ')})`;
}

/**
 * Declares name0 to name3: products of 4 rows a thread with 4 columns, one in each component.
 *
 * Starts after a barrier and ends with one.
 */
export function scores(name: string, left: Rows, right: Rows, layout: Layout): string {
  const load = (side: Rows, tile: string) => {
    return `
        let row = ${side.start} + (index / 4u) * 4u;
        let d = d0 + (index % 4u) * 4u;
        var turned = mat4x4<f32>();
        for (var i = 0u; i < 4u; i++) {
          if (row + i < ${side.limit} && d < uniforms.D) {
            let at = ${side.base} + (row + i) * ${side.stride} + d;
            turned[i] = ${channels(side.name, layout)};
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

/** Stores name0 to name3 in workgroup memory as [column][row]; a barrier must follow. */
export function share(name: string): string {
  return each(
    4,
    (c) =>
      `weights[(tx * 4u + ${c}u) * 16u + ty] = vec4<f32>(${FOUR.map((r) => `${name}${r}[${c}]`).join(', ')});`,
  );
}

/** Adds weights × rows of a matrix to sum_c_r. Starts after a barrier and ends with one. */
export function gather(sum: string, side: Rows, layout: Layout): string {
  return each(layout.parts, (c) => {
    return `
    for (var part = 0u; part < ${TILE}u; part += 16u) {
      {
        let row = ${side.start} + part + ty;
        let d = ${c * TILE}u + tx * 4u;
        var value = vec4<f32>();
        if (row < ${side.limit} && d < uniforms.D) {
          let at = ${side.base} + row * ${side.stride} + d;
          value = ${channels(side.name, layout)};
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

export const sums = (name: string, { parts }: Layout) =>
  each(parts, (c) => each(4, (r) => `var ${name}_${c}_${r} = vec4<f32>();`));

/** Writes sum_c_r times a factor of each row. */
export function store(sum: string, side: Rows, layout: Layout, factor: (r: number) => string): string {
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

/** Declares `isVisible`: whether query t attends to key s; a query beyond the end attends to none. */
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

/** Rows of queries, or of a matrix of their shape, of head h. */
export const queryRows = (name: string, start: string): Rows => ({
  name,
  base: `(uniforms.queryBase + (b * uniforms.T * uniforms.H + h) * uniforms.D)`,
  stride: `uniforms.H * uniforms.D`,
  limit: 'uniforms.T',
  start,
});

export const keyRows = (name: string, start: string): Rows => ({
  name,
  base: `((b * uniforms.S * uniforms.G + g) * uniforms.D)`,
  stride: `uniforms.G * uniforms.D`,
  limit: 'uniforms.S',
  start,
});

/** The keys from `firstKey` to `lastPosition`, in whole tiles, that queries t0 to t0 + 63 attend to. */
export const KEY_RANGE = `
  let offset = uniforms.S - uniforms.T;
  let lastPosition = min(t0 + ${TILE - 1}u, uniforms.T - 1u) + offset;
  var firstKey = 0u;
  if (uniforms.window > 0u && t0 + offset + 1u > uniforms.window) { firstKey = t0 + offset + 1u - uniforms.window; }
  firstKey = firstKey / ${TILE}u * ${TILE}u;`;

/** The properties of the head size that a kernel's text depends on. */
export interface Layout {
  /** Whether a read takes four channels. */
  vector: boolean;
  type: 'vec4<f32>' | 'f32';
  /** Parts of up to 64 channels. */
  parts: number;
}

export function layoutOf(D: number): Layout {
  const vector = D % 4 === 0;
  return { vector, type: vector ? 'vec4<f32>' : 'f32', parts: Math.ceil(D / TILE) };
}

/** A kernel that reads queries, keys and values, and other tensors; `body` follows the start of `main`. */
export function passKernel(
  name: string,
  { vector, type, parts }: Layout,
  hasSegments: boolean,
  reads: Kernel['reads'],
  writes: Kernel['writes'],
  body: string,
): Kernel {
  return {
    key: `${name}_${Number(vector)}${parts}_${Number(hasSegments)}`,
    reads: { q: type, k: type, v: type, ...(hasSegments && { segments: 'vec2<i32>' }), ...reads },
    writes,
    uniforms: SIZES,
    code: `${workgroupMemory}
${visible(hasSegments)}
${MAIN}${body}
}`,
  };
}
