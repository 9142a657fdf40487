/**
 * The rule of MEAP fine-tuning, from samples to rows. In the order of this file: a sample becomes one sequence (or one
 * a turn), cut to the window; masks are drawn for its long answers; the original and its masked copy become rows.
 */
import { requireInteger, SftError } from './error.ts';
import { type AnswerMask, drawMasks, type SamplePlace } from './masks.ts';
import { MAX_UINT32, type ResolvedOptions, resolveOptions, type SftOptions } from './options.ts';
import { joinRows } from './rows.ts';
import { cutToWindow, joinSegments, type Sequence, separateTurns } from './sequence.ts';
import { type SftRow, type SftSample, TokenKind } from './types.ts';

/** What became of samples, in counts; where turns are samples of their own, all but `numSamples` count turns. */
export interface DuplicationStatistics {
  /** Samples given. */
  numSamples: number;
  /** Samples left out, by reason. */
  dropped: {
    /** No segment to learn from: no trainable one of the chosen roles, or nothing but special tokens in it. */
    noAnswer: number;
    /** The prompt leaves no place for an answer token within `maxLength`. */
    promptFillsWindow: number;
  };
  /** Samples cut to `maxLength`; for `concatenated` layout also those cut so that their copy fits beside them. */
  numCut: number;
  /** Samples with a masked copy. */
  numCopies: number;
  /** Copies in a row apart from their original, as both do not fit in one (`packed-isolated` only). */
  numApart: number;
  /** Samples learned as usual because half the window holds no masked answer (`concatenated` only). */
  numWithoutRoom: number;
  /** Rows made, before packing. */
  numRows: number;
  /** Places in these rows, without padding. */
  numPlaces: number;
  /** Places that carry loss. */
  numLearned: number;
  /** Masked tokens. */
  numMasked: number;
  /** Answer tokens to be predicted in the copies, masked or not: `numMasked` is a share of these, a little below the ratio. */
  numCopiedAnswerTokens: number;
}

/** Rows of many samples and what became of them. */
export interface DuplicatedRows {
  rows: SftRow[];
  statistics: DuplicationStatistics;
}

/** Which samples to turn into rows, and when. */
export interface DuplicateAllPlace {
  /** Pass over the data, from 0; only `refresh: 'epoch'` depends on it. */
  epoch: number;
  /** Indices of samples, in the order the rows are wanted; all in their own order when absent. */
  order?: ArrayLike<number>;
}

/** Turns samples into rows; holds no state, so calls may come in any order. Made by {@link createDuplicator}. */
export interface Duplicator {
  /**
   * The rows of one sample: none where there is nothing to learn, one or two otherwise, more where turns are separate.
   *
   * @throws SftError for an id that is no id, the mask id inside the text, a missing length in characters.
   */
  duplicate(sample: SftSample, place: SamplePlace): DuplicatedRows;
  /**
   * The rows of many samples, one after another; a sample's index in the array is the key of its masks.
   *
   * @throws SftError as `duplicate` does, or for an index in `order` that has no sample.
   */
  duplicateAll(samples: readonly SftSample[], place: DuplicateAllPlace): DuplicatedRows;
}

/**
 * Makes what turns samples into rows of MEAP fine-tuning (paper, sections 3 and 4.2; authors' code).
 *
 * Masks are a pure function of (seed, epoch, sample index, answer), so any rank and a resumed run draws the same.
 *
 * @throws SftError when an option is out of range or unknown.
 */
export function createDuplicator(options: SftOptions): Duplicator {
  const resolved = resolveOptions(options);

  function add(sample: SftSample, place: SamplePlace, { rows, statistics }: DuplicatedRows): void {
    requireInteger('duplicate', 'index', place.index, 0, MAX_UINT32);
    statistics.numSamples++;
    const whole = joinSegments(sample, place.index, resolved);
    const sequences = resolved.turns === 'separate' ? separateTurns(whole) : [whole];
    // A sequence ends with an answer: with two tokens, the last has one before it to be predicted from.
    const learnable = sequences.filter(({ ids }) => ids.length >= 2);
    statistics.dropped.noAnswer += Math.max(sequences.length, 1) - learnable.length;
    for (const sequence of learnable) rows.push(...rowsOf(sequence, place, resolved, statistics));
  }

  return {
    duplicate(sample, place) {
      requireInteger('duplicate', 'epoch', place.epoch, 0, MAX_UINT32);
      const result: DuplicatedRows = { rows: [], statistics: emptyStatistics() };
      add(sample, place, result);
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
  place: SamplePlace,
  options: ResolvedOptions,
  statistics: DuplicationStatistics,
): SftRow[] {
  const { layout, loss, maxLength, eosIdAfterCut } = options;
  let sequence = cutToWindow(whole, maxLength, eosIdAfterCut);
  if (!sequence) {
    statistics.dropped.promptFillsWindow++;
    return [];
  }
  let masks = drawMasks(sequence, options, place);
  if (layout === 'concatenated' && masks.length > 0 && 2 * sequence.ids.length > maxLength) {
    const half = cutToWindow(whole, Math.floor(maxLength / 2), eosIdAfterCut);
    masks = half ? drawMasks(half, options, place) : [];
    if (half && masks.length > 0) sequence = half;
    else statistics.numWithoutRoom++;
  }
  if (sequence !== whole) statistics.numCut++;
  if (masks.length > 0) statistics.numCopies++;

  const original = originalTokens(sequence, loss === 'union' ? [] : masks);
  if (masks.length === 0) return [toRow(original)];
  const copy = copyTokens(sequence, masks, options.maskId);
  if (layout === 'concatenated') return [toRow(joinTokens(original, copy))];
  // Without loss on the original nothing depends on it, as the copy does not see it.
  if (!original.learned.includes(1)) return [toRow(copy)];
  const rows = [toRow(original), toRow(copy)];
  if (layout === 'separate-rows') return rows;
  const length = rows[0].inputs.length + rows[1].inputs.length;
  if (length <= maxLength) return [joinRows(rows)];
  statistics.numApart++;
  return rows;
}

/** Tokens of a sequence before the shift: what is read, what is to be predicted, its kind, whether it is learned. */
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

/** Shifts by one: place t − 1 reads token t − 1 and predicts token t. */
function toRow({ read, ids, kinds, learned }: Tokens): SftRow {
  const length = ids.length - 1;
  const positions = new Int32Array(length);
  for (let i = 0; i < length; i++) positions[i] = i;
  return {
    inputs: read.slice(0, length),
    targets: ids.slice(1),
    lossMask: learned.slice(1),
    segmentIds: new Int32Array(length),
    positions,
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
    numPlaces: 0,
    numLearned: 0,
    numMasked: 0,
    numCopiedAnswerTokens: 0,
  };
}

function countRows({ rows, statistics }: DuplicatedRows): void {
  statistics.numRows = rows.length;
  for (const { kinds, lossMask } of rows) {
    statistics.numPlaces += kinds.length;
    for (let i = 0; i < kinds.length; i++) {
      statistics.numLearned += lossMask[i];
      if (kinds[i] === TokenKind.masked) statistics.numMasked++;
      if (kinds[i] === TokenKind.copyAnswer) statistics.numCopiedAnswerTokens++;
    }
  }
  statistics.numCopiedAnswerTokens += statistics.numMasked;
}
