import { LengthCounter, type LengthCounts, type LengthHistogram } from './length-upsampling.ts';
import type { OpenSource, TextBatch } from './text-sources.ts';

/** Statistics of one source of a mix; plain JSON. */
export interface SourceStatistics {
  readonly name: string;
  /** Its part of the budget; 1 for a single source. */
  readonly share: number;
  /** Its budget in tokens; null without one. */
  readonly budget: number | null;
  /** Its tokens in the dataset. */
  readonly numTokens: number;
  /** Its part of the tokens of the dataset. */
  readonly realisedShare: number;
  /** Passes over its files, including an unfinished one. */
  readonly passes: number;
  /** All documents read, and those kept; the budget may truncate the last one. */
  readonly read: LengthHistogram;
  readonly kept: LengthHistogram;
}

interface Account {
  numTokens: number;
  passes: number;
  readonly read: LengthCounter;
  readonly kept: LengthCounter;
}

/** State of the account of one source; plain JSON. */
export interface AccountMark {
  readonly numTokens: number;
  readonly passes: number;
  readonly read: LengthCounts;
  readonly kept: LengthCounts;
}

/** Accounts of a mix: the tokens taken from each source, in the order in which documents are written. */
export class MixLedger {
  readonly #sources: readonly OpenSource[];
  readonly #accounts: readonly Account[];

  /** @param marks state to continue from */
  constructor(sources: readonly OpenSource[], marks?: readonly AccountMark[]) {
    this.#sources = sources;
    this.#accounts = sources.map((_, i) => ({
      numTokens: marks?.[i].numTokens ?? 0,
      passes: marks?.[i].passes ?? 0,
      read: new LengthCounter(marks?.[i].read),
      kept: new LengthCounter(marks?.[i].kept),
    }));
  }

  mark(): AccountMark[] {
    return this.#accounts.map(({ numTokens, passes, read, kept }) => {
      return { numTokens, passes, read: read.counts, kept: kept.counts };
    });
  }

  isSpent(source: number): boolean {
    return this.#accounts[source].numTokens >= this.#sources[source].budget;
  }

  /**
   * Enters the documents of a batch until the budget of its source is spent.
   *
   * @param lengths tokens of each kept document
   * @returns the number of tokens to write of each kept document; further documents are not written
   */
  enter(batch: TextBatch, lengths: ArrayLike<number>): number[] {
    const account = this.#accounts[batch.source];
    const taken: number[] = [];
    for (const { characters, text } of batch.documents) {
      if (this.isSpent(batch.source)) break;
      account.passes = batch.pass + 1;
      account.read.add(characters);
      if (text === undefined) continue;
      account.kept.add(characters);
      const room = this.#sources[batch.source].budget - account.numTokens;
      taken.push(Math.min(lengths[taken.length], room));
      account.numTokens += taken.at(-1)!;
    }
    return taken;
  }

  statistics(): SourceStatistics[] {
    const total = this.#accounts.reduce((sum, { numTokens }) => sum + numTokens, 0);
    return this.#accounts.map(({ numTokens, passes, read, kept }, index) => {
      const { name, share, budget } = this.#sources[index];
      return {
        name,
        share,
        budget: Number.isFinite(budget) ? budget : null,
        numTokens,
        realisedShare: numTokens / total,
        passes,
        read: read.histogram(),
        kept: kept.histogram(),
      };
    });
  }
}
