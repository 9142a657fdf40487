/** Numbers in float32, the bits of bfloat16, or quantised numbers with their scales (native/arguments.h has the layout). */
export type Matrix = Float32Array | Uint16Array | Uint8Array;

type Numbers<Name extends string> = Record<Name, number>;
type Flags<Name extends string> = Record<Name, boolean>;
type Floats<Name extends string> = Record<Name, Float32Array>;
type OptionalFloats<Name extends string> = Record<Name, Float32Array | null>;
type Ints<Name extends string> = Record<Name, Int32Array>;
type OptionalInts<Name extends string> = Record<Name, Int32Array | null>;

/** H query heads and G key-value heads of D elements; `window` counts the latest keys that a query sees, 0 is all. */
type Heads = Numbers<'B' | 'T' | 'H' | 'G' | 'D' | 'window' | 'scale'> & Floats<'q' | 'k' | 'v' | 'out'>;

/** T queries at the end of S keys. */
type Attention = Heads & Numbers<'S'> & OptionalInts<'segmentIds' | 'prefixIds'> & Floats<'logSumExp'>;

type Norm = Numbers<'rows' | 'C' | 'epsilon'> & Floats<'x' | 'weight'>;

/** y of n elements from a and b. */
type Elementwise = Numbers<'n'> & Floats<'a' | 'b' | 'y'>;

/**
 * The one argument of each kernel. Shapes are in native/kernels.h; the addon checks every field, and that arrays hold at
 * least what the sizes need.
 */
export interface KernelArguments {
  /** c = plus + op(a) · op(b) for each matrix of the batch; a shared operand is one matrix for all of them. */
  gemm: Numbers<'batch' | 'M' | 'N' | 'K'> &
    Flags<'transposeA' | 'transposeB' | 'sharedA' | 'sharedB' | 'bfloat16'> &
    Floats<'a' | 'c'> &
    OptionalFloats<'plus'> & { b: Matrix };
  attention: Attention;
  attentionGrad: Attention & Floats<'dOut' | 'dq' | 'dk' | 'dv'>;
  /** Writes k and v behind the `lengths[b]` tokens that `keys[b]` and `values[b]` hold. */
  cachedAttention: Heads & {
    lengths: readonly number[];
    keys: readonly Float32Array[];
    values: readonly Float32Array[];
  };
  /** The gradients are those of `losses` + zLoss · `squares`. */
  linearCrossEntropy: Numbers<'N' | 'V' | 'C' | 'zLoss'> &
    Flags<'bfloat16'> &
    Floats<'x' | 'losses'> &
    OptionalFloats<'mask' | 'squares' | 'dx' | 'dWeight'> &
    Ints<'targets'> &
    OptionalInts<'greedyIds'> & { weight: Matrix };
  rmsNorm: Norm & Floats<'y'>;
  /** `plus` is added to `dx`. */
  rmsNormGrad: Norm & Floats<'dy' | 'dx' | 'dWeight'> & OptionalFloats<'plus'>;
  /** `tableBatch` is 1, or B for tables that differ by row. */
  rotary: Numbers<'B' | 'T' | 'H' | 'D' | 'tableBatch'> &
    Flags<'inverse'> &
    Floats<'x' | 'cos' | 'sin' | 'y'>;
  swiGlu: Numbers<'n'> & Floats<'gate' | 'up' | 'y'>;
  swiGluGrad: Numbers<'n'> & Floats<'dy' | 'gate' | 'up' | 'dGate' | 'dUp'>;
  /** An element whose 16 random bits are below `dropBelow` becomes 0. */
  dropout: Numbers<'rows' | 'n' | 'dropBelow'> & Ints<'keys'> & Floats<'x' | 'y'>;
  embedding: Numbers<'n' | 'V' | 'C'> & Ints<'ids'> & Floats<'y'> & { table: Matrix };
  embeddingGrad: Numbers<'n' | 'V' | 'C'> & Ints<'ids'> & Floats<'dy' | 'dTable'>;
  /** `correction1` is 1 − beta1^step, `correction2` 1 − beta2^step. */
  adamW: Numbers<'n' | 'learningRate' | 'beta1' | 'beta2' | 'epsilon' | 'weightDecay' | 'gradientScale'> &
    Numbers<'correction1' | 'correction2'> &
    Floats<'parameter' | 'gradient' | 'firstMoment' | 'secondMoment'>;
  /** `decay` multiplies the parameter, `stepSize` the orthogonal update; `work` has 2·M·N + 2·min(M, N)² numbers. */
  muon: Numbers<'M' | 'N' | 'momentum' | 'decay' | 'stepSize' | 'gradientScale'> &
    Flags<'bfloat16'> &
    Floats<'parameter' | 'gradient' | 'momentumBuffer' | 'work'>;
  sumOfSquares: Numbers<'n'> & Floats<'x'>;
  toBfloat16: Numbers<'n'> & Floats<'x'> & { y: Uint16Array };
  fromBfloat16: Numbers<'n'> & Floats<'y'> & { x: Uint16Array };
  /** `y` begins with its header. */
  quantize: Numbers<'n'> & Floats<'x'> & { y: Uint8Array };
  dequantize: Numbers<'n'> & Floats<'y'> & { x: Uint8Array };
  add: Elementwise;
  multiply: Elementwise;
  scale: Numbers<'n' | 'factor'> & Floats<'a' | 'y'>;
}

/** Functions of the addon besides kernels. */
interface Controls {
  /** Dense multiply-add rate of all threads in GFLOP/s; takes about a tenth of a second. */
  measurePeak(bfloat16: boolean): number;
  /** Instruction sets that the build has and the processor supports, best first. */
  instructionSets(): string[];
  instructionSet(): string;
  setInstructionSet(name: string): void;
  numThreads(): number;
  setNumThreads(threads: number): void;
  /** Bytes that the kernels hold for packing and tiles. */
  scratchBytes(): number;
  /** Allocates an uninitialised, aligned buffer, freed with its last reference. */
  allocate(bytes: number): ArrayBuffer;
  /** Returns a buffer's memory to the system at once; its address range lives until the buffer is collected. */
  discard(buffer: ArrayBuffer): void;
}

/** The compiled kernels. */
export type NativeAddon = Controls & {
  readonly [Name in keyof KernelArguments]: (
    fields: KernelArguments[Name],
  ) => Name extends 'sumOfSquares' ? number : void;
};

/** A function of a binary; a kernel takes the values of its `fields` in order. */
type BinaryFunction = ((...values: unknown[]) => unknown) & { readonly fields?: readonly string[] };

/**
 * Makes the kernels of a binary take one object each.
 *
 * The binary lists the fields, so only the C++ source defines their order. It receives their values, not the object: Node-API
 * takes 0.2 µs to read a property, 2 µs for each call of gemm.
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
