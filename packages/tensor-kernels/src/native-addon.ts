import { availableThreads } from './container-limits.ts';
import { findAddon } from './find-addon.ts';

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

let loaded: NativeAddon | undefined;

/**
 * Loads the addon: see {@link findAddon} for where it is looked for.
 *
 * `MEAP_NUM_THREADS` sets the number of threads (by default {@link availableThreads}), `MEAP_INSTRUCTION_SET` one of
 * {@link NativeAddon.instructionSets} instead of the best.
 *
 * @throws Error saying why the native kernels are not here and what to do.
 */
export function loadNativeAddon(): NativeAddon {
  if (loaded) return loaded;
  // Reached through the process object so that bundlers for browsers find no import of a Node module.
  if (!globalThis.process?.getBuiltinModule) {
    throw new Error('native: needs Node.js 20.19 or later, got another JavaScript runtime');
  }
  const addon = findAddon(import.meta.url);
  const { MEAP_INSTRUCTION_SET, MEAP_NUM_THREADS } = process.env;
  if (MEAP_INSTRUCTION_SET) addon.setInstructionSet(MEAP_INSTRUCTION_SET);
  const threads = MEAP_NUM_THREADS ? Number(MEAP_NUM_THREADS) : availableThreads();
  if (!Number.isInteger(threads) || threads < 1) {
    throw new Error(
      `native: MEAP_NUM_THREADS must be a whole number of at least 1, got '${MEAP_NUM_THREADS}'`,
    );
  }
  addon.setNumThreads(threads);
  loaded = addon;
  return addon;
}
