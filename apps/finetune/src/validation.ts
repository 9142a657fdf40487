/**
 * Validation: the loss of held-out answers, and of the masked tokens of their copies.
 *
 * Both are comparable between MEAP and NTP: the masks depend only on the conversations, and a model without a mask token
 * temporarily gets one.
 */
import { growVocabulary, Llama } from '@meap/llama-model';
import { batchPlan } from '@meap/recipe-cli';
import { type SftBatch, type SftRow, sftPresets, TokenKind } from '@meap/sft-duplication';
import type { Tokenizer } from '@meap/token-dataset';
import type { ValidationLoss, ValidationOptions } from '@meap/trainer';
import * as tf from '@tensorflow/tfjs-core';
import type { ModelParts } from './model.ts';
import { batchOf, lossOf } from './objective.ts';
import { duplicatorOf, type PreparedData } from './prepare-data.ts';
import type { FinetuneConfig } from './resolve-config.ts';

/** A validation batch: held-out answers and their masked copies. */
export interface ValidationBatch {
  answers: SftBatch;
  /** Undefined if no answer is long enough to be masked. */
  masked: SftBatch | undefined;
  /** UTF-8 bytes of the answers after truncation. */
  bytes: number;
}

/** Returns the held-out conversations in batches; deterministic. */
export async function validationBatches(
  config: FinetuneConfig,
  parts: ModelParts,
  { validation }: PreparedData,
  numRanks: number,
): Promise<ValidationBatch[]> {
  const { train } = config;
  const plain = duplicatorOf(config, parts, { ratio: 0, loss: 'union' });
  const masked = duplicatorOf(config, parts, {
    layout: 'separate-rows',
    loss: 'masked-only',
    refresh: 'static',
    // Fixed, so that runs with other ratios and seeds are comparable.
    ratio: sftPresets.default.ratio,
    seed: 0,
  });
  const count = Math.min(validation.samples.length, config.validation.max_samples);
  const batches: ValidationBatch[] = [];
  const { microBatchSize } = batchPlan(train, numRanks);
  for (let start = 0; start < count; start += microBatchSize) {
    const length = Math.min(microBatchSize, count - start);
    const selection = { epoch: 0, order: Int32Array.from({ length }, (_, i) => start + i) };
    const answers = plain.duplicateAll(validation.samples, selection).rows;
    const copies = masked.duplicateAll(validation.samples, selection).rows.filter(hasMasks);
    let bytes = 0;
    for (const row of answers) bytes += await learnedBytes(row, parts.tokenizer);
    batches.push({
      answers: batchOf(answers, train.max_length),
      masked: copies.length > 0 ? batchOf(copies, train.max_length) : undefined,
      bytes,
    });
  }
  return batches;
}

/** Counts the UTF-8 bytes of the text of a row's trained tokens, without special tokens. */
async function learnedBytes({ targets, lossMask }: SftRow, tokenizer: Tokenizer): Promise<number> {
  let bytes = 0;
  for (let start = 0; start < targets.length; start++) {
    if (lossMask[start] === 0) continue;
    let end = start;
    while (lossMask[end] === 1) end++;
    const text = await tokenizer.decode(targets.subarray(start, end), { skipSpecialTokens: true });
    bytes += Buffer.byteLength(text);
    start = end;
  }
  return bytes;
}

/**
 * Returns the validation options of the trainer, with the loss of masked tokens as the part `masked`.
 *
 * @param numIds ids of the tokenizer including the mask token
 */
export function heldOutValidation(
  model: Llama,
  { every, held, numIds }: { every: number; held: readonly ValidationBatch[]; numIds: number },
): ValidationOptions<ValidationBatch> {
  let maskedModel = model;
  const loss: ValidationLoss<ValidationBatch> = ({ answers, masked, bytes }) => ({
    ...lossOf(model, answers, answers.lossMask),
    bytes,
    ...(masked && { parts: { masked: lossOf(maskedModel, masked, maskedPositions(masked)) } }),
  });
  function* batches(): Generator<ValidationBatch> {
    if (numIds <= model.config.vocab_size) return yield* held;
    const grown = withMaskToken(model, numIds);
    maskedModel = grown.model;
    try {
      yield* held;
    } finally {
      grown.dispose();
    }
  }
  return { every, batches, loss };
}

/**
 * Returns a view of the model with embeddings for further ids, initialized to the mean of the others as in MEAP's training.
 *
 * Only the tables are copied; all other parameters are shared.
 */
function withMaskToken(model: Llama, size: number): { model: Llama; dispose(): void } {
  const isTable = (name: string) => TABLES.includes(name);
  const parameters = new Map(model.parameters);
  for (const [name, parameter] of parameters) {
    if (isTable(name)) parameters.set(name, tf.variable(parameter, false));
  }
  const grown = growVocabulary(new Llama(model.config, parameters), { size });
  const shared = new Map(grown.parameters);
  const view = new Llama(grown.config, shared);
  if (model.adapter) view.attach(model.adapter);
  return {
    model: view,
    dispose() {
      for (const name of [...shared.keys()]) if (!isTable(name)) shared.delete(name);
      view.detach();
      view.dispose();
    },
  };
}

/** Parameters with a row per id. */
const TABLES = ['model.embed_tokens.weight', 'lm_head.weight'];

function hasMasks({ kinds }: SftRow): boolean {
  return kinds.includes(TokenKind.masked);
}

function maskedPositions({ kinds }: SftBatch): Uint8Array {
  return Uint8Array.from(kinds, (kind) => (kind === TokenKind.masked ? 1 : 0));
}
