/** Runs WGSL kernels: compiles the text, binds buffers, and records the call in the backend's command stream. */
import type * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from './backend-interface.ts';

/** The text of a kernel and its bindings, in order. */
export interface Kernel {
  /** Unique for each text that a template generates. */
  key: string;
  /** WGSL extensions, such as `f16`. */
  extensions?: readonly string[];
  /** Buffers by name with their element types, such as `f32` or `vec4<f32>`. */
  reads: Record<string, string>;
  writes: Record<string, string>;
  /** Scalars by name, `u32` or `f32`; in WGSL `uniforms.name`. */
  uniforms: Record<string, 'u32' | 'f32'>;
  /** Declarations and `main` with its workgroup size. */
  code: string;
}

/** Tensors and uniforms of a call by the names of the kernel, which ignores others. */
type Tensors = Record<string, tf.TensorInfo | undefined>;
type Uniforms = Record<string, number>;

/** Threads of a workgroup in elementwise kernels. */
export const THREADS = 256;

/** A kernel over elements: `body` computes element `i` of `count`. */
export function elementwise(
  key: string,
  reads: Kernel['reads'],
  writes: Kernel['writes'],
  uniforms: Kernel['uniforms'],
  body: string,
): Kernel {
  const code = `${ELEMENTWISE_MAIN}
${body}
}`;
  return { key, reads, writes, uniforms: { count: 'u32', ...uniforms }, code };
}

const ELEMENTWISE_MAIN = `
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let i = (group.y * groups.x + group.x) * ${THREADS}u + thread;
  if (i >= uniforms.count) { return; }`;

/** Workgroups for a number of elements; a dimension of the grid has a limit. */
function workgroupsFor(elements: number, perGroup = THREADS): [x: number, y: number] {
  const groups = Math.ceil(elements / perGroup);
  const x = Math.min(groups, 32768);
  return [x, Math.ceil(groups / x)];
}

/** Records a call of an {@link elementwise} kernel. */
export function runElements(
  backend: WebgpuBackend,
  kernel: Kernel,
  count: number,
  tensors: Tensors,
  uniforms: Uniforms = {},
): void {
  run(backend, kernel, tensors, { count, ...uniforms }, workgroupsFor(count));
}

/** Records a call of a `rowKernel`, a workgroup for each row. */
export function runRows(
  backend: WebgpuBackend,
  kernel: Kernel,
  rows: number,
  tensors: Tensors,
  uniforms: Uniforms = {},
): void {
  run(backend, kernel, tensors, { rows, ...uniforms }, workgroupsFor(rows, 1));
}

/** Records a call; outputs exist already, and may hold what the kernel changes in place. */
export function run(
  backend: WebgpuBackend,
  kernel: Kernel,
  tensors: Tensors,
  uniforms: Uniforms,
  workgroups: [x: number, y?: number, z?: number],
): void {
  backend.requireHealthy();
  const pipeline = pipelineOf(backend, kernel);
  const bound = Object.keys({ ...kernel.reads, ...kernel.writes }).map((name) => tensors[name]!);
  // An upload may end the open pass.
  const buffers = bound.map((tensor) => backend.buffer(tensor));
  for (const { dataId } of bound) backend.commandQueueOwnedIds.add(dataId);
  for (const name of Object.keys(kernel.writes)) backend.forgetHostValues(tensors[name]!);
  const resources = [...buffers, ...uniformBuffer(backend, kernel, uniforms)];
  const bindGroup = backend.device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: resources.map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  backend.ensureCommandEncoderReady();
  const isTimed = backend.activeTimers !== undefined;
  if (isTimed && backend.supportTimestampQuery) {
    backend.endComputePassEncoder();
    backend.querySet ??= backend.device.createQuerySet({ type: 'timestamp', count: 2 });
    const timestampWrites = {
      querySet: backend.querySet,
      beginningOfPassWriteIndex: 0,
      endOfPassWriteIndex: 1,
    };
    backend.computePassEncoder = backend.commandEncoder!.beginComputePass({ timestampWrites });
  } else backend.computePassEncoder ??= backend.commandEncoder!.beginComputePass();
  backend.computePassEncoder.setPipeline(pipeline);
  backend.computePassEncoder.setBindGroup(0, bindGroup);
  backend.computePassEncoder.dispatchWorkgroups(...workgroups);
  backend.dispatchCountInPass += 1;
  if (isTimed) {
    backend.endComputePassEncoder();
    backend.activeTimers!.push({ name: kernel.key, query: backend.getQueryTime() });
  } else if (backend.dispatchCountInPass >= DISPATCHES_PER_SUBMIT) {
    backend.endComputePassEncoder();
    backend.submitQueue();
  }
}

/** As in TensorFlow.js: often enough that the GPU is not idle while the host records. */
const DISPATCHES_PER_SUBMIT = 15;

function uniformBuffer(backend: WebgpuBackend, kernel: Kernel, values: Record<string, number>): GPUBuffer[] {
  const fields = Object.entries(kernel.uniforms);
  if (fields.length === 0) return [];
  const bytes = new DataView(new ArrayBuffer(16 * Math.ceil(fields.length / 4)));
  for (const [i, [name, type]] of fields.entries()) {
    if (type === 'f32') bytes.setFloat32(4 * i, values[name], true);
    else bytes.setUint32(4 * i, values[name], true);
  }
  const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.UNIFORM;
  const buffer = backend.bufferManager.acquireBuffer(bytes.byteLength, usage);
  backend.queue.writeBuffer(buffer, 0, bytes.buffer);
  backend.uniformPendingDisposal.push(buffer);
  return [buffer];
}

function pipelineOf(backend: WebgpuBackend, kernel: Kernel): GPUComputePipeline {
  const cached = backend.pipelines.get(kernel.key);
  if (cached) return cached;
  const { device } = backend;
  device.pushErrorScope('validation');
  const module = device.createShaderModule({ label: kernel.key, code: textOf(kernel) });
  const pipeline = device.createComputePipeline({
    label: kernel.key,
    layout: 'auto',
    compute: { module, entryPoint: 'main' },
  });
  backend.watch(device.popErrorScope(), `kernel ${kernel.key}`);
  backend.pipelines.set(kernel.key, pipeline);
  return pipeline;
}

function textOf({ extensions = [], reads, writes, uniforms, code }: Kernel): string {
  const buffers = [
    ...Object.entries(reads).map(([name, type]) => `var<storage, read> ${name}: array<${type}>;`),
    ...Object.entries(writes).map(([name, type]) => `var<storage, read_write> ${name}: array<${type}>;`),
  ];
  const fields = Object.entries(uniforms).map(([name, type]) => `${name}: ${type}`);
  const lines = buffers.map((line, i) => `@group(0) @binding(${i}) ${line}`);
  if (fields.length > 0) {
    lines.push(
      `struct Uniforms { ${fields.join(', ')} }`,
      `@group(0) @binding(${buffers.length}) var<uniform> uniforms: Uniforms;`,
    );
  }
  const directives = extensions.map((name) => `enable ${name};`);
  // The compiler cannot prove that the subgroup size is uniform.
  if (extensions.includes('subgroups')) directives.push('diagnostic(off, subgroup_uniformity);');
  return [...directives, ...lines, code].join('\n');
}
