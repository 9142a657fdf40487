/**
 * Shardings in programs over a mesh. Weights are stored split over `fsdp` and `tensor`; a product gathers its weight over
 * `fsdp` just before. Where a tensor's sharding matters it is stated; Shardy propagates it to the others, and XLA's
 * partitioner inserts the collectives. Without a mesh all of this is the identity.
 */
import { stablehlo as hlo } from '@meap/pjrt';
import { type Mesh, type MeshAxis, meshSize, type TensorSharding } from '../mesh.ts';

/** The axes that split the rows of a batch. */
export const BATCH = ['data', 'fsdp'] as const satisfies readonly MeshAxis[];

/** Shardings of tensors that are stored split, in the program under construction. */
const stored = new WeakMap<hlo.Tensor, TensorSharding>();

/** Returns a sharding without axes that the mesh lacks or that do not divide their dimension. */
export function fitting(sharding: TensorSharding, shape: readonly number[], mesh: Mesh): TensorSharding {
  return sharding.map((axes, dimension) => {
    const known = axes.filter((axis) => (mesh[axis] ?? 1) > 1);
    return shape[dimension] % meshSize(mesh, known) === 0 ? known : [];
  });
}

/** Whether a sharding splits nothing. */
export const isWhole = (sharding: TensorSharding) => sharding.every((axes) => axes.length === 0);

/** States the sharding of a tensor; axes that do not divide a dimension keep it whole. */
export function sharded<T extends hlo.Tensor>(x: T, sharding: TensorSharding): T {
  const mesh = hlo.currentMesh();
  if (Object.keys(mesh).length === 0) return x;
  return hlo.shard(x, fitting(sharding, x.shape, mesh)) as T;
}

/** States that the first dimension is that of a batch, and others are split as given or whole. */
export function batched<T extends hlo.Tensor>(
  x: T,
  others: Readonly<Record<number, readonly MeshAxis[]>> = {},
): T {
  return sharded(
    x,
    x.shape.map((_, dimension) => (dimension === 0 ? BATCH : (others[dimension] ?? []))),
  );
}

/** Marks a tensor as stored split. */
export function store<T extends hlo.Tensor>(x: T, sharding: TensorSharding | undefined): T {
  if (sharding) stored.set(x, sharding);
  return x;
}

/** The sharding of a tensor that is stored split. */
export const storedSharding = (x: hlo.Tensor): TensorSharding | undefined => stored.get(x);

/**
 * A stored tensor as a product reads it: whole along `fsdp`, split over `tensor`.
 *
 * @param x the tensor, or what it is converted to: bfloat16 is gathered with half the bytes
 */
export function gathered<T extends hlo.Tensor>(
  x: T,
  original: hlo.Tensor,
  keep: readonly MeshAxis[] = ['tensor'],
): T {
  const sharding = stored.get(original);
  if (!sharding) return x;
  const own = x === original ? x : sharded(x, sharding);
  return sharded(
    own,
    sharding.map((axes) => axes.filter((axis) => keep.includes(axis))),
  );
}
