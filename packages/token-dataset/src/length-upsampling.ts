import { createHash } from 'node:crypto';
import { DatasetError } from './errors.ts';

/**
 * Keeps long documents and a share of the shorter ones, within each source: the mix of domains stays the same, only the
 * lengths change (Fu et al. 2024, arXiv 2402.10171, §4.1).
 */
export interface LengthUpsampling {
  /** Estimated tokens, characters / 3.68, from which a document is always kept. Default 4096. */
  minLength?: number;
  /** Probability of keeping a shorter document, from 0 to 1. Default 0.1. */
  keepShorter?: number;
}

/** Average of English text; lengths are estimated before texts are tokenized. */
const CHARACTERS_PER_TOKEN = 3.68;

/** Estimated tokens of a text of this many characters. */
export function estimatedTokens(characters: number): number {
  return characters / CHARACTERS_PER_TOKEN;
}

/** Returns the function that decides which documents are kept; it depends on seed, source, pass and document only. */
export function documentFilter(
  { minLength = 4096, keepShorter = 0.1 }: LengthUpsampling,
  seed: number,
): (characters: number, source: number, pass: number, document: number) => boolean {
  if (!(minLength >= 0 && Number.isFinite(minLength))) {
    throw new DatasetError(`lengthUpsampling.minLength: got ${minLength}, expected a number of tokens`);
  }
  if (!(keepShorter >= 0 && keepShorter <= 1)) {
    throw new DatasetError(`lengthUpsampling.keepShorter: got ${keepShorter}, expected a number from 0 to 1`);
  }
  return (characters, source, pass, document) => {
    if (estimatedTokens(characters) >= minLength) return true;
    const key = `token-dataset upsample ${seed} ${source} ${pass} ${document}`;
    return createHash('sha256').update(key).digest().readUInt32LE(0) / 2 ** 32 < keepShorter;
  };
}

/** Upper bounds of the bins of a {@link LengthHistogram}, in estimated tokens. */
const BOUNDS = Array.from({ length: 11 }, (_, i) => 256 * 2 ** i);

/** Histogram of document lengths in estimated tokens; plain JSON. */
export interface LengthHistogram {
  /** Upper bounds of all bins but the last, which has none. */
  readonly bounds: readonly number[];
  /** Documents in each bin. */
  readonly documents: readonly number[];
  /** Estimated tokens in each bin, rounded. */
  readonly tokens: readonly number[];
}

/** State of a {@link LengthCounter}; plain JSON. */
export interface LengthCounts {
  readonly documents: readonly number[];
  readonly characters: readonly number[];
}

/** Counts documents by length. */
export class LengthCounter {
  readonly #documents = new Float64Array(BOUNDS.length + 1);
  readonly #characters = new Float64Array(BOUNDS.length + 1);

  /** @param counts state to continue from */
  constructor(counts?: LengthCounts) {
    this.#documents.set(counts?.documents ?? []);
    this.#characters.set(counts?.characters ?? []);
  }

  get counts(): LengthCounts {
    return { documents: [...this.#documents], characters: [...this.#characters] };
  }

  add(characters: number): void {
    const found = BOUNDS.findIndex((bound) => estimatedTokens(characters) < bound);
    const bin = found < 0 ? BOUNDS.length : found;
    this.#documents[bin]++;
    this.#characters[bin] += characters;
  }

  histogram(): LengthHistogram {
    return {
      bounds: BOUNDS,
      documents: [...this.#documents],
      tokens: Array.from(this.#characters, (sum) => Math.round(estimatedTokens(sum))),
    };
  }
}
