/**
 * Text of kernels in which a workgroup works on one row: sums and maxima over its threads, through subgroup operations
 * where the adapter has them and else through workgroup memory alone.
 */
import type { GpuDevice } from './device.ts';

/** How the threads of a workgroup work on a row together. */
export interface RowGroup {
  threads: number;
  /** Belongs into the kernel's key. */
  key: string;
  /** WGSL extensions that the text uses. */
  extensions: string[];
  /** Parameters of `main`, one of them `thread`. */
  parameters: string;
  /** Declares what {@link combine} refers to. */
  declarations: string;
  /** Opens the body of `main`. */
  prologue: string;
  /** Declares `name(x, thread)`: one value combined over the workgroup's threads, the same for all of them. */
  combine(name: string, type: string, expression: string): string;
}

/** Threads for a row of so many numbers: a power of two, no more than there is work for. */
export function rowGroup(gpu: GpuDevice, numbers: number): RowGroup {
  const threads = Math.min(256, Math.max(32, 2 ** Math.ceil(Math.log2(numbers))));
  // Only whole subgroups: what lanes without a thread hold is anything.
  const isWhole = gpu.largestSubgroup > 0 && gpu.largestSubgroup <= threads;
  return isWhole ? subgroupGroup(threads) : plainGroup(threads);
}

/** Opens `main` of a kernel in which a workgroup works on row `row` of `rows`. */
export const rowMain = ({ threads, declarations, parameters, prologue }: RowGroup) => `
${declarations}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, ${parameters}) {
  let row = group.y * groups.x + group.x;
  if (row >= uniforms.rows) { return; }
  ${prologue}`;

const THREAD = '@builtin(local_invocation_index) thread: u32';

function plainGroup(threads: number): RowGroup {
  return {
    threads,
    key: String(threads),
    extensions: [],
    parameters: THREAD,
    declarations: '',
    prologue: '',
    combine: (name, type, expression) => `
var<workgroup> ${name}Parts: array<${type}, ${threads}>;
fn ${name}(x: ${type}, thread: u32) -> ${type} {
  ${name}Parts[thread] = x;
  workgroupBarrier();
  for (var half = ${threads / 2}u; half > 0u; half /= 2u) {
    if (thread < half) {
      let a = ${name}Parts[thread];
      let b = ${name}Parts[thread + half];
      ${name}Parts[thread] = ${expression};
    }
    workgroupBarrier();
  }
  let result = ${name}Parts[0];
  workgroupBarrier();
  return result;
}`,
  };
}

/** Each subgroup by exchange between its lanes, always the same pairs, then all subgroups in their order. */
function subgroupGroup(threads: number): RowGroup {
  return {
    threads,
    key: `${threads}_subgroups`,
    extensions: ['subgroups'],
    parameters: `${THREAD}, @builtin(subgroup_size) subgroupSize: u32, @builtin(subgroup_id) subgroupId: u32,
        @builtin(subgroup_invocation_id) lane: u32`,
    declarations: 'var<private> subgroup: vec3<u32>;',
    prologue: 'subgroup = vec3<u32>(subgroupSize, subgroupId, lane);',
    combine: (name, type, expression) => `
// No subgroup has fewer than four lanes.
var<workgroup> ${name}Parts: array<${type}, ${threads / 4}>;
fn ${name}(x: ${type}, thread: u32) -> ${type} {
  var result = x;
  for (var distance = subgroup.x / 2u; distance > 0u; distance /= 2u) {
    let a = result;
    let b = subgroupShuffleXor(result, distance);
    result = ${expression};
  }
  if (subgroup.z == 0u) { ${name}Parts[subgroup.y] = result; }
  workgroupBarrier();
  result = ${name}Parts[0];
  for (var i = 1u; i < ${threads}u / subgroup.x; i++) {
    let a = result;
    let b = ${name}Parts[i];
    result = ${expression};
  }
  workgroupBarrier();
  return result;
}`,
  };
}
