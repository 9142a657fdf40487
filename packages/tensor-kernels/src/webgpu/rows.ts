/**
 * Kernels in which a workgroup processes one row: reductions over its threads, with subgroup operations where the adapter
 * has them, else in workgroup memory.
 */
import type { GpuDevice } from './device.ts';
import type { Kernel } from './dispatch.ts';

/** WGSL of a workgroup that processes a row. */
export interface RowGroup {
  threads: number;
  /** Part of the kernel's key. */
  key: string;
  /** WGSL extensions that the text uses. */
  extensions: string[];
  /** Parameters of `main`, one of them `thread`. */
  parameters: string;
  /** Declares what {@link combine} refers to. */
  declarations: string;
  /** Opens the body of `main`. */
  prologue: string;
  /** Declares `name(x, thread)`, the reduction of x over the threads of the workgroup. */
  combine(name: string, type: string, expression: string): string;
}

/** The group for a row of `numbers` elements: a power of two of threads, at most one for each. */
export function rowGroup(gpu: GpuDevice, numbers: number): RowGroup {
  const threads = Math.min(256, Math.max(32, 2 ** Math.ceil(Math.log2(numbers))));
  // Whole subgroups only: lanes without a thread hold undefined values.
  const isWhole = gpu.largestSubgroup > 0 && gpu.largestSubgroup <= threads;
  return isWhole ? subgroupGroup(threads) : plainGroup(threads);
}

/** The part of a row kernel that is its own. */
interface RowKernel extends Pick<Kernel, 'reads' | 'writes'> {
  /** Uniforms besides `rows`. */
  uniforms: Kernel['uniforms'];
  /** Functions that the body calls; `sumOf` where none are given. */
  functions?: string;
  /** Statements over `row`, `thread` and the threads of the group. */
  body: string;
}

/** A kernel in which a workgroup processes row `row` of `rows`; for `runRows`. */
export function rowKernel(group: RowGroup, name: string, kernel: RowKernel): Kernel {
  const { uniforms, functions = sumOf(group), body, ...bindings } = kernel;
  return {
    ...bindings,
    key: `${name}_${group.key}`,
    extensions: group.extensions,
    uniforms: { rows: 'u32', ...uniforms },
    code: `${functions}
${group.declarations}
@compute @workgroup_size(${group.threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, ${group.parameters}) {
  let row = group.y * groups.x + group.x;
  if (row >= uniforms.rows) { return; }
  ${group.prologue}
${body}
}`,
  };
}

/** Declares `sumOf(x, thread)`. */
export const sumOf = (group: RowGroup) => group.combine('sumOf', 'f32', 'a + b');

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
  for (var distance = ${threads / 2}u; distance > 0u; distance /= 2u) {
    if (thread < distance) {
      let a = ${name}Parts[thread];
      let b = ${name}Parts[thread + distance];
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

/** Reduces each subgroup by shuffles in a fixed order, then the subgroups in order. */
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
// A subgroup has at least four lanes.
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
