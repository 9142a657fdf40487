/** Options of the trainer: objective, batches, optimizer, schedule, validation, samples, checkpoints. */
import { createHash } from 'node:crypto';
import { stopRules } from '@meap/eval-recipes';
import { createSampler } from '@meap/inference';
import { type Llama, restoreWeights } from '@meap/llama-model';
import { batchPlan, recipeOptions, runSeeds, seedFingerprint, type TrainingParts } from '@meap/recipe-cli';
import type { SftBatch } from '@meap/sft-duplication';
import { withTools } from '@meap/token-dataset';
import type { ParameterGroup } from '@meap/trainer';
import type { Conversation } from './formats.ts';
import { type ModelParts, saveTrained } from './model.ts';
import { batchSource, sftLoss } from './objective.ts';
import { duplicatorOf, type PreparedData } from './prepare-data.ts';
import type { FinetuneConfig } from './resolve-config.ts';
import { heldOutValidation, type ValidationBatch, validationBatches } from './validation.ts';

type Parts = TrainingParts<SftBatch, ValidationBatch> &
  Required<Pick<TrainingParts<SftBatch, ValidationBatch>, 'validation' | 'samples'>>;

/** Returns the number of optimizer steps for `numSamples` conversations. */
export function stepsOf({ train }: FinetuneConfig, numSamples: number): number {
  return train.max_steps ?? Math.max(1, Math.round((train.epochs * numSamples) / train.global_batch_size));
}

/** Returns the maximum length of a packed row; undefined if rows are not packed. */
export function packTo({ masking, train }: FinetuneConfig): number | undefined {
  return masking.layout === 'separate-rows' ? undefined : train.max_length;
}

/**
 * Returns the parameters of adapters with a higher learning rate (LoRA+, Hayou et al. 2024, arXiv 2402.12354): as in PEFT, B
 * and all vectors.
 */
export function loraPlusGroups({ lora }: Pick<FinetuneConfig, 'lora'>): ParameterGroup[] {
  const learningRateMultiplier = lora?.loraplus_lr_ratio;
  if (learningRateMultiplier === undefined) return [];
  return [{ pattern: /lora_B\.weight$|lora_magnitude_vector$|norm\.weight$/, learningRateMultiplier }];
}

/** Creates the options of the trainer from configuration, model and data. */
export async function trainingParts(
  config: FinetuneConfig,
  model: Llama,
  parts: ModelParts,
  data: PreparedData,
  numRanks: number,
): Promise<Parts> {
  const { train, masking, validation, samples, seed } = config;
  const steps = stepsOf(config, data.train.samples.length);
  const shared = recipeOptions(config, steps, numRanks, loraPlusGroups(config));
  const savedWith = { ...parts, baseModel: config.model.path };
  const held = await validationBatches(config, parts, data, numRanks);
  const { max_new_tokens: maxNewTokens, temperature } = samples;
  const prompts = await Promise.all(
    heldOutQuestions(config, data).map(async (question) => ({
      prompt: question.at(-1)!.content,
      ids: await parts.encoder.encodePrompt(question),
    })),
  );
  return {
    parameters: model.trainable,
    loss: sftLoss(model, { seed: runSeeds(config).mask, recompute: train.recompute }),
    batches: batchSource({
      samples: data.train.samples,
      duplicator: duplicatorOf(config, parts),
      seed: runSeeds(config).data,
      globalBatchSize: train.global_batch_size,
      microBatchSize: batchPlan(train, numRanks).microBatchSize,
      packTo: packTo(config),
    }),
    ...shared,
    validation: heldOutValidation(model, { every: validation.every, held, numIds: parts.numIds }),
    stopWhen: stopRules(config.stop_when),
    samples: {
      every: samples.every,
      generate: createSampler(model, parts.tokenizer, prompts, { maxNewTokens, temperature, seed }),
    },
    checkpoint: {
      ...shared.checkpoint,
      saveModel: (directory, writer) => saveTrained(directory, model, savedWith, writer),
      loadModel: (directory) => restoreWeights(model, directory),
    },
    // Everything that determines the numbers of a step; other options may change when a run is resumed.
    fingerprints: {
      data: data.fingerprint.slice(0, 16),
      model: await fingerprintOf(model),
      masking: Object.values(masking).join(' '),
      lora: JSON.stringify(config.lora ?? null),
      ...(config.model.quantize && { quantize: config.model.quantize }),
      seed: seedFingerprint(config),
      max_length: train.max_length,
      ...shared.fingerprints,
    },
  };
}

/** Returns `samples.prompts`, or the first held-out conversations up to their first answer. */
function heldOutQuestions({ samples }: FinetuneConfig, { validation }: PreparedData): Conversation[] {
  if (samples.prompts) return samples.prompts.map((content) => [{ role: 'user', content }]);
  return validation.conversations
    .map((conversation) => {
      const end = conversation.findIndex(({ role }) => role === 'assistant');
      return withTools(conversation.slice(0, Math.max(end, 1)), conversation.tools);
    })
    .slice(0, samples.count);
}

/** Hashes the shape and, with an adapter, the norm weights, which differ between trained models. */
async function fingerprintOf(model: Llama): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify(model.config));
  // Without an adapter the weights change, and the checkpoint contains them.
  if (model.adapter) {
    for (const [name, parameter] of model.parameters) {
      if (name.endsWith('norm.weight')) hash.update(new Uint8Array((await parameter.data()).buffer));
    }
  }
  return hash.digest('hex').slice(0, 16);
}
