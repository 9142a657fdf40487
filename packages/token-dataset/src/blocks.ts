import type { TokenDataset } from './dataset.ts';
import { counted, DatasetError } from './errors.ts';

/** Selects blocks of a dataset. */
export interface SplitOptions {
  /** T: input tokens of a row; a block has one more, the last target. */
  sequenceLength: number;
  /** Default `all`. */
  split?: 'all' | 'train' | 'validation';
  /**
   * Share of the blocks, at the end of the stream, for validation: from 0 to less than 1, rounded to whole blocks, at
   * least one. Required with `train` and `validation`.
   */
  validationFraction?: number;
}

/** Consecutive blocks of a dataset. */
export interface TokenBlocks {
  readonly dataset: TokenDataset;
  /** Tokens of a block: T + 1. */
  readonly blockLength: number;
  readonly numBlocks: number;
  /** The tokens of a block. */
  read(index: number): Int32Array;
  /** UTF-8 bytes of the text of the T targets of a block: of all its tokens but the first. */
  targetBytes(index: number): number;
}

/**
 * Splits the stream of a dataset into blocks of T + 1 tokens and selects a split of them.
 *
 * Blocks are contiguous and do not overlap, as in the code of MEAP's authors: the last token of a block is only a
 * target, the first of the next only an input. Documents may span blocks; tokens after the last whole block are dropped.
 *
 * @throws DatasetError if the dataset is shorter than a block or the split is empty
 */
export function selectBlocks(dataset: TokenDataset, options: SplitOptions): TokenBlocks {
  const { sequenceLength, split = 'all', validationFraction = 0 } = options;
  if (!Number.isInteger(sequenceLength) || sequenceLength < 1) {
    throw new DatasetError(`sequenceLength: got ${sequenceLength}, expected a whole number from 1`);
  }
  if (!(validationFraction >= 0 && validationFraction < 1)) {
    throw new DatasetError(
      `validationFraction: got ${validationFraction}, expected 0 or more and less than 1`,
    );
  }
  const blockLength = sequenceLength + 1;
  const total = Math.floor(dataset.numTokens / blockLength);
  if (total === 0) {
    throw new DatasetError(
      `corpus shorter than a block: got ${dataset.numTokens} tokens, a block needs ${blockLength}; use more text or a shorter sequence`,
    );
  }
  const numValidation = validationFraction === 0 ? 0 : Math.max(1, Math.round(total * validationFraction));
  const numTrain = total - numValidation;
  const [first, numBlocks] = {
    all: [0, total],
    train: [0, numTrain],
    validation: [numTrain, numValidation],
  }[split];
  if (numBlocks === 0) {
    throw new DatasetError(
      `the ${split} split is empty: got ${counted(total, 'block')} of ${blockLength} tokens and validationFraction ${validationFraction}; use more text, a shorter sequence or another fraction`,
    );
  }
  const startOf = (index: number) => {
    if (!Number.isInteger(index) || index < 0 || index >= numBlocks) {
      throw new RangeError(`block ${index} of ${numBlocks}`);
    }
    return (first + index) * blockLength;
  };
  return {
    dataset,
    blockLength,
    numBlocks,
    read: (index) => dataset.readTokens(startOf(index), blockLength),
    targetBytes: (index) => dataset.bytesOfTokens(startOf(index) + 1, blockLength - 1),
  };
}
