/**
 * Matrix products: tiles in workgroup memory, a block of outputs in each thread's registers, loads of four numbers.
 *
 * A workgroup of 16 × 16 threads computes a tile of C. Workgroup memory holds the tiles of both operands with the summed
 * dimension outermost, so that a vec4 holds four rows of A (or columns of B); operands stored the other way round are
 * transposed in registers, 4 × 4 at a time, while they are loaded.
 *
 * With `float16` the tiles hold float16, half the workgroup memory and traffic; products of float16 are exact in float32,
 * and sums are float32.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { MatMul } from '../kernel-shapes.ts';
import { precisionNames } from '../precision.ts';
import type { WebgpuBackend } from './backend-interface.ts';
import { type Kernel, run } from './dispatch.ts';
import { loadFour, PRODUCT_UNIFORMS, storeFour, type Tile, type Variant } from './matmul-tile.ts';
import { MATRIX_TILE, subgroupMatmulKernel } from './subgroup-matmul.ts';

/** One product C = A·B; offsets in elements, one matrix each by default. */
export interface Product
  extends Pick<MatMul, 'M' | 'N' | 'K' | 'transposeA' | 'transposeB'>,
    Partial<Pick<MatMul, 'batch' | 'sharedA' | 'sharedB'>>,
    Record<'a' | 'b' | 'c', tf.TensorInfo>,
    Partial<Record<'aOffset' | 'bOffset' | 'cOffset', number>> {
  /** Adds to C instead of overwriting it. */
  accumulate?: boolean;
  /** Factor on the sums, 1 by default. */
  scale?: number;
}

const LARGE: Tile = { rows: 128, columns: 128, depth: 16 };
const MEDIUM: Tile = { rows: 64, columns: 64, depth: 16 };
/** For few rows, as in decoding. */
const FLAT: Tile = { rows: 16, columns: 64, depth: 32 };

/** Fewer workgroups would leave cores of a GPU idle. */
const BUSY = 128;

function chooseTile(M: number, N: number, batch: number): Tile {
  if (M <= 16) return FLAT;
  const largeTiles = Math.ceil(M / LARGE.rows) * Math.ceil(N / LARGE.columns) * batch;
  return largeTiles >= BUSY ? LARGE : MEDIUM;
}

/**
 * Summed indices of one pass, a multiple of every tile's depth. Longer sums consist of several passes, so that rounding
 * errors do not grow with their length; the traffic of C is small beside the work.
 */
const PART = 2048;

/** Records C = A·B (or C += A·B). */
export function multiply(backend: WebgpuBackend, product: Product): void {
  const { M, N, K, transposeA, transposeB, a, b, c } = product;
  const { batch = 1, sharedA = false, sharedB = false, aOffset = 0, bOffset = 0, cOffset = 0 } = product;
  const { scale = 1 } = product;
  const matrix = backend.precision === 'float16' && M > FLAT.rows ? backend.gpu.subgroupMatrix : undefined;
  const tile = matrix ? MATRIX_TILE : chooseTile(M, N, batch);
  const isWhole = (size: number) => size % 4 === 0;
  const variant = {
    tile,
    transposeA,
    transposeB,
    // A vec4 must be aligned and must not cross the end of a row.
    vector: [transposeA ? M : K, transposeB ? K : N, N, aOffset, bOffset, cOffset].every(isWhole),
    precision: backend.precision,
    scaled: scale !== 1,
  };
  const batches = { aBatch: sharedA ? 0 : M * K, bBatch: sharedB ? 0 : K * N, scale };
  for (let start = 0; start < K; start += PART) {
    const accumulate = start > 0 || (product.accumulate ?? false);
    const whole = { ...variant, accumulate };
    const kernel = matrix ? subgroupMatmulKernel(whole, matrix) : matmulKernel(whole);
    const end = Math.min(K, start + PART);
    const uniforms = { M, N, K, start, end, ...batches, aOffset, bOffset, cOffset };
    const grid: [number, number, number] = [Math.ceil(N / tile.columns), Math.ceil(M / tile.rows), batch];
    run(backend, kernel, { a, b, c }, uniforms, grid);
  }
}

