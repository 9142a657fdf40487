/** Shared by both kinds of matrix products: variants, and loads and stores of four numbers. */
import type { Precision } from '../precision.ts';

export interface Tile {
  rows: number;
  columns: number;
  depth: number;
}

export interface Variant {
  tile: Tile;
  transposeA: boolean;
  transposeB: boolean;
  /** Whether loads and stores of all three matrices take four numbers. */
  vector: boolean;
  accumulate: boolean;
  scaled: boolean;
  /** Precision to which inputs are rounded. */
  precision: Precision;
}

export const PRODUCT_UNIFORMS = {
  M: 'u32',
  N: 'u32',
  K: 'u32',
  start: 'u32',
  end: 'u32',
  aBatch: 'u32',
  bBatch: 'u32',
  aOffset: 'u32',
  bOffset: 'u32',
  cOffset: 'u32',
  scale: 'f32',
} as const;

/** Declares `store`: writes four numbers of a row of C, skipping those outside. */
export function storeFour(vector: boolean, accumulate: boolean): string {
  return `
fn store(batch: u32, row: u32, column: u32, sum: vec4<f32>) {
  if (row >= uniforms.M || column >= uniforms.N) { return; }
  let at = (batch * uniforms.M + row) * uniforms.N + column + uniforms.cOffset;
  ${
    vector
      ? `c[at / 4u] ${accumulate ? '+=' : '='} sum;`
      : `let count = min(4u, uniforms.N - column);
  for (var i = 0u; i < count; i++) { c[at + i] ${accumulate ? '+=' : '='} sum[i]; }`
  }
}`;
}

/** Declares `load_name`: four numbers from an offset, of which the first `count` are inside. */
export function loadFour(name: string, isVector: boolean): string {
  const four = (i: number) => `select(0.0, ${name}[at + min(${i}u, last)], ${i}u <= last)`;
  return isVector
    ? `fn load_${name}(at: u32, count: u32) -> vec4<f32> { return ${name}[at / 4u]; }`
    : `fn load_${name}(at: u32, count: u32) -> vec4<f32> {
  let last = min(count, 4u) - 1u;
  return vec4<f32>(${name}[at], ${[1, 2, 3].map(four).join(', ')});
}`;
}
