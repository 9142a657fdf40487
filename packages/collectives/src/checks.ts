import type { Exchangeable } from './collectives.ts';
import { CollectivesError } from './errors.ts';

/** MPI counts elements with 32-bit integers. */
const MAX_ELEMENTS = 2 ** 31 - 1;

/** @throws CollectivesError unless `values` has the type of `own` and `size` times its length */
export function requireLengths(
  operation: string,
  values: Exchangeable,
  own: Exchangeable,
  size: number,
): void {
  if (values.constructor !== own.constructor) {
    throw new CollectivesError(
      `${operation}: got ${own.constructor.name} and ${values.constructor.name}, expected arrays of one type`,
    );
  }
  if (values.length !== size * own.length) {
    throw new CollectivesError(
      `${operation}: got ${own.length} elements per rank and ${values.length} in total, ` +
        `expected a total of ${size} times as many for ${size} ranks`,
    );
  }
  requireCount(operation, values);
}

/** @throws CollectivesError for arrays that overlap in memory */
export function requireApart(operation: string, values: Exchangeable, own: Exchangeable): void {
  const startsBeforeEnd = (a: Exchangeable, b: Exchangeable) => a.byteOffset < b.byteOffset + b.byteLength;
  if (own.buffer !== values.buffer || !startsBeforeEnd(own, values) || !startsBeforeEnd(values, own)) return;
  throw new CollectivesError(`${operation}: got overlapping views of one buffer, expected separate memory`);
}

/** Whether `own` is part `rank` of `values` in memory. */
export function isInPlace(values: Exchangeable, own: Exchangeable, rank: number): boolean {
  return own.buffer === values.buffer && own.byteOffset === values.byteOffset + rank * own.byteLength;
}

/** @throws CollectivesError for more elements than MPI can count */
export function requireCount(operation: string, values: Exchangeable): void {
  if (values.length <= MAX_ELEMENTS) return;
  throw new CollectivesError(
    `${operation}: got ${values.length} elements, expected at most ${MAX_ELEMENTS}; use several calls`,
  );
}

/** @throws CollectivesError for a root that is not a rank */
export function requireRoot(root: number, size: number): void {
  if (Number.isInteger(root) && root >= 0 && root < size) return;
  throw new CollectivesError(`broadcast: got root ${root}, expected a rank from 0 to ${size - 1}`);
}

/** @throws CollectivesError for arrays that cannot be added */
export function requireSummable(operation: string, values: unknown): void {
  if (values instanceof Float32Array || values instanceof Float64Array || values instanceof Uint16Array)
    return;
  const got = (values as object | undefined)?.constructor?.name ?? typeof values;
  throw new CollectivesError(
    `${operation}: got ${got}, expected Float32Array, Float64Array, or Uint16Array with the bits of bfloat16`,
  );
}
