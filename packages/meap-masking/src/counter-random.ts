import { requireInteger } from './error.ts';

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;
const ROUNDS = 10;
const MAX_UINT32 = 0xffffffff;

/**
 * High 32 bits of the 64-bit product of two unsigned 32-bit integers, as a signed integer.
 *
 * Arithmetic on 32-bit integers is twice as fast here as a product of doubles.
 */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = (Math.imul(aHigh, bLow) + (Math.imul(aLow, bLow) >>> 16)) | 0;
  const carry = (Math.imul(aLow, bHigh) + (middle & 0xffff)) | 0;
  return (Math.imul(aHigh, bHigh) + (middle >>> 16) + (carry >>> 16)) | 0;
}

/**
 * Philox4x32-10: a keyed bijection of 128-bit counters whose outputs pass for random numbers.
 *
 * `words` contains the counter as four 32-bit words, the lowest first, and receives the four output words.
 * `key0` and `key1` are the two 32-bit key words.
 *
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 */
export function philox4x32(words: Uint32Array, key0: number, key1: number): void {
  let word0 = words[0] | 0;
  let word1 = words[1] | 0;
  let word2 = words[2] | 0;
  let word3 = words[3] | 0;
  let roundKey0 = key0 | 0;
  let roundKey1 = key1 | 0;
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, word0);
    const high1 = multiplyHigh(MULTIPLIER_1, word2);
    const low0 = Math.imul(MULTIPLIER_0, word0);
    const low1 = Math.imul(MULTIPLIER_1, word2);
    word0 = high1 ^ word1 ^ roundKey0;
    word1 = low1;
    word2 = high0 ^ word3 ^ roundKey1;
    word3 = low0;
    roundKey0 = (roundKey0 + WEYL_0) | 0;
    roundKey1 = (roundKey1 + WEYL_1) | 0;
  }
  words[0] = word0;
  words[1] = word1;
  words[2] = word2;
  words[3] = word3;
}

/** FNV-1a over UTF-16 code units: maps the name of a purpose to a counter word. */
function hashPurpose(purpose: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < purpose.length; i++) hash = Math.imul(hash ^ purpose.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** The complete key of a stream of {@link CounterRandom}. */
export interface CounterRandomKey {
  /** Seed of the run, an integer from 0 to 2^53 − 1; the 64-bit key of the generator. */
  seed: number;
  /** Purpose of the numbers, such as `mask`; each purpose gets different numbers. */
  purpose: string;
  /** Optimizer step, an integer from 0 to 2^32 − 1. */
  step: number;
  /** Row within the step's global batch, an integer from 0 to 2^32 − 1. */
  row: number;
}

/**
 * Random numbers that are a pure function of (seed, purpose, step, row) and their index in the stream.
 *
 * There is no state to save or share: any rank, and a resumed run, draws the same numbers for the same row. The seed is
 * the Philox key; step, row and purpose are words of its counter, so that two streams of one seed never overlap. Each
 * stream has 2^34 numbers.
 *
 * @throws MaskingError if seed, step or row is out of range
 */
export class CounterRandom {
  readonly #seedLow: number;
  readonly #seedHigh: number;
  readonly #row: number;
  readonly #step: number;
  readonly #purpose: number;
  readonly #words = new Uint32Array(4);
  #block = 0;
  #next = 4;

  constructor({ seed, purpose, step, row }: CounterRandomKey) {
    requireInteger('CounterRandom', 'seed', seed, 0, Number.MAX_SAFE_INTEGER);
    requireInteger('CounterRandom', 'step', step, 0, MAX_UINT32);
    requireInteger('CounterRandom', 'row', row, 0, MAX_UINT32);
    this.#seedLow = seed >>> 0;
    this.#seedHigh = Math.floor(seed / 2 ** 32);
    this.#purpose = hashPurpose(purpose);
    this.#step = step;
    this.#row = row;
  }

  /** A uniform integer from 0 to 2^32 − 1. */
  nextUint32(): number {
    const words = this.#words;
    if (this.#next === 4) {
      words[0] = this.#block++;
      words[1] = this.#row;
      words[2] = this.#step;
      words[3] = this.#purpose;
      philox4x32(words, this.#seedLow, this.#seedHigh);
      this.#next = 0;
    }
    return words[this.#next++];
  }

  /** A uniform double in [0, 1) with 53 random bits. */
  nextFloat(): number {
    const high = this.nextUint32() >>> 5;
    const low = this.nextUint32() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }

  /**
   * A uniform integer from 0 to `bound` − 1, without bias (Lemire, "Fast random integer generation in an
   * interval", 2019); `bound` is an integer from 1 to 2^32 − 1.
   *
   * @throws MaskingError if the bound is out of range
   */
  nextBelow(bound: number): number {
    requireInteger('CounterRandom.nextBelow', 'bound', bound, 1, MAX_UINT32);
    let word = this.nextUint32();
    let low = Math.imul(word, bound) >>> 0;
    if (low < bound) {
      const biased = 2 ** 32 % bound;
      while (low < biased) {
        word = this.nextUint32();
        low = Math.imul(word, bound) >>> 0;
      }
    }
    return multiplyHigh(word, bound) >>> 0;
  }

  /**
   * Draws exactly `count` of the candidates, every subset with the same probability, and sorts them.
   *
   * A partial Fisher-Yates shuffle: its cost does not depend on the number of candidates. Reorders `candidates`.
   */
  nextSubset(candidates: Int32Array, count: number): Int32Array {
    for (let i = 0; i < count; i++) {
      const pick = i + this.nextBelow(candidates.length - i);
      const chosen = candidates[pick];
      candidates[pick] = candidates[i];
      candidates[i] = chosen;
    }
    return candidates.slice(0, count).sort();
  }
}
