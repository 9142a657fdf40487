import { LengthCounter, type LengthCounts, type LengthHistogram } from './length-upsampling.ts';
import type { OpenSource, TextBatch } from './text-sources.ts';

/** What became of one source of a mix; plain JSON. */
export interface SourceStatistics {
  readonly name: string;
  /** Its part of the budget; 1 of a single source. */
  readonly share: number;
  /** Tokens that it was given; null without a budget. */
  readonly budget: number | null;
  /** Tokens of it in the dataset. */
  readonly numTokens: number;
  /** Its part of the dataset's tokens. */
  readonly realisedShare: number;
  /** How often its files were begun. */
  readonly passes: number;
  /** All documents that were read, and those that were kept; the last one may be cut by the budget. */
  readonly read: LengthHistogram;
  readonly kept: LengthHistogram;
}

interface Account {
  numTokens: number;
  passes: number;
  readonly read: LengthCounter;
  readonly kept: LengthCounter;
}

/** The books of a source, for a process that goes on with them; plain JSON. */
export interface AccountMark {
  readonly numTokens: number;
  readonly passes: number;
  readonly read: LengthCounts;
  readonly kept: LengthCounts;
}

/** Keeps the books of a mix: what each source has been given, in the order in which documents are written. */
export class MixLedger {
  readonly #sources: readonly OpenSource[];
  readonly #accounts: readonly Account[];

  /** @param marks of a ledger to go on with */
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
   * Goes through the documents of a batch until its source is spent.
   *
   * @param lengths tokens of each kept document
   * @returns how many tokens of each kept document the budget allows; those after the last get none
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
