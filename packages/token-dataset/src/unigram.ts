import type { TokenBlocks } from './blocks.ts';

/** Score of a unigram model on a split. */
export interface UnigramScore {
  readonly bitsPerByte: number;
  readonly bitsPerToken: number;
  /** Number of scored targets. */
  readonly numTokens: number;
  /** UTF-8 bytes of their text. */
  readonly numBytes: number;
}

/** Occurrences of each token id in the blocks: [vocabSize], integers as doubles because they may be large. */
export function tokenCounts(blocks: TokenBlocks): Float64Array {
  const counts = new Float64Array(blocks.dataset.vocabSize);
  for (let block = 0; block < blocks.numBlocks; block++) {
    for (const id of blocks.read(block)) counts[id]++;
  }
  return counts;
}

/**
 * Bits per byte of a unigram model with add-one smoothing, counted on `train` and scored on `validation`.
 *
 * It scores the same targets (all tokens of a block but the first) over the same bytes as a language model with
 * `createBatches`, so the two are comparable: a model that has learned anything from context scores lower.
 */
export function unigramBitsPerByte(train: TokenBlocks, validation: TokenBlocks): UnigramScore {
  const counts = tokenCounts(train);
  const numTrain = train.numBlocks * train.blockLength;
  const denominator = numTrain + Math.max(train.dataset.vocabSize, validation.dataset.vocabSize);
  let bits = 0;
  let numBytes = 0;
  for (let block = 0; block < validation.numBlocks; block++) {
    for (const id of validation.read(block).subarray(1)) {
      bits -= Math.log2(((counts[id] ?? 0) + 1) / denominator);
    }
    numBytes += validation.targetBytes(block);
  }
  const numTokens = validation.numBlocks * (validation.blockLength - 1);
  return { bitsPerByte: bits / numBytes, bitsPerToken: bits / numTokens, numTokens, numBytes };
}
