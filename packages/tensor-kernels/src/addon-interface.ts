/** Numbers in float32, or the bits of bfloat16. */
export type Matrix = Float32Array | Uint16Array;

/** Sizes of attention: T queries at the end of S keys, H query heads, G key-value heads of D elements. */
interface Heads {
  B: number;
  T: number;
  H: number;
  G: number;
  D: number;
  /** Latest keys that a query sees; 0: all. */
  window: number;
  scale: number;
}

interface Attention extends Heads {
  S: number;
  q: Float32Array;
  k: Float32Array;
  v: Float32Array;
  segmentIds: Int32Array | null;
  prefixIds: Int32Array | null;
  out: Float32Array;
  logSumExp: Float32Array;
}

/** Two inputs and an output of n elements. */
interface Elementwise {
  n: number;
  a: Float32Array;
  b: Float32Array;
  y: Float32Array;
}

/**
 * The one argument of each kernel: sizes, inputs, then outputs. Shapes are in native/kernels.h; the addon checks every
 * field, and that arrays hold at least what the sizes need.
 */
export interface KernelArguments {
  /** c = plus + op(a) · op(b) for each matrix of the batch; a shared operand is one matrix for all of them. */
  gemm: {
    batch: number;
    M: number;
    N: number;
    K: number;
    transposeA: boolean;
    transposeB: boolean;
    sharedA: boolean;
    sharedB: boolean;
    bfloat16: boolean;
    a: Float32Array;
    b: Matrix;
    plus: Float32Array | null;
    c: Float32Array;
  };
  attention: Attention;
  attentionGrad: Attention & { dOut: Float32Array; dq: Float32Array; dk: Float32Array; dv: Float32Array };
  /** Writes k and v behind the `lengths[b]` tokens that `keys[b]` and `values[b]` hold. */
  cachedAttention: Heads & {
    q: Float32Array;
    k: Float32Array;
    v: Float32Array;
    out: Float32Array;
    lengths: readonly number[];
    keys: readonly Float32Array[];
    values: readonly Float32Array[];
  };
  linearCrossEntropy: {
    N: number;
    V: number;
    C: number;
    bfloat16: boolean;
    x: Float32Array;
    weight: Matrix;
    targets: Int32Array;
    mask: Float32Array | null;
    losses: Float32Array;
    greedyIds: Int32Array | null;
    dx: Float32Array | null;
    dWeight: Float32Array | null;
  };
  rmsNorm: {
    rows: number;
    C: number;
    epsilon: number;
    x: Float32Array;
    weight: Float32Array;
    y: Float32Array;
  };
  /** `plus` is added to `dx`. */
  rmsNormGrad: {
    rows: number;
    C: number;
    epsilon: number;
    dy: Float32Array;
    x: Float32Array;
    weight: Float32Array;
    plus: Float32Array | null;
    dx: Float32Array;
    dWeight: Float32Array;
  };
  /** `tableBatch` is 1, or B for tables that differ by row. */
  rotary: {
    B: number;
    T: number;
    H: number;
    D: number;
    tableBatch: number;
    inverse: boolean;
    x: Float32Array;
    cos: Float32Array;
    sin: Float32Array;
    y: Float32Array;
  };
  swiGlu: { n: number; gate: Float32Array; up: Float32Array; y: Float32Array };
  swiGluGrad: {
    n: number;
    dy: Float32Array;
    gate: Float32Array;
    up: Float32Array;
    dGate: Float32Array;
    dUp: Float32Array;
  };
  /** An element whose 16 random bits are below `dropBelow` becomes 0. */
  dropout: {
    rows: number;
    n: number;
    dropBelow: number;
    keys: Int32Array;
    x: Float32Array;
    y: Float32Array;
  };
  embedding: { n: number; V: number; C: number; ids: Int32Array; table: Matrix; y: Float32Array };
  embeddingGrad: {
    n: number;
    V: number;
    C: number;
    dy: Float32Array;
    ids: Int32Array;
    dTable: Float32Array;
  };
  /** `correction1` is 1 − beta1^step, `correction2` 1 − beta2^step. */
  adamW: {
    n: number;
    learningRate: number;
    beta1: number;
    beta2: number;
    epsilon: number;
    weightDecay: number;
    gradientScale: number;
    correction1: number;
    correction2: number;
    parameter: Float32Array;
    gradient: Float32Array;
    firstMoment: Float32Array;
    secondMoment: Float32Array;
  };
  sumOfSquares: { n: number; x: Float32Array };
  toBfloat16: { n: number; x: Float32Array; y: Uint16Array };
  fromBfloat16: { n: number; x: Uint16Array; y: Float32Array };
  add: Elementwise;
  multiply: Elementwise;
  scale: { n: number; factor: number; a: Float32Array; y: Float32Array };
}

/** What the addon exports besides kernels. */
interface Controls {
  /** Dense multiply-add rate of all threads in GFLOP/s; takes about a tenth of a second. */
  measurePeak(bfloat16: boolean): number;
  /** Those this build has and this processor supports, best first. */
  instructionSets(): string[];
  instructionSet(): string;
  setInstructionSet(name: string): void;
  numThreads(): number;
  setNumThreads(threads: number): void;
  /** Memory the kernels hold for packing and tiles. */
  scratchBytes(): number;
  /** Uninitialised, aligned; freed with its last reference. */
  allocate(bytes: number): ArrayBuffer;
  /** Gives a buffer's memory back at once; its address range goes when the buffer is collected. */
  discard(buffer: ArrayBuffer): void;
}

/** The compiled kernels. */
export type NativeAddon = Controls & {
  readonly [Name in keyof KernelArguments]: (
    fields: KernelArguments[Name],
  ) => Name extends 'sumOfSquares' ? number : void;
};

/** A function of a binary; that of a kernel takes the values of its `fields`, in their order. */
type BinaryFunction = ((...values: unknown[]) => unknown) & { readonly fields?: readonly string[] };

/**
 * Gives each kernel of a binary one object as its argument.
 *
 * The binary names the fields, so their order is written down in C++ alone. It gets their values instead of the object,
 * since Node-API takes 0.2 µs to read a property: gemm would cost 2 µs more a call.
 */
export function withNamedFields(binary: object): NativeAddon {
  const functions = Object.entries(binary as Record<string, BinaryFunction>).map(([name, run]) => {
    const { fields } = run;
    if (!fields) return [name, run];
    const named = (object: Record<string, unknown>) => {
      const values = new Array(fields.length);
      for (let i = 0; i < values.length; i++) values[i] = object[fields[i]];
      return run(...values);
    };
    return [name, named];
  });
  return Object.fromEntries(functions);
}
