/** Arrays that ranks can add; a Uint16Array holds the bits of bfloat16 numbers. */
export type Summable = Float32Array | Float64Array | Uint16Array;

/** Arrays that ranks can exchange. */
export type Exchangeable = Summable | Uint8Array;

/**
 * The ranks of a run and their collective operations, named as in chapter 6 of the MPI standard.
 *
 * Every rank calls the same operations in the same order with arrays of the same type and length. Calls do not block:
 * operations run one after another on their own thread, and each promise resolves when its arrays may be used again. Sums
 * have the same bits on every rank, and in every run with as many ranks. bfloat16 numbers are added in float32 and
 * rounded to nearest even after each addition.
 *
 * Operations reject with CollectiveTimeoutError when other ranks do not join in time, with CollectivesError when MPI
 * fails.
 */
export interface Collectives {
  /** This process, from 0. */
  readonly rank: number;
  readonly size: number;
  /** Name and version of the MPI library, or `single process`. */
  readonly library: string;
  /** Replaces `values`, `[n]`, by the sum over all ranks. */
  allReduce(values: Summable): Promise<void>;
  /** Adds `values`, `[size · n]`, over all ranks; rank r gets part r in `own`, `[n]`. */
  reduceScatter<Values extends Summable>(values: Values, own: Values): Promise<void>;
  /**
   * Writes `own`, `[n]`, of every rank to `values`, `[size · n]`, in the order of the ranks. `own` may be this rank's part
   * of `values`; then nothing is copied.
   */
  allGather<Values extends Exchangeable>(own: Values, values: Values): Promise<void>;
  /** Replaces `values` by those of rank `root`, 0 by default. */
  broadcast(values: Exchangeable, root?: number): Promise<void>;
  /** Resolves when every rank has called it. */
  barrier(): Promise<void>;
  /** Ends the connection after all pending operations, so that the process can exit. May be called again. */
  close(): Promise<void>;
}
