/** Text of kernels in which a workgroup works on one row: sums and maxima over its threads. */

/** Opens the body of a kernel in which a workgroup works on row `row` of `rows`. */
export const rowMain = (threads: number) => `
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= uniforms.rows) { return; }`;

/** Threads for a row of so many numbers: a power of two, no more than there is work for. */
export function threadsFor(numbers: number): number {
  return Math.min(256, Math.max(32, 2 ** Math.ceil(Math.log2(numbers))));
}

/** Declares `name(x, thread)`: one value combined over the workgroup's threads, the same for all of them. */
export function combine(name: string, type: string, expression: string, threads: number): string {
  return `
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
}`;
}
