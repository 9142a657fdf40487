/** The compiled kernels, as the addon exposes them: sizes first, then arrays; outputs come last. */
export interface NativeAddon {
  /** batch, M, N, K, transposes, which operand is shared, bfloat16; a, b, what is added or null, c. */
  gemm(...sizesThenArrays: unknown[]): void;
  attention(...sizesThenArrays: unknown[]): void;
  attentionGrad(...sizesThenArrays: unknown[]): void;
  cachedAttention(...sizesThenArrays: unknown[]): void;
  crossEntropy(...sizesThenArrays: unknown[]): void;
  rmsNorm(...sizesThenArrays: unknown[]): void;
  rmsNormGrad(...sizesThenArrays: unknown[]): void;
  rotary(...sizesThenArrays: unknown[]): void;
  swiGlu(...sizesThenArrays: unknown[]): void;
  swiGluGrad(...sizesThenArrays: unknown[]): void;
  dropout(
    rows: number,
    n: number,
    dropBelow: number,
    keys: Int32Array,
    x: ArrayBufferView,
    y: Float32Array,
  ): void;
  embedding(...sizesThenArrays: unknown[]): void;
  embeddingGrad(...sizesThenArrays: unknown[]): void;
  adamW(...sizesThenArrays: unknown[]): void;
  sumOfSquares(n: number, x: Float32Array): number;
  toBfloat16(n: number, x: Float32Array, y: Uint16Array): void;
  fromBfloat16(n: number, x: Uint16Array, y: Float32Array): void;
  add(n: number, a: Float32Array, b: Float32Array, y: Float32Array): void;
  multiply(n: number, a: Float32Array, b: Float32Array, y: Float32Array): void;
  scale(n: number, factor: number, a: Float32Array, y: Float32Array): void;
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
