/** Meshes of devices, over which the `xla` backend splits tensors and the work of a step. */
import * as tf from '@tensorflow/tfjs-core';

/**
 * Axes of a mesh, the outermost first. `data` and `fsdp` split the rows of a batch; `fsdp` also splits weights, gradients
 * and moments (ZeRO-3); `tensor` splits attention heads and feed-forward channels.
 */
export const meshAxes = ['data', 'fsdp', 'tensor'] as const;
/** An axis of a mesh. */
export type MeshAxis = (typeof meshAxes)[number];

/** Devices along each axis, 1 by default; their product is the number of devices. */
export type Mesh = Readonly<Partial<Record<MeshAxis, number>>>;

/** For each dimension of a tensor, the axes that split it; `[]` keeps it whole. */
export type TensorSharding = readonly (readonly MeshAxis[])[];

/** Returns the number of devices of a mesh, or of some of its axes. */
export function meshSize(mesh: Mesh, axes: readonly MeshAxis[] = meshAxes): number {
  return axes.reduce((size, axis) => size * (mesh[axis] ?? 1), 1);
}

/** Formats a mesh for users, such as `data 2 × tensor 4`. */
export function describeMesh(mesh: Mesh): string {
  return meshAxes.flatMap((axis) => ((mesh[axis] ?? 1) > 1 ? [`${axis} ${mesh[axis]}`] : [])).join(' × ');
}

/** What a backend with a mesh does. */
interface Sharder {
  shard?(tensor: tf.TensorInfo, sharding: TensorSharding): void;
  shardLike?(tensor: tf.TensorInfo, other: tf.TensorInfo): void;
}

/**
 * Splits a tensor that is kept from step to step over the mesh of the backend: each device holds its part. Axes that do not
 * divide a dimension keep it whole. The value that replaces it in place is split alike. Does nothing without a mesh.
 */
export function shardTensor(tensor: tf.TensorInfo, sharding: TensorSharding): void {
  (tf.backend() as tf.KernelBackend & Sharder).shard?.(tensor, sharding);
}

/** Splits a tensor like another of its shape, such as a gradient like its weight. */
export function shardLike(tensor: tf.TensorInfo, other: tf.TensorInfo): void {
  (tf.backend() as tf.KernelBackend & Sharder).shardLike?.(tensor, other);
}
