/**
 * MEAP's objective (arXiv 2502.07490, §3): next-token prediction with a share of the *input* tokens masked.
 *
 *     block     t0 t1 t2 t3 t4        T + 1 tokens
 *     inputs    t0 [M] t2 t3          some replaced by the mask id
 *     targets   t1 t2 t3 t4           the original tokens
 *
 * The decoder is causal and the loss includes all positions. With ratio 0 this is next-token prediction.
 */
import type { Llama } from '@meap/llama-model';
import { createMasker, type MaskedBatch, type Masker } from '@meap/meap-masking';
import { runSeeds } from '@meap/recipe-cli';
import type { Batch, Batches, TokenBlocks, Tokenizer } from '@meap/token-dataset';
import { TokenizerError } from '@meap/token-dataset';
import type { BatchSource, Loss, Position, ValidationLoss } from '@meap/trainer';
import * as tf from '@tensorflow/tfjs-core';
import type { PretrainConfig } from '../resolve-config.ts';

/** Row-major token ids of a batch, and the UTF-8 bytes of its targets. */
export type Rows = Pick<Batch, 'inputs' | 'targets' | 'rows' | 'length' | 'numBytes'>;

/** Options of the forward pass of {@link meapLoss}. */
export interface LossOptions {
  recompute: boolean;
  /** Factor of the z-loss; 0 by default. */
  zLoss?: number;
  /** No dropout at rate 0. */
  dropout: { rate: number; seed: number };
}

/** Returns the training loss: masked inputs, original targets. */
export function meapLoss(model: Llama, masker: Masker, options: LossOptions): Loss<Rows> {
  const { recompute, zLoss, dropout } = options;
  return (batch, position) => {
    const { targets, rows, length } = batch;
    const { step, microBatch } = position;
    return model.loss(
      tf.tensor2d(maskRows(masker, batch, position).inputs, [rows, length], 'int32'),
      tf.tensor2d(targets, [rows, length], 'int32'),
      undefined,
      { recompute, zLoss, dropout: dropout.rate > 0 && { ...dropout, step, firstRow: microBatch * rows } },
    );
  };
}

/** Masks a micro-batch, keyed by step and row: independent of ranks and micro-batch size. */
export function maskRows(
  masker: Masker,
  { inputs, rows, length }: Rows,
  { step, microBatch }: Position,
): MaskedBatch {
  return masker.apply(inputs, { rows, length, step, firstRow: microBatch * rows });
}

/** Returns the validation loss, without masks. */
export function nextTokenLoss(model: Llama): ValidationLoss<Rows> {
  return ({ inputs, targets, rows, length, numBytes }) => ({
    ...model.loss(
      tf.tensor2d(inputs, [rows, length], 'int32'),
      tf.tensor2d(targets, [rows, length], 'int32'),
    ),
    bytes: numBytes,
  });
}

/** Creates the masker of a configuration. */
export function configuredMasker(
  config: PretrainConfig,
  tokenizer: Pick<Tokenizer, 'tokenToId' | 'maskTokenId' | 'ordinaryIds'>,
): Masker {
  const { masking } = config;
  const keepIds = masking.keep_tokens.map((token) => {
    const id = tokenizer.tokenToId(token);
    if (id !== undefined) return id;
    throw new TokenizerError(
      `masking.keep_tokens: got ${token}, expected tokens of the tokenizer’s vocabulary`,
    );
  });
  const { strategy, ratio, span_length: spanLength } = masking;
  return createMasker({
    strategy,
    ratio,
    spanLength,
    keepIds,
    maskId: tokenizer.maskTokenId!,
    replacementIds: masking.replace_with === 'random' ? tokenizer.ordinaryIds() : undefined,
    untilStep: lastMaskedStep(config),
    seed: runSeeds(config).mask,
  });
}

/** Returns the number of steps with masks, if they end before the run. */
export function lastMaskedStep({ masking, train }: PretrainConfig): number | undefined {
  return masking.until < 1 ? Math.round(masking.until * train.max_steps) : undefined;
}

/** Adapts batches to the trainer: micro-batches of consecutive rows. */
export function batchSource(batches: Batches, microBatches: number): BatchSource<Rows> {
  return ({ step, microBatch }) => batches.batchAt(step * microBatches + microBatch);
}

/** Yields the blocks of a split in order, in batches of at most `batchSize` rows. */
export function* rowsOf(blocks: TokenBlocks, batchSize: number): Generator<Rows> {
  const length = blocks.blockLength - 1;
  for (let first = 0; first < blocks.numBlocks; first += batchSize) {
    const rows = Math.min(batchSize, blocks.numBlocks - first);
    const inputs = new Int32Array(rows * length);
    const targets = new Int32Array(rows * length);
    let numBytes = 0;
    for (let row = 0; row < rows; row++) {
      const block = blocks.read(first + row);
      inputs.set(block.subarray(0, length), row * length);
      targets.set(block.subarray(1), row * length);
      numBytes += blocks.targetBytes(first + row);
    }
    yield { inputs, targets, rows, length, numBytes };
  }
}
