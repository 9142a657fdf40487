import { CounterRandom } from './counter-random.ts';
import { MaskingError, requireInteger, requireRatio } from './error.ts';
import { MAX_LENGTH, referenceMask } from './reference-mask.ts';
import { bernoulliPositions, exactCountPositions, spanPositions } from './strategies.ts';

const MAX_ID = 2 ** 31 - 1;
const MAX_UINT32 = 2 ** 32 - 1;

/**
 * The strategies that choose the masked positions.
 *
 * - `per-sequence`: a new set of exactly max(1, floor(T · P)) positions for every row and step (the paper, §3).
 * - `reference`: the authors' code, one of 51 sets for all rows of a step (see `referenceMask`).
 * - `bernoulli`: every position independently with probability P, so counts vary.
 * - `span`: spans of `spanLength` tokens, exactly floor(T · P) tokens in total (the paper, Table 15).
 */
export const MASKING_STRATEGIES = ['per-sequence', 'reference', 'bernoulli', 'span'] as const;

/** One of {@link MASKING_STRATEGIES}. */
export type MaskingStrategy = (typeof MASKING_STRATEGIES)[number];

/** Options of {@link createMasker}. */
export interface MaskerOptions {
  /** Default `per-sequence`. */
  strategy?: MaskingStrategy;
  /** Share P of the input tokens to mask, at least 0 and less than 1; 0 is plain next-token prediction. */
  ratio: number;
  /** Id that replaces a masked token; the model needs an embedding for it. */
  maskId: number;
  /**
   * Ids to draw from, uniformly and with replacement, for every masked token, instead of `maskId`: a control for the mask
   * token itself, as the random tokens of BERT (Devlin et al. 2019, §3.1). A token may be replaced by itself.
   */
  replacementIds?: ArrayLike<number>;
  /** First step without masks; default: every step has masks. */
  untilStep?: number;
  /** Seed of the run, 0 to 2^53 − 1; default 0. The positions of `reference` have fixed seeds and ignore it. */
  seed?: number;
  /** Tokens in a span; required by `span`, an error elsewhere. */
  spanLength?: number;
  /** Ids that are never masked, such as BOS and EOS; by default none, as in the authors' code. */
  keepIds?: Iterable<number>;
}

/** Position of a row in a run. */
export interface RowPosition {
  /** Optimizer step, counted from 0. */
  step: number;
  /** Row within the step's global batch, over all ranks and micro-batches, counted from 0. */
  row: number;
}

/** Shape of a batch of rows and its position in a run. */
export interface BatchPosition {
  /** Rows in this batch. */
  rows: number;
  /** Input tokens in a row (T). */
  length: number;
  /** Optimizer step, counted from 0. */
  step: number;
  /** Index of the batch's first row in the step's global batch; default 0. */
  firstRow?: number;
}

/** A masked batch. */
export interface MaskedBatch {
  /** Int32Array [rows · length]: a copy of the inputs with masked tokens replaced. */
  inputs: Int32Array;
  /** The masked positions of each row, in ascending order. */
  positions: Int32Array[];
  /** Masked tokens in the batch. */
  numMasked: number;
}

/** Chooses and applies masks. It is stateless, so calls may come in any order. Created by {@link createMasker}. */
export interface Masker {
  /** The resolved options. */
  readonly strategy: MaskingStrategy;
  readonly ratio: number;
  readonly maskId: number;
  /**
   * The positions to mask in one row of input ids, in ascending order.
   *
   * @throws MaskingError if step or row is out of range, or the row is too short for the strategy
   */
  positions(row: Int32Array, at: RowPosition): Int32Array;
  /**
   * Masks a batch of concatenated input rows into a new array.
   *
   * The given array is not changed: inputs are often a view of the block that also contains the targets.
   *
   * @throws MaskingError if the array does not have rows · length ids, or step or row is out of range
   */
  apply(inputs: Int32Array, batch: BatchPosition): MaskedBatch;
}

/**
 * Creates the masker of a training run, which masks a share of the *input* tokens and never changes targets.
 *
 * @throws MaskingError if an option is out of range or does not apply to the strategy
 */
