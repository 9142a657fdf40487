import type { Exchangeable } from './collectives.ts';
import { CollectivesError } from './errors.ts';

/** MPI counts elements in 32 bits. */
const MOST = 2 ** 31 - 1;

/** Checks the arrays of an operation that scatters or gathers `size` parts. */
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
      `${operation}: got ${own.length} elements a rank and ${values.length} in all, ` +
        `expected ${size} times as many in all for ${size} ranks`,
    );
  }
  requireCount(operation, values);
}

/** Checks that two arrays have no memory in common. */
export function requireApart(operation: string, values: Exchangeable, own: Exchangeable): void {
  const startsBeforeEnd = (a: Exchangeable, b: Exchangeable) => a.byteOffset < b.byteOffset + b.byteLength;
  if (own.buffer !== values.buffer || !startsBeforeEnd(own, values) || !startsBeforeEnd(values, own)) return;
  throw new CollectivesError(`${operation}: got two views of the same memory, expected memory of their own`);
}

/** Whether `own` is part `rank` of `values` itself, so that it need not be copied there. */
export function isInPlace(values: Exchangeable, own: Exchangeable, rank: number): boolean {
  return own.buffer === values.buffer && own.byteOffset === values.byteOffset + rank * own.byteLength;
}

/** @throws CollectivesError for more elements than MPI can count */
export function requireCount(operation: string, values: Exchangeable): void {
  if (values.length <= MOST) return;
  throw new CollectivesError(
    `${operation}: got ${values.length} elements, expected at most ${MOST}; use several calls`,
  );
}

/** @throws CollectivesError for a root that is no rank */
export function requireRoot(root: number, size: number): void {
  if (Number.isInteger(root) && root >= 0 && root < size) return;
  throw new CollectivesError(`broadcast: got root ${root}, expected a rank from 0 to ${size - 1}`);
}

/** @throws CollectivesError for bytes, which have no sum */
export function requireSummable(operation: string, values: unknown): void {
  if (values instanceof Float32Array || values instanceof Float64Array || values instanceof Uint16Array)
    return;
  const got = (values as object | undefined)?.constructor?.name ?? typeof values;
  throw new CollectivesError(
    `${operation}: got ${got}, expected Float32Array, Float64Array, or Uint16Array with the bits of bfloat16`,
  );
}
