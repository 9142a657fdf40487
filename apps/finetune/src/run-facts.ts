/** Facts of a run that are known before its weights are loaded. */
import {
  countParameters,
  type LlamaConfig,
  PIECE_TOKENS,
  parameterShapes,
  parseConfig,
  toHuggingFaceConfig,
  weightBytes,
} from '@meap/llama-model';
import { batchPlan, type MemoryPlan, optimizerFloats, type RunOptions, runSeeds } from '@meap/recipe-cli';
import type { DuplicationStatistics } from '@meap/sft-duplication';
import { RankGroup } from '@meap/trainer';
import { adaptedOutputs, countLoraParameters, planFinetuning } from './memory-plan.ts';
import { learnedTokens, type ModelParts, weightStorage } from './model.ts';
import { batchSource } from './objective.ts';
import { type DataFacts, duplicatorOf, type PreparedData } from './prepare-data.ts';
import type { FinetuneConfig } from './resolve-config.ts';
import { packTo, stepsOf } from './training-parts.ts';

/** Counts of a run; of the first epoch if epochs differ. */
export interface RunFacts extends DataFacts {
  /** Config with an embedding for the mask token. */
  model: LlamaConfig;
  parameters: number;
  /** Number of trained parameters. */
  trained: number;
  /** The source of the chat template, and the token that ends answers. */
  template: { name: string; endOfAnswer: string; addsEos: boolean };
  trainConversations: number;
  validationConversations: number;
  /** Statistics of the training conversations in the first epoch. */
  duplication: DuplicationStatistics;
  /** Share of padding in the batches of the first epoch. */
  padding: number;
  epochs: number;
  steps: number;
  /** Average tokens per step. */
  tokensPerStep: number;
  memory: MemoryPlan;
}

/**
 * Describes a run from the batches of its first epoch.
 *
 * @throws the reason of `signal` when it is aborted; BackendError for `model.quantize` on a backend without it
 */
export async function describeRun(
  config: FinetuneConfig,
  parts: ModelParts,
  data: PreparedData,
  { ranks = new RankGroup(), signal }: Pick<RunOptions<never>, 'ranks' | 'signal'> = {},
): Promise<RunFacts> {
  const { train } = config;
  const storage = weightStorage(config, parts.config);
  const { encoder, tokenizer } = parts;
  const { samples } = data.train;
  const model = grownConfig(parts);
  const steps = stepsOf(config, samples.length);
  const duplicator = duplicatorOf(config, parts);
  const { statistics } = duplicator.duplicateAll(samples, { epoch: 0 });
  const numRanks = ranks.size;
  const { microBatchSize, microBatches } = batchPlan(train, numRanks);
  const batches = batchSource({
    samples,
    duplicator,
    seed: runSeeds(config).data,
    globalBatchSize: train.global_batch_size,
    microBatchSize,
    packTo: packTo(config),
  });
  let [numPositions, largest, used] = [0, 0, 0];
  const shown = Math.min(steps, Math.ceil(samples.length / train.global_batch_size));
  for (let step = 0; step < shown; step++) {
    // Yields to the event loop so that signals are handled.
    if (step % 16 === 0) await new Promise(setImmediate);
    signal?.throwIfAborted();
    for (let microBatch = 0; microBatch < microBatches; microBatch++) {
      const batch = batches({ step, microBatch }) as { kinds: Uint8Array };
      numPositions += batch.kinds.length;
      largest = Math.max(largest, batch.kinds.length);
      for (const kind of batch.kinds) if (kind !== 0) used++;
    }
  }
  const parameters = countParameters(model);
  const numLearned = learnedTokens(config, parts).length;
  const trained = config.lora ? countLoraParameters(model, config.lora, numLearned) : parameters;
  const tableBytes = 2 * model.vocab_size * model.hidden_size;
  const { formats, dropped, skipped, repeatedFiles } = data;
  return {
    formats,
    dropped,
    skipped,
    repeatedFiles,
    model,
    parameters,
    trained,
    template: {
      name: encoder.template.name,
      endOfAnswer: tokenizer.idToToken(encoder.endOfAnswerId) ?? String(encoder.endOfAnswerId),
      addsEos: encoder.lacksEnd,
    },
    trainConversations: samples.length,
    validationConversations: data.validation.samples.length,
    duplication: statistics,
    padding: numPositions === 0 ? 0 : 1 - used / numPositions,
    epochs: (steps * train.global_batch_size) / samples.length,
    steps,
    tokensPerStep: used / shown,
    memory: planFinetuning(model, {
      parameters,
      weightBytes: weightBytes(model, storage) / parameters,
      trained,
      ...(!config.lora && { optimizer: optimizerFloats(train.optim, parameterShapes(model)) }),
      positions: largest,
      accumulates: microBatches > numRanks,
      zero: { stage: config.distributed.zero_stage, numRanks },
      recompute: train.recompute,
      canSplit: microBatchSize > 1,
      lora: config.lora !== undefined,
      quantize: config.model.quantize,
      keptOutputs: config.lora?.use_dora ? adaptedOutputs(model, config.lora) : 0,
      learnsTables: (config.lora?.modules_to_save ?? []).some((module) => module !== 'norm'),
      copiesHead: config.lora !== undefined && numLearned > 0 && model.tie_word_embeddings,
      copiedTable: config.lora && numLearned > 0 && storage.weights === 'bfloat16' ? tableBytes : 0,
      pieceTokens: train.max_length > PIECE_TOKENS ? PIECE_TOKENS : undefined,
      limitGib: train.memory_limit_gib,
      numLocalRanks: ranks.numLocal,
    }),
  };
}

/** Returns the model's config with enough embeddings for the tokenizer. */
function grownConfig({ config, tokenizer }: ModelParts): LlamaConfig {
  const vocab_size = Math.max(config.vocab_size, tokenizer.vocabSize);
  return parseConfig({ ...toHuggingFaceConfig(config), vocab_size }, 'model');
}
