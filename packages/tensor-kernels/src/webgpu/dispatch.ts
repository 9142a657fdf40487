/** Running a WGSL kernel: its text, its pipeline, its bindings, all in the backend's command stream. */
import type * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from './backend-interface.ts';

/** A kernel's text and what it binds, in the order of the bindings. */
export interface Kernel {
  /** Tells apart all texts that one template makes. */
  key: string;
  /** WGSL extensions that the text uses, such as `f16`. */
  extensions?: readonly string[];
  /** Buffers by name with their element types, such as `f32` or `vec4<f32>`. */
  reads: Record<string, string>;
  writes: Record<string, string>;
  /** Scalars by name, `u32` or `f32`; in WGSL `uniforms.name`. */
  uniforms: Record<string, 'u32' | 'f32'>;
  /** Declarations, and the function `main` with its workgroup size. */
  code: string;
}

/** What one run of a kernel binds; names as in the kernel. */
export interface Binding {
  reads: Record<string, tf.TensorInfo>;
  writes: Record<string, tf.TensorInfo>;
  uniforms: Record<string, number>;
  workgroups: [x: number, y?: number, z?: number];
}

/** Threads of a workgroup in all kernels that work element by element. */
export const THREADS = 256;

/** Opens the body of a kernel that works on element `i` of `count`. */
export const ELEMENTWISE_MAIN = `
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
  let i = (group.y * groups.x + group.x) * ${THREADS}u + thread;
  if (i >= uniforms.count) { return; }`;

/** Workgroups for so many elements; a dimension of the grid has a limit. */
export function workgroupsFor(elements: number, perGroup = THREADS): [x: number, y: number] {
  const groups = Math.ceil(elements / perGroup);
  const x = Math.min(groups, 32768);
  return [x, Math.ceil(groups / x)];
}

/** Records one run; outputs exist already, and may hold what the kernel changes in place. */
export function run(backend: WebgpuBackend, kernel: Kernel, binding: Binding): void {
  const { reads, writes, uniforms, workgroups } = binding;
  backend.requireHealthy();
  const pipeline = pipelineOf(backend, kernel);
  const tensors = [
    ...Object.keys(kernel.reads).map((name) => reads[name]),
    ...Object.keys(kernel.writes).map((name) => writes[name]),
  ];
  // Uploads may end the pass that is open.
  const buffers = tensors.map((tensor) => backend.buffer(tensor));
  for (const { dataId } of tensors) backend.commandQueueOwnedIds.add(dataId);
  for (const tensor of Object.values(writes)) backend.forgetHostValues(tensor);
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

/** As TensorFlow.js's: often enough that the GPU is never idle while the host records. */
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
  // Its compiler cannot see that all lanes of a subgroup know one subgroup size.
  if (extensions.includes('subgroups')) directives.push('diagnostic(off, subgroup_uniformity);');
  return [...directives, ...lines, code].join('\n');
}
