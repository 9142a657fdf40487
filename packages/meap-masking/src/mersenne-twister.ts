const STATE_WORDS = 624;
const SHIFT_WORDS = 397;

/**
 * The MT19937 generator, with the draws that Python's `random` builds on it.
 *
 * Source: Matsumoto and Nishimura, "Mersenne Twister", 1998, with the seeding of their 2002 revision.
 */
export class MersenneTwister {
  readonly #state = new Uint32Array(STATE_WORDS);
  #next = STATE_WORDS;

  /** @param key 32-bit words: one as `numpy.random.seed` takes it, or an array as `random.seed` of CPython does */
  constructor(key: number | readonly number[]) {
    const state = this.#state;
    state[0] = typeof key === 'number' ? key : 19650218;
    for (let i = 1; i < STATE_WORDS; i++) {
      state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
    }
    if (typeof key === 'number') return;
    let i = 1;
    let j = 0;
    for (let k = Math.max(STATE_WORDS, key.length); k > 0; k--) {
      state[i] = (state[i] ^ Math.imul(state[i - 1] ^ (state[i - 1] >>> 30), 1664525)) + key[j] + j;
      if (++i === STATE_WORDS) {
        state[0] = state[STATE_WORDS - 1];
        i = 1;
      }
      if (++j === key.length) j = 0;
    }
    for (let k = STATE_WORDS - 1; k > 0; k--) {
      state[i] = (state[i] ^ Math.imul(state[i - 1] ^ (state[i - 1] >>> 30), 1566083941)) - i;
      if (++i === STATE_WORDS) {
        state[0] = state[STATE_WORDS - 1];
        i = 1;
      }
    }
    state[0] = 0x80000000;
  }

  /** A uniform integer from 0 to 2^32 − 1. */
  nextUint32(): number {
    if (this.#next === STATE_WORDS) this.#refill();
    let word = this.#state[this.#next++];
    word ^= word >>> 11;
    word ^= (word << 7) & 0x9d2c5680;
    word ^= (word << 15) & 0xefc60000;
    word ^= word >>> 18;
    return word >>> 0;
  }

  /** A uniform integer below `bound` (1 to 2^31 − 1), by the rejection CPython calls `_randbelow_with_getrandbits`. */
  nextBelow(bound: number): number {
    const unusedBits = Math.clz32(bound);
    let value = this.nextUint32() >>> unusedBits;
    while (value >= bound) value = this.nextUint32() >>> unusedBits;
    return value;
  }

  /** A uniform number from 0 to 1, without 1, with 53 random bits. */
  nextFloat(): number {
    const high = this.nextUint32() >>> 5;
    return (high * 2 ** 26 + (this.nextUint32() >>> 6)) / 2 ** 53;
  }

  /** `count` distinct integers below `population`: CPython's `random.sample(range(population), count)`. */
  sampleRange(population: number, count: number): Int32Array {
    const sample = new Int32Array(count);
    if (population <= setSize(count)) {
      const pool = Int32Array.from({ length: population }, (_, i) => i);
      for (let i = 0; i < count; i++) {
        const pick = this.nextBelow(population - i);
        sample[i] = pool[pick];
        pool[pick] = pool[population - i - 1];
      }
      return sample;
    }
    const selected = new Set<number>();
    while (selected.size < count) selected.add(this.nextBelow(population));
    sample.set([...selected]);
    return sample;
  }

  #refill(): void {
    const state = this.#state;
    for (let i = 0; i < STATE_WORDS; i++) {
      const mixed = (state[i] & 0x80000000) | (state[(i + 1) % STATE_WORDS] & 0x7fffffff);
      state[i] = state[(i + SHIFT_WORDS) % STATE_WORDS] ^ (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0);
    }
    this.#next = 0;
  }
}

/** CPython's estimate of the size of a set of `count` entries; above 5 it adds 4^ceil(log4(3 · count)). */
function setSize(count: number): number {
  if (count <= 5) return 21;
  let power = 1;
  while (power < count * 3) power *= 4;
  return 21 + power;
}
