/**
 * Products of float16 matrices on a GPU's matrix units, with WGSL's subgroup matrices (experimental in Dawn).
 *
 * A workgroup of four subgroups computes a tile of 64 × 64 of C, each subgroup a quarter in float32 accumulators. Workgroup
 * memory holds the tiles of the operands in their stored order, so that loads are contiguous; a transposed one is read by
 * columns.
 */
import type { SubgroupMatrix } from './device.ts';
import type { Kernel } from './dispatch.ts';
import { loadFour, PRODUCT_UNIFORMS, storeFour, type Variant } from './matmul-tile.ts';

/** Rows and columns of C that a workgroup computes, and summed indices of a pass. */
export const MATRIX_TILE = { rows: 64, columns: 64, depth: 32 };

export function subgroupMatmulKernel(variant: Variant, { size, lanes }: SubgroupMatrix): Kernel {
  const { transposeA, transposeB, vector, accumulate, scaled } = variant;
  const { rows, columns, depth } = MATRIX_TILE;
  const type = vector ? 'vec4<f32>' : 'f32';
  const flags = [transposeA, transposeB, vector, accumulate, scaled].map(Number).join('');
  const threads = 4 * lanes;
  const blocks = Array.from({ length: 32 / size }, (_, i) => i);
  const pairs = blocks.flatMap((r) => blocks.map((c) => [r, c]));
  const each = (f: (r: number, c: number) => string) => pairs.map(([r, c]) => f(r, c)).join('\n    ');
  const [left, right, result] = [
    `subgroup_matrix_left<f16, ${size}, ${size}>`,
    `subgroup_matrix_right<f16, ${size}, ${size}>`,
    `subgroup_matrix_result<f32, ${size}, ${size}>`,
  ];
  // A block of an operand's tile, stored as [row][summed index] or transposed.
  const load = (matrix: string, name: 'a' | 'b', isTurned: boolean, byColumns: boolean, first: string) => {
    const stride = isTurned ? MATRIX_TILE.rows : depth;
    const at = isTurned ? `k * ${stride}u + ${first}` : `(${first}) * ${stride}u + k`;
    const order = byColumns ? 'col_major' : 'row_major';
    return `subgroupMatrixLoad<${matrix}, ${order}>(&${name}Tile, ${at}, ${stride}u)`;
  };

  return {
    key: `SubgroupMatMul_${size}_${flags}`,
    extensions: ['f16', 'subgroups', 'chromium_experimental_subgroup_matrix'],
    reads: { a: type, b: type },
    writes: { c: type },
    uniforms: PRODUCT_UNIFORMS,
    code: `
var<workgroup> aTile: array<f16, ${rows * depth}>;
var<workgroup> bTile: array<f16, ${columns * depth}>;
var<workgroup> cTile: array<f32, ${rows * columns}>;

${loadFour('a', vector)}
${loadFour('b', vector)}

@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32,
        @builtin(subgroup_id) quarter: u32) {
  let row0 = group.y * ${rows}u;
  let column0 = group.x * ${columns}u;
  let aBase = group.z * uniforms.aBatch + uniforms.aOffset;
  let bBase = group.z * uniforms.bBatch + uniforms.bOffset;
  let quarterRow = quarter / 2u * 32u;
  let quarterColumn = quarter % 2u * 32u;
  ${each((r, c) => `var sum_${r}_${c}: ${result};`)}
  for (var k0 = uniforms.start; k0 < uniforms.end; k0 += ${depth}u) {
    ${fill({ name: 'a', size: 'M', start: 'row0', across: rows, isTurned: transposeA, threads })}
    ${fill({ name: 'b', size: 'N', start: 'column0', across: columns, isTurned: !transposeB, threads })}
    workgroupBarrier();
    for (var k = 0u; k < ${depth}u; k += ${size}u) {
      ${blocks.map((r) => `let left${r} = ${load(left, 'a', transposeA, transposeA, `quarterRow + ${r * size}u`)};`).join('\n      ')}
      ${blocks.map((c) => `let right${c} = ${load(right, 'b', !transposeB, transposeB, `quarterColumn + ${c * size}u`)};`).join('\n      ')}
      ${each((r, c) => `sum_${r}_${c} = subgroupMatrixMultiplyAccumulate(left${r}, right${c}, sum_${r}_${c});`)}
    }
    workgroupBarrier();
  }
  ${each((r, c) => `subgroupMatrixStore<row_major>(&cTile, (quarterRow + ${r * size}u) * ${columns}u + quarterColumn + ${c * size}u, sum_${r}_${c}, ${columns}u);`)}
  workgroupBarrier();
  for (var i = thread * 4u; i < ${rows * columns}u; i += ${4 * threads}u) {
    let sum = vec4<f32>(cTile[i], cTile[i + 1u], cTile[i + 2u], cTile[i + 3u]);
    store(group.z, row0 + i / ${columns}u, column0 + i % ${columns}u, sum${scaled ? ' * uniforms.scale' : ''});
  }
}

${storeFour(vector, accumulate)}`,
  };
}

interface Fill {
  name: 'a' | 'b';
  /** The uniform that counts its rows (or columns) of C. */
  size: 'M' | 'N';
  start: string;
  across: number;
  /** Whether the summed dimension is outermost. */
  isTurned: boolean;
  threads: number;
}

/** Loads a tile in its stored order, rounded to float16; zero outside the matrix. */
function fill({ name, size, start, across, isTurned, threads }: Fill): string {
  const { depth } = MATRIX_TILE;
  const [inner, outer] = isTurned ? [across, depth] : [depth, across];
  const [innerStart, outerStart] = isTurned ? [start, 'k0'] : ['k0', start];
  const [innerEnd, outerEnd] = isTurned
    ? [`uniforms.${size}`, 'uniforms.K']
    : ['uniforms.K', `uniforms.${size}`];
  return `for (var i = thread * 4u; i < ${inner * outer}u; i += ${4 * threads}u) {
      let x = ${innerStart} + i % ${inner}u;
      let y = ${outerStart} + i / ${inner}u;
      var value = vec4<f32>();
      if (x < ${innerEnd} && y < ${outerEnd}) { value = load_${name}(${name}Base + y * ${innerEnd} + x, ${innerEnd} - x); }
      for (var j = 0u; j < 4u; j++) { ${name}Tile[i + j] = f16(value[j]); }
    }`;
}
