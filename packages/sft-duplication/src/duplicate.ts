/**
 * MEAP fine-tuning, from samples to rows. In the order of this file: a sample becomes one sequence (or one per turn),
 * truncated to the window; masks are drawn for its long answers; the original and its masked copy become rows.
 */
import { requireInteger, SftError } from './error.ts';
import { type AnswerMask, drawMasks, type SamplePosition } from './masks.ts';
import { MAX_UINT32, type ResolvedOptions, resolveOptions, type SftOptions } from './options.ts';
import { joinRows } from './rows.ts';
import { cutToWindow, joinSegments, type Sequence, separateTurns } from './sequence.ts';
import { type SftRow, type SftSample, TokenKind } from './types.ts';

/** Counts of samples and rows; with separate turns, all but `numSamples` count turns. */
export interface DuplicationStatistics {
  /** Samples before duplication. */
  numSamples: number;
  /** Samples dropped, by reason. */
  dropped: {
    /** No trainable segment of the chosen roles, or only special tokens in it. */
    noAnswer: number;
    /** The prompt leaves no room for an answer token within `maxLength`. */
    promptFillsWindow: number;
  };
  /** Samples truncated to `maxLength`, or with `concatenated` to make room for their copy. */
  numCut: number;
  /** Samples with a masked copy. */
  numCopies: number;
  /** Copies in a separate row because both do not fit in one (`packed-isolated` only). */
  numApart: number;
  /** Samples without a copy because no masked answer fits in half the window (`concatenated` only). */
  numWithoutRoom: number;
  /** Rows before packing. */
  numRows: number;
  /** Positions of these rows, without padding. */
  numPositions: number;
  /** Positions with loss. */
  numLearned: number;
  /** Masked tokens. */
  numMasked: number;
  /** Answer tokens among the targets of copies, masked or not; `numMasked` is slightly less than the ratio of these. */
  numCopiedAnswerTokens: number;
}

/** Rows of many samples, with statistics. */
export interface DuplicatedRows {
  rows: SftRow[];
  statistics: DuplicationStatistics;
}

/** The samples of an epoch. */
export interface DuplicateAllPosition {
  /** Pass over the data, from 0; only `refresh: 'epoch'` depends on it. */
  epoch: number;
  /** Indices of samples in the order of their rows; by default all samples in order. */
  order?: ArrayLike<number>;
}

/** Turns samples into rows. It is stateless, so calls may come in any order. Created by {@link createDuplicator}. */
export interface Duplicator {
  /**
   * The rows of one sample: none if it is dropped, else one or two, or more with separate turns.
   *
   * @throws SftError for an invalid id, the mask id inside the text, a missing length in characters
   */
  duplicate(sample: SftSample, at: SamplePosition): DuplicatedRows;
  /**
   * The rows of many samples; a sample's index in the array is the key of its masks.
   *
   * @throws SftError as `duplicate`, or for an index in `order` without a sample
   */
  duplicateAll(samples: readonly SftSample[], at: DuplicateAllPosition): DuplicatedRows;
}

/**
 * Creates the duplicator of a MEAP fine-tuning run (paper, sections 3 and 4.2; authors' code).
 *
 * Masks are a pure function of (seed, epoch, sample index, answer), so every rank and a resumed run draw the same.
 *
 * @throws SftError if an option is out of range or unknown
 */
export function createDuplicator(options: SftOptions): Duplicator {
  const resolved = resolveOptions(options);

  function add(sample: SftSample, at: SamplePosition, { rows, statistics }: DuplicatedRows): void {
    requireInteger('duplicate', 'index', at.index, 0, MAX_UINT32);
    statistics.numSamples++;
    const whole = joinSegments(sample, at.index, resolved);
    const sequences = resolved.turns === 'separate' ? separateTurns(whole) : [whole];
    // A sequence ends with an answer, whose last token needs a token before it.
    const learnable = sequences.filter(({ ids }) => ids.length >= 2);
    statistics.dropped.noAnswer += Math.max(sequences.length, 1) - learnable.length;
    for (const sequence of learnable) rows.push(...rowsOf(sequence, at, resolved, statistics));
  }

  return {
    duplicate(sample, at) {
      requireInteger('duplicate', 'epoch', at.epoch, 0, MAX_UINT32);
      const result: DuplicatedRows = { rows: [], statistics: emptyStatistics() };
      add(sample, at, result);
      countRows(result);
      return result;
    },
    duplicateAll(samples, { epoch, order }) {
      requireInteger('duplicateAll', 'epoch', epoch, 0, MAX_UINT32);
      const result: DuplicatedRows = { rows: [], statistics: emptyStatistics() };
      const count = order?.length ?? samples.length;
      for (let i = 0; i < count; i++) {
        const index = order ? order[i] : i;
        const sample = samples[index];
        if (!sample) {
          throw new SftError(
            `duplicateAll: no such sample, got ${index} in order, expected 0 to ${samples.length - 1}`,
          );
        }
        add(sample, { epoch, index }, result);
      }
      countRows(result);
      return result;
    },
  };
}

