/** Arrays that ranks can add up; a Uint16Array holds the bits of bfloat16 numbers. */
export type Summable = Float32Array | Float64Array | Uint16Array;

/** Arrays that ranks can exchange. */
export type Exchangeable = Summable | Uint8Array;

/**
 * The ranks of a run, and what they do together.
 *
 * Every rank calls the same operations in the same order with arrays of the same type and length. A call returns at
 * once; operations run one after another beside whatever this process computes, and each promise resolves when its
 * arrays may be used again. Sums have the same bits on every rank, and for one number of ranks in every run. bfloat16
 * numbers are added in float32 and rounded to nearest even after each addition.
 *
 * Each rejects with CollectiveTimeoutError when other ranks do not join in time, with CollectivesError when MPI fails.
 * The terms are those of the MPI standard, chapter 6.
 */
export interface Collectives {
  /** This process, from 0. */
  readonly rank: number;
  readonly size: number;
  /** What connects the ranks: name and version of the MPI library, or `single process`. */
  readonly library: string;
  /** Replaces `values`, `[n]`, by the sum over all ranks. */
  allReduce(values: Summable): Promise<void>;
  /** Adds up `values`, `[size · n]`, over all ranks; rank r gets part r in `own`, `[n]`. */
  reduceScatter<Values extends Summable>(values: Values, own: Values): Promise<void>;
  /**
   * Puts `own`, `[n]`, of every rank into `values`, `[size · n]`, in the order of the ranks; `own` may be this rank's
   * place in `values` itself, and then nothing is copied.
   */
  allGather<Values extends Exchangeable>(own: Values, values: Values): Promise<void>;
  /** Replaces `values` by those of rank `root`, 0 unless given. */
  broadcast(values: Exchangeable, root?: number): Promise<void>;
  /** Resolves when every rank has called it. */
  barrier(): Promise<void>;
  /** Ends the connection after what was asked for; the process can exit. Twice is fine. */
  close(): Promise<void>;
}
