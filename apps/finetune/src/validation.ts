/**
 * What a run is judged by: the loss of held-out answers as they are, and of the same answers' masked tokens.
 *
 * Both are measured the same way whatever is trained, so that the curves of MEAP and of its NTP twin can be laid over
 * each other: the masks of held-out copies depend on nothing but the conversations, and a model without a mask token
 * is lent one.
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

/** A batch to validate on: held-out answers as they are, and copies with masks. */
export interface ValidationBatch {
  answers: SftBatch;
  /** Absent where no answer is long enough for masks. */
  masked: SftBatch | undefined;
  /** UTF-8 bytes of the learned texts, without what the cut to the window left out. */
  bytes: number;
}

/** Held-out conversations in batches, the same every time. */
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
    // Not the run's own: runs with other ratios and seeds are compared by these masks.
    ratio: sftPresets.default.ratio,
    seed: 0,
  });
  const count = Math.min(validation.samples.length, config.validation.max_samples);
  const batches: ValidationBatch[] = [];
  const { microBatchSize } = batchPlan(train, numRanks);
  for (let start = 0; start < count; start += microBatchSize) {
    const length = Math.min(microBatchSize, count - start);
    const place = { epoch: 0, order: Int32Array.from({ length }, (_, i) => start + i) };
    const answers = plain.duplicateAll(validation.samples, place).rows;
    const copies = masked.duplicateAll(validation.samples, place).rows.filter(hasMasks);
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

/** UTF-8 bytes of the text that a row's learned tokens spell; the token that ends an answer spells none. */
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
 * Validation as the trainer takes it; the loss of masked tokens is the part `masked`.
 *
 * @param numIds of the tokenizer with the mask token
 */
export function heldOutValidation(
  model: Llama,
  { every, held, numIds }: { every: number; held: readonly ValidationBatch[]; numIds: number },
): ValidationOptions<ValidationBatch> {
  let reader = model;
  const loss: ValidationLoss<ValidationBatch> = ({ answers, masked, bytes }) => ({
    ...lossOf(model, answers, answers.lossMask),
    bytes,
    ...(masked && { parts: { masked: lossOf(reader, masked, maskedPlaces(masked)) } }),
  });
  function* batches(): Generator<ValidationBatch> {
    if (numIds <= model.config.vocab_size) return yield* held;
    const lent = lendMaskToken(model, numIds);
    reader = lent.model;
    try {
      yield* held;
    } finally {
      lent.dispose();
    }
  }
  return { every, batches, loss };
}

/**
 * The same model with rows for further ids, of the value that MEAP's training starts them from: the mean of the others.
 *
 * Only the tables are copied, for as long as the validation takes; everything else is shared.
 */
function lendMaskToken(model: Llama, size: number): { model: Llama; dispose(): void } {
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

/** Parameters with a row for each id. */
const TABLES = ['model.embed_tokens.weight', 'lm_head.weight'];

function hasMasks({ kinds }: SftRow): boolean {
  return kinds.includes(TokenKind.masked);
}

function maskedPlaces({ kinds }: SftBatch): Uint8Array {
  return Uint8Array.from(kinds, (kind) => (kind === TokenKind.masked ? 1 : 0));
}