function matmulKernel(variant: Variant): Kernel {
  const { tile, transposeA, transposeB, vector, accumulate, scaled, precision } = variant;
  const type = vector ? 'vec4<f32>' : 'f32';
  const flags = [transposeA, transposeB, vector, accumulate, precisionNames.indexOf(precision)].map(Number);
  const four = precision === 'float16' ? 'vec4<f16>' : 'vec4<f32>';
  // Outputs of a thread: rows in fours, or one row; columns in fours.
  const threadRows = tile.rows / 16;
  const threadColumns = tile.columns / 64;
  const aBlocks = (tile.rows / 4) * (tile.depth / 4);
  const bBlocks = (tile.columns / 4) * (tile.depth / 4);
  const rowIndices = Array.from({ length: threadRows }, (_, r) => r);
  const columnIndices = Array.from({ length: threadColumns }, (_, c) => c);
  const accumulators = rowIndices.flatMap((r) => columnIndices.map((c) => `sum_${r}_${c}`));
  const isSingleRow = threadRows === 1;
  // Groups of four rows of a thread are 64 apart, so that adjacent threads read adjacent vec4s.
  const tileRow = (r: number) => (isSingleRow ? 'ty' : `${64 * Math.floor(r / 4)}u + ty * 4u + ${r % 4}u`);
  const left = (r: number) =>
    isSingleRow
      ? `f32(aTile[k * ${tile.rows / 4}u + ty / 4u][ty % 4u])`
      : `left${Math.floor(r / 4)}[${r % 4}]`;
  const lefts = isSingleRow
    ? ''
    : Array.from(
        { length: threadRows / 4 },
        (_, g) => `let left${g} = vec4<f32>(aTile[k * ${tile.rows / 4}u + ${16 * g}u + ty]);`,
      ).join('\n      ');

  return {
    key: `MatMul_${tile.rows}x${tile.columns}_${flags.join('')}${scaled ? '_scaled' : ''}`,
    extensions: precision === 'float16' ? ['f16'] : [],
    reads: { a: type, b: type },
    writes: { c: type },
    uniforms: PRODUCT_UNIFORMS,
    code: `
var<workgroup> aTile: array<${four}, ${(tile.depth * tile.rows) / 4}>;
var<workgroup> bTile: array<${four}, ${(tile.depth * tile.columns) / 4}>;

${loadFour('a', vector)}
${loadFour('b', vector)}

${precision === 'bfloat16' ? ROUND_TO_BFLOAT16 : `fn rounded(x: vec4<f32>) -> ${four} { return ${four}(x); }`}

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let tx = id.x;
  let ty = id.y;
  let row0 = group.y * ${tile.rows}u;
  let column0 = group.x * ${tile.columns}u;
  let aBase = group.z * uniforms.aBatch + uniforms.aOffset;
  let bBase = group.z * uniforms.bBatch + uniforms.bOffset;
  ${accumulators.map((name) => `var ${name} = vec4<f32>();`).join('\n  ')}
  for (var k0 = uniforms.start; k0 < uniforms.end; k0 += ${tile.depth}u) {
    for (var block = thread; block < ${aBlocks + bBlocks}u; block += 256u) {
      if (block < ${aBlocks}u) {
        ${loadBlock({ name: 'a', size: 'M', tileSize: tile.rows, depth: tile.depth, start: 'row0', isTurned: !transposeA })}
      } else {
        let block = block - ${aBlocks}u;
        ${loadBlock({ name: 'b', size: 'N', tileSize: tile.columns, depth: tile.depth, start: 'column0', isTurned: transposeB })}
      }
    }
    workgroupBarrier();
    for (var k = 0u; k < ${tile.depth}u; k++) {
      ${lefts}
      ${columnIndices.map((c) => `let right${c} = vec4<f32>(bTile[k * ${tile.columns / 4}u + ${16 * c}u + tx]);`).join('\n      ')}
      ${rowIndices.flatMap((r) => columnIndices.map((c) => `sum_${r}_${c} = fma(vec4<f32>(${left(r)}), right${c}, sum_${r}_${c});`)).join('\n      ')}
    }
    workgroupBarrier();
  }
  ${rowIndices
    .flatMap((r) =>
      columnIndices.map(
        (c) =>
          `store(group.z, row0 + ${tileRow(r)}, column0 + ${64 * c}u + tx * 4u, sum_${r}_${c}${scaled ? ' * uniforms.scale' : ''});`,
      ),
    )
    .join('\n  ')}
}

${storeFour(vector, accumulate)}`,
  };
}

interface BlockLoad {
  name: string;
  /** The uniform that counts its rows (or columns) of C. */
  size: string;
  tileSize: number;
  depth: number;
  start: string;
  /** Whether the summed dimension is the contiguous one. */
  isTurned: boolean;
}

/** Loads a block of 4 summed indices × 4 rows (or columns) into the tile; outside the matrix it is zero. */
function loadBlock({ name, size, tileSize, depth, start, isTurned }: BlockLoad): string {
  const fours = tileSize / 4;
  if (!isTurned) {
    return `let m = ${start} + (block % ${fours}u) * 4u;
        let k = (block / ${fours}u) * 4u;
        for (var i = 0u; i < 4u; i++) {
          var v = vec4<f32>();
          if (m < uniforms.${size} && k0 + k + i < uniforms.K) {
            v = load_${name}(${name}Base + (k0 + k + i) * uniforms.${size} + m, uniforms.${size} - m);
          }
          ${name}Tile[(k + i) * ${fours}u + block % ${fours}u] = rounded(v);
        }`;
  }
  return `let k = (block % ${depth / 4}u) * 4u;
        let m = ${start} + (block / ${depth / 4}u) * 4u;
        var turned = mat4x4<f32>();
        for (var i = 0u; i < 4u; i++) {
          if (m + i < uniforms.${size} && k0 + k < uniforms.K) {
            turned[i] = load_${name}(${name}Base + (m + i) * uniforms.K + k0 + k, uniforms.K - k0 - k);
          }
        }
        turned = transpose(turned);
        for (var i = 0u; i < 4u; i++) {
          ${name}Tile[(k + i) * ${fours}u + block / ${depth / 4}u] = rounded(turned[i]);
        }`;
}

/** Rounds to nearest even, as the native kernels do; NaN stays NaN. */
const ROUND_TO_BFLOAT16 = `
fn rounded(x: vec4<f32>) -> vec4<f32> {
  let bits = bitcast<vec4<u32>>(x);
  let nearest = (bits + vec4<u32>(0x7fffu) + ((bits >> vec4<u32>(16u)) & vec4<u32>(1u))) & vec4<u32>(0xffff0000u);
  let isNan = (bits & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
  return bitcast<vec4<f32>>(select(nearest, bits, isNan));
}`;