export function createMasker(options: MaskerOptions): Masker {
  const { strategy = 'per-sequence', ratio, maskId, seed = 0, replacementIds } = options;
  const { untilStep = Number.POSITIVE_INFINITY } = options;
  const spanLength = checkStrategy(strategy, options.spanLength);
  requireRatio('createMasker', ratio);
  requireInteger('createMasker', 'maskId', maskId, 0, MAX_ID);
  requireInteger('createMasker', 'seed', seed, 0, Number.MAX_SAFE_INTEGER);
  const keepIds = new Set(options.keepIds);
  for (const id of keepIds) requireInteger('createMasker', 'an id of keepIds', id, 0, MAX_ID);
  if (options.untilStep !== undefined) requireInteger('createMasker', 'untilStep', untilStep, 0, MAX_UINT32);
  if (replacementIds) {
    requireInteger('createMasker', 'the number of replacementIds', replacementIds.length, 1, MAX_ID);
    for (let i = 0; i < replacementIds.length; i++)
      requireInteger('createMasker', 'an id of replacementIds', replacementIds[i], 0, MAX_ID);
  }

  function positions(row: Int32Array, at: RowPosition): Int32Array {
    return choose(row, at, referenceFor(row.length, at.step));
  }

  /** The set that all rows of a step share under `reference`. */
  function referenceFor(length: number, step: number): Int32Array | undefined {
    if (strategy !== 'reference' || ratio === 0) return undefined;
    return referenceMask({ length, ratio, step }).sort();
  }

  function choose(row: Int32Array, { step, row: rowIndex }: RowPosition, reference?: Int32Array): Int32Array {
    const length = row.length;
    requireInteger('masker', 'step', step, 0, MAX_UINT32);
    requireInteger('masker', 'row', rowIndex, 0, MAX_UINT32);
    if (ratio === 0 || length === 0 || step >= untilStep) return new Int32Array(0);
    if (strategy === 'reference') return reference!.filter((position) => !keepIds.has(row[position]));
    const candidates = candidatePositions(row, keepIds);
    const random = new CounterRandom({ seed, purpose: 'mask', step, row: rowIndex });
    switch (strategy) {
      case 'per-sequence':
        return exactCountPositions(candidates, length, ratio, random);
      case 'bernoulli':
        return bernoulliPositions(candidates, ratio, random);
      case 'span':
        return spanPositions(candidates, length, ratio, spanLength, random);
    }
  }

  /** Returns a function from each masked position, in ascending order, to its new id. */
  function replacementOf(at: RowPosition): () => number {
    if (!replacementIds) return () => maskId;
    const random = new CounterRandom({ seed, purpose: 'replacement', ...at });
    return () => replacementIds[random.nextBelow(replacementIds.length)];
  }

  function apply(inputs: Int32Array, { rows, length, step, firstRow = 0 }: BatchPosition): MaskedBatch {
    requireInteger('masker.apply', 'rows', rows, 0, MAX_UINT32);
    requireInteger('masker.apply', 'length', length, 0, MAX_LENGTH);
    if (inputs.length !== rows * length) {
      throw new MaskingError(
        `masker.apply: the batch has the wrong size, got ${inputs.length} ids, expected rows × length = ` +
          `${rows} × ${length} = ${rows * length}`,
      );
    }
    const masked = inputs.slice();
    const reference = rows > 0 ? referenceFor(length, step) : undefined;
    const rowPositions: Int32Array[] = [];
    let numMasked = 0;
    for (let row = 0; row < rows; row++) {
      const start = row * length;
      const chosen = choose(inputs.subarray(start, start + length), { step, row: firstRow + row }, reference);
      const replacement = replacementOf({ step, row: firstRow + row });
      for (const position of chosen) masked[start + position] = replacement();
      rowPositions.push(chosen);
      numMasked += chosen.length;
    }
    return { inputs: masked, positions: rowPositions, numMasked };
  }

  return { strategy, ratio, maskId, positions, apply };
}

function checkStrategy(strategy: MaskingStrategy, spanLength: number | undefined): number {
  if (!MASKING_STRATEGIES.includes(strategy)) {
    throw new MaskingError(
      `createMasker: unknown strategy, got ${strategy}, expected one of ${MASKING_STRATEGIES.join(', ')}`,
    );
  }
  if (strategy === 'span') {
    requireInteger('createMasker', 'spanLength', spanLength ?? Number.NaN, 1, MAX_LENGTH);
    return spanLength!;
  }
  if (spanLength !== undefined) {
    throw new MaskingError(
      `createMasker: spanLength does not apply to strategy ${strategy}, got ${spanLength}, expected none; ` +
        'omit it or use strategy span',
    );
  }
  return 0;
}

function candidatePositions(row: Int32Array, keepIds: ReadonlySet<number>): Int32Array {
  const candidates = new Int32Array(row.length);
  let count = 0;
  for (let position = 0; position < row.length; position++) {
    if (keepIds.size === 0 || !keepIds.has(row[position])) candidates[count++] = position;
  }
  return candidates.subarray(0, count);
}
