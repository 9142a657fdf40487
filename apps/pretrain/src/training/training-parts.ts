/** Options of the trainer: objective, batches, optimizer, schedule, validation, samples, checkpoints. */
import { createHash } from 'node:crypto';
import { stopRules } from '@meap/eval-recipes';
import { createSampler, encodePrompt, type SamplePrompt } from '@meap/inference';
import {
  contextLengthOf,
  type Llama,
  readGenerationConfig,
  restoreWeights,
  saveLlama,
} from '@meap/llama-model';
import {
  batchPlan,
  ConfigurationError,
  recipeOptions,
  runSeeds,
  seedFingerprint,
  type TrainingParts,
} from '@meap/recipe-cli';
import { createBatches } from '@meap/token-dataset';
import type { PretrainConfig } from '../resolve-config.ts';
import { batchSource, configuredMasker, meapLoss, nextTokenLoss, type Rows, rowsOf } from './objective.ts';
import type { PreparedData } from './prepare-data.ts';
import { dataKey } from './refuse-other-data.ts';

/** Creates the options of the trainer from configuration, model and data. */
export async function trainingParts(
  config: PretrainConfig,
  model: Llama,
  data: PreparedData,
  numRanks: number,
): Promise<Omit<TrainingParts<Rows>, 'utilisation'>> {
  const { train, masking, validation, samples } = config;
  const { microBatchSize, microBatches } = batchPlan(train, numRanks);
  const shared = recipeOptions(config, train.max_steps, numRanks);
  const { from } = config.model;
  const generationConfig = from === undefined ? undefined : readGenerationConfig(from);
  return {
    parameters: model.parameters,
    loss: meapLoss(model, configuredMasker(config, data.tokenizer), {
      recompute: train.recompute,
      zLoss: train.z_loss,
      dropout: { rate: train.dropout, seed: runSeeds(config).mask },
    }),
    batches: batchSource(
      createBatches(data.train.dataset, {
        ...data.trainSplit,
        batchSize: microBatchSize,
        seed: runSeeds(config).data,
      }),
      microBatches,
    ),
    ...shared,
    validation: {
      every: validation.every,
      batches: () => rowsOf(data.validation, microBatchSize),
      loss: nextTokenLoss(model),
    },
    stopWhen: stopRules(config.stop_when),
    samples: { every: samples.every, generate: await sampler(config, model, data) },
    checkpoint: {
      ...shared.checkpoint,
      saveModel: async (directory, writer) => {
        await saveLlama(directory, model, { dtype: 'float32', generationConfig, ...writer });
        data.tokenizer.save(directory);
      },
      loadModel: (directory) => restoreWeights(model, directory),
    },
    // Everything that determines the numbers of a step; other options may change when a run is resumed.
    fingerprints: {
      data: dataKey(data.train.dataset.fingerprint),
      model: hashOf(model.config),
      masking: maskingFingerprint(masking),
      seed: seedFingerprint(config),
      sequence_length: train.sequence_length,
      ...(train.dropout > 0 && { dropout: train.dropout }),
      ...(train.z_loss > 0 && { z_loss: train.z_loss }),
      validation_fraction: data.trainSplit.validationFraction ?? 0,
      ...shared.fingerprints,
    },
  };
}

/** Options besides strategy and ratio appear only if set. */
function maskingFingerprint(masking: PretrainConfig['masking']): string {
  const { strategy, ratio, span_length, keep_tokens, replace_with, until } = masking;
  const base = [strategy, ratio, span_length ?? '', ...keep_tokens].join(' ').trim();
  const random = replace_with === 'mask' ? '' : ` replace_with ${replace_with}`;
  return `${base}${random}${until < 1 ? ` until ${until}` : ''}`;
}

/** Maximum tokens of a prompt from the validation text. */
const HELD_OUT_TOKENS = 64;

async function sampler({ samples, seed }: PretrainConfig, model: Llama, data: PreparedData) {
  const { tokenizer } = data;
  const context = contextLengthOf(model.config);
  const prompts: SamplePrompt[] = await Promise.all(
    samples.prompts.map(async (prompt) => ({ prompt, ids: await encodePrompt(tokenizer, prompt) })),
  );
  for (const { prompt, ids } of prompts) {
    if (ids.length < context) continue;
    throw new ConfigurationError([
      `samples.prompts: got ${JSON.stringify(prompt)} of ${ids.length} tokens, expected fewer than the model’s ` +
        `context of ${context}`,
    ]);
  }
  const { max_new_tokens: maxNewTokens, temperature } = samples;
  prompts.push(...(await heldOutPrompts(data, samples.held_out, maxNewTokens)));
  return createSampler(model, tokenizer, prompts, { maxNewTokens, temperature, seed });
}

/** Beginnings of rows of the validation, evenly spaced, with what follows them there. */
async function heldOutPrompts(
  { tokenizer, validation }: PreparedData,
  count: number,
  maxNewTokens: number,
): Promise<SamplePrompt[]> {
  const { numBlocks, blockLength } = validation;
  if (count > numBlocks) {
    throw new ConfigurationError([
      `samples.held_out: got ${count}, expected at most ${numBlocks}, the rows of the validation`,
    ]);
  }
  const end = Math.min(HELD_OUT_TOKENS, Math.ceil(blockLength / 2));
  const textOf = (ids: Int32Array) => tokenizer.decode(ids, { skipSpecialTokens: true });
  return Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const row = validation.read(Math.floor(((i + 0.5) * numBlocks) / count));
      const ids = row.slice(0, end);
      const reference = await textOf(row.slice(end, end + maxNewTokens));
      return { prompt: await textOf(ids), ids, reference };
    }),
  );
}

function hashOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 16);
}
