import { createHash } from 'node:crypto';
import { DatasetError } from './errors.ts';

/**
 * Keeps long documents and a share of the shorter ones, within each source (Fu et al. 2024, arXiv 2402.10171, §4.1:
 * the mix of domains stays, the lengths change).
 */
export interface LengthUpsampling {
  /** Estimated tokens, characters / 3.68, from which on a document is always kept. Default 4096. */
  minLength?: number;
  /** Probability with which a shorter one is kept, from 0 to 1. Default 0.1. */
  keepShorter?: number;
}

/** Characters a token of English text on average, by which lengths are estimated before anything is tokenised. */
const CHARACTERS_PER_TOKEN = 3.68;

/** Tokens that a text of so many characters has, about. */
export function estimatedTokens(characters: number): number {
  return characters / CHARACTERS_PER_TOKEN;
}

/** Tells which documents are kept: a function of seed, source, pass and number of the document alone. */
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

/** Upper ends of the bins of a {@link LengthHistogram}, in estimated tokens; the last bin has none. */
const BOUNDS = Array.from({ length: 11 }, (_, i) => 256 * 2 ** i);

/** How long documents are, by estimated tokens; plain JSON. */
export interface LengthHistogram {
  /** Upper ends of all bins but the last, which has none. */
  readonly bounds: readonly number[];
  /** Documents in each bin. */
  readonly documents: readonly number[];
  /** Estimated tokens in each bin, rounded. */
  readonly tokens: readonly number[];
}

/** What a {@link LengthCounter} has counted; plain JSON. */
export interface LengthCounts {
  readonly documents: readonly number[];
  readonly characters: readonly number[];
}

/** Counts documents by length. */
export class LengthCounter {
  readonly #documents = new Float64Array(BOUNDS.length + 1);
  readonly #characters = new Float64Array(BOUNDS.length + 1);

  /** @param counts of a counter to go on with */
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
