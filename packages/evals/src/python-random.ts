/** Random numbers as Python programs draw them, which is what makes their prompts ours. */
import { MersenneTwister } from '@meap/meap-masking';
import { EvalsError } from './error.ts';

/**
 * The generator of Python's `random` module (CPython 3.11) after `random.seed(seed)`: same calls, same results.
 *
 * Seeds are integers from 0 to 2^53 − 1; lists have fewer than 2^31 entries.
 */
export class PythonRandom {
  readonly #generator: MersenneTwister;

  constructor(seed: number) {
    if (!(Number.isSafeInteger(seed) && seed >= 0)) {
      throw new EvalsError(`seed is out of range, got ${seed}, expected an integer from 0 to 2^53 - 1`);
    }
    const high = Math.floor(seed / 2 ** 32);
    this.#generator = new MersenneTwister(high === 0 ? [seed] : [seed >>> 0, high]);
  }

  /** `random()`: from 0 to 1, without 1. */
  random(): number {
    return this.#generator.nextFloat();
  }

  /** `getrandbits(32 · n)` as n words, the lowest first. */
  bits32(n: number): number[] {
    return Array.from({ length: n }, () => this.#generator.nextUint32());
  }

  /** `randint(least, most)`, both included, fewer than 2^31 apart. */
  integer(least: number, most: number): number {
    return least + this.#generator.nextBelow(most - least + 1);
  }

  /** `choice(list)`. */
  choice<T>(list: readonly T[]): T {
    return list[this.#generator.nextBelow(list.length)];
  }

  /** `shuffle(list)`, in place. */
  shuffle<T>(list: T[]): void {
    for (let i = list.length - 1; i >= 1; i--) {
      const j = this.#generator.nextBelow(i + 1);
      [list[i], list[j]] = [list[j], list[i]];
    }
  }

  /** `sample(list, count)`: `count` different entries. */
  sample<T>(list: readonly T[], count: number): T[] {
    if (count > list.length) throw new EvalsError(`sample: got ${count} of ${list.length} entries`);
    return Array.from(this.#generator.sampleRange(list.length, count), (index) => list[index]);
  }

  /** `sample(range(size), count)`. */
  sampleRange(size: number, count: number): number[] {
    return [...this.#generator.sampleRange(size, count)];
  }

  /** `''.join(choices(letters, k=count))`. */
  letters(letters: string, count: number): string {
    let text = '';
    for (let i = 0; i < count; i++) text += letters[Math.floor(this.random() * letters.length)];
    return text;
  }
}

/** `numpy.random.randint(least, end)` after `numpy.random.seed(seed)`, from `least` to `end` − 1, again and again. */
export function numpyIntegers(seed: number, least: number, end: number): () => number {
  const generator = new MersenneTwister(seed);
  const range = end - 1 - least;
  const mask = 2 ** (32 - Math.clz32(range)) - 1;
  return () => {
    let value: number;
    do value = generator.nextUint32() & mask;
    while (value > range);
    return least + value;
  };
}