function rowsOf(
  whole: Sequence,
  at: SamplePosition,
  options: ResolvedOptions,
  statistics: DuplicationStatistics,
): SftRow[] {
  const { layout, loss, maxLength, eosIdAfterCut } = options;
  let sequence = cutToWindow(whole, maxLength, eosIdAfterCut);
  if (!sequence) {
    statistics.dropped.promptFillsWindow++;
    return [];
  }
  let masks = drawMasks(sequence, options, at);
  if (layout === 'concatenated' && masks.length > 0 && 2 * sequence.ids.length > maxLength) {
    const half = cutToWindow(whole, Math.floor(maxLength / 2), eosIdAfterCut);
    masks = half ? drawMasks(half, options, at) : [];
    if (half && masks.length > 0) sequence = half;
    else statistics.numWithoutRoom++;
  }
  if (sequence !== whole) statistics.numCut++;
  if (masks.length > 0) statistics.numCopies++;

  const original = originalTokens(sequence, loss === 'union' ? [] : masks);
  if (masks.length === 0) return [toRow(original)];
  const copy = copyTokens(sequence, masks, options.maskId);
  if (layout === 'concatenated') return [toRow(joinTokens(original, copy))];
  // An original without loss is dropped, since the copy does not see it.
  if (!original.learned.includes(1)) return [toRow(copy)];
  const rows = [toRow(original), toRow(copy)];
  if (layout === 'separate-rows') return rows;
  const length = rows[0].inputs.length + rows[1].inputs.length;
  if (length <= maxLength) return [joinRows(rows)];
  statistics.numApart++;
  return rows;
}

/** Tokens of a sequence before the shift: inputs, targets, kinds, and whether they have loss. */
interface Tokens {
  read: Int32Array;
  ids: Int32Array;
  kinds: Uint8Array;
  learned: Uint8Array;
}

function originalTokens({ ids, kinds }: Sequence, unlearned: readonly AnswerMask[]): Tokens {
  const learned = kinds.map((kind) => (kind === TokenKind.prompt ? 0 : 1));
  for (const { answer } of unlearned) learned.fill(0, answer.start, answer.end);
  // Nothing predicts the first token.
  learned[0] = 0;
  return { read: ids, ids, kinds, learned };
}

function copyTokens(sequence: Sequence, masks: readonly AnswerMask[], maskId: number): Tokens {
  const { ids } = sequence;
  const toCopy = TokenKind.copyPrompt - TokenKind.prompt;
  const kinds = sequence.kinds.map((kind) => kind + toCopy);
  const read = ids.slice();
  const learned = new Uint8Array(ids.length);
  for (const { positions } of masks) {
    for (const t of positions) {
      read[t] = maskId;
      kinds[t] = TokenKind.masked;
      learned[t] = 1;
    }
  }
  return { read, ids, kinds, learned };
}

function joinTokens(first: Tokens, second: Tokens): Tokens {
  const join = <T extends Int32Array | Uint8Array>(joined: T, a: T, b: T): T => {
    joined.set(a);
    joined.set(b, a.length);
    return joined;
  };
  const length = first.ids.length + second.ids.length;
  return {
    read: join(new Int32Array(length), first.read, second.read),
    ids: join(new Int32Array(length), first.ids, second.ids),
    kinds: join(new Uint8Array(length), first.kinds, second.kinds),
    learned: join(new Uint8Array(length), first.learned, second.learned),
  };
}

/** Shifts by one: position t − 1 reads token t − 1 and predicts token t. */
function toRow({ read, ids, kinds, learned }: Tokens): SftRow {
  const length = ids.length - 1;
  return {
    inputs: read.slice(0, length),
    targets: ids.slice(1),
    lossMask: learned.slice(1),
    segmentIds: new Int32Array(length),
    positions: Int32Array.from({ length }, (_, i) => i),
    kinds: kinds.slice(1),
  };
}

function emptyStatistics(): DuplicationStatistics {
  return {
    numSamples: 0,
    dropped: { noAnswer: 0, promptFillsWindow: 0 },
    numCut: 0,
    numCopies: 0,
    numApart: 0,
    numWithoutRoom: 0,
    numRows: 0,
    numPositions: 0,
    numLearned: 0,
    numMasked: 0,
    numCopiedAnswerTokens: 0,
  };
}

function countRows({ rows, statistics }: DuplicatedRows): void {
  statistics.numRows = rows.length;
  for (const { kinds, lossMask } of rows) {
    statistics.numPositions += kinds.length;
    for (let i = 0; i < kinds.length; i++) {
      statistics.numLearned += lossMask[i];
      if (kinds[i] === TokenKind.masked) statistics.numMasked++;
      if (kinds[i] === TokenKind.copyAnswer) statistics.numCopiedAnswerTokens++;
    }
  }
  statistics.numCopiedAnswerTokens += statistics.numMasked;
}
