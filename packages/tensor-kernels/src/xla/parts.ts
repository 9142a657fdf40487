/** Parts of arrays of the host, one for each device of a mesh; the last axis of the mesh varies fastest. */
import type { HostArray } from '@meap/pjrt';
import * as tf from '@tensorflow/tfjs-core';
import { type Mesh, type MeshAxis, meshAxes, meshSize, type TensorSharding } from '../mesh.ts';

const { sizeFromShape } = tf.util;

/** A block of an array: along each dimension, its first position and its length. */
interface Block {
  readonly starts: readonly number[];
  readonly shape: readonly number[];
  readonly key: string;
}

/** Returns the block of an array that a device holds. */
function blockOf(
  shape: readonly number[],
  sharding: TensorSharding | undefined,
  mesh: Mesh,
  device: number,
): Block {
  const position = (axis: MeshAxis) => {
    const inner = meshAxes.slice(meshAxes.indexOf(axis) + 1);
    return Math.floor(device / meshSize(mesh, inner)) % (mesh[axis] ?? 1);
  };
  const starts: number[] = [];
  const sizes = shape.map((length, dimension) => {
    const axes = sharding?.[dimension] ?? [];
    const part = axes.reduce((index, axis) => index * (mesh[axis] ?? 1) + position(axis), 0);
    const size = length / meshSize(mesh, axes);
    starts.push(part * size);
    return size;
  });
  return { starts, shape: sizes, key: `${starts}` };
}

/** Calls `copy` for the runs of a block that are contiguous in the whole array and in the block. */
function forEachRun(
  shape: readonly number[],
  { starts, shape: sizes }: Block,
  copy: (whole: number, part: number, length: number) => void,
): void {
  // Dimensions after the last split one are contiguous.
  let split = shape.length - 1;
  while (split > 0 && sizes[split] === shape[split]) split--;
  const inner = sizeFromShape(shape.slice(split + 1));
  const length = (sizes[split] ?? 1) * inner;
  const runs = sizeFromShape(sizes.slice(0, Math.max(0, split)));
  for (let run = 0; run < runs; run++) {
    let [rest, whole, stride] = [run, (starts[split] ?? 0) * inner, (shape[split] ?? 1) * inner];
    for (let dimension = split - 1; dimension >= 0; dimension--) {
      whole += (starts[dimension] + (rest % sizes[dimension])) * stride;
      rest = Math.floor(rest / sizes[dimension]);
      stride *= shape[dimension];
    }
    copy(whole, run * length, length);
  }
}

/** Returns each device's part of an array, and the parts' shape; devices with equal parts share an array. */
export function split<T extends HostArray>(
  values: T,
  shape: readonly number[],
  sharding: TensorSharding | undefined,
  mesh: Mesh,
): { parts: T[]; shape: readonly number[] } {
  const known = new Map<string, T>();
  const blocks = Array.from({ length: meshSize(mesh) }, (_, i) => blockOf(shape, sharding, mesh, i));
  const parts = blocks.map((block) => {
    const size = sizeFromShape([...block.shape]);
    if (size === values.length) return values;
    let part = known.get(block.key);
    if (!part) {
      part = new (values.constructor as new (size: number) => T)(size);
      const target = part as Float32Array;
      forEachRun(shape, block, (whole, start, length) =>
        target.set((values as Float32Array).subarray(whole, whole + length), start),
      );
      known.set(block.key, part);
    }
    return part;
  });
  return { parts, shape: blocks[0].shape };
}

/** Returns the devices that together hold an array, each part once. */
export function holders(
  shape: readonly number[],
  sharding: TensorSharding | undefined,
  mesh: Mesh,
): number[] {
  const found = new Map<string, number>();
  for (let device = meshSize(mesh) - 1; device >= 0; device--) {
    found.set(blockOf(shape, sharding, mesh, device).key, device);
  }
  return [...found.values()].reverse();
}

/** Returns an array from the parts of {@link holders}. */
export function join<T extends HostArray>(
  parts: readonly T[],
  shape: readonly number[],
  sharding: TensorSharding | undefined,
  mesh: Mesh,
): T {
  if (parts.length === 1) return parts[0];
  const size = sizeFromShape([...shape]);
  const values = new (parts[0].constructor as new (size: number) => T)(size);
  for (const [i, device] of holders(shape, sharding, mesh).entries()) {
    const part = parts[i] as Float32Array;
    forEachRun(shape, blockOf(shape, sharding, mesh, device), (whole, start, length) =>
      (values as Float32Array).set(part.subarray(start, start + length), whole),
    );
  }
  return values;
}
