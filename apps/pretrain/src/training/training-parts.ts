/** The parts that the trainer is handed: objective, batches, optimizer, schedule, validation, samples, checkpoints. */
import { createHash } from 'node:crypto';
import { encodePrompt } from '@meap/inference';
import {
  contextLengthOf,
  generate,
  type Llama,
  loadLlama,
  readGenerationConfig,
  saveLlama,
} from '@meap/llama-model';
import { batchPlan, ConfigurationError, configuredSchedule } from '@meap/recipe-cli';
import { createBatches, type Tokenizer } from '@meap/token-dataset';
import { adamWOptimizer, type SampleRows, type TrainOptions } from '@meap/trainer';
import type { PretrainConfig } from '../resolve-config.ts';
import { batchSource, configuredMasker, meapLoss, nextTokenLoss, type Rows, rowsOf } from './objective.ts';
import type { PreparedData } from './prepare-data.ts';
import { dataKey } from './refuse-other-data.ts';

type Parts = Omit<
  TrainOptions<Rows>,
  'directory' | 'resume' | 'utilisation' | 'ranks' | 'signal' | 'onEvent'
>;

/** Everything about a run that follows from its configuration, its model and its data. */
export async function trainingParts(
  config: PretrainConfig,
  model: Llama,
  data: PreparedData,
): Promise<Parts> {
  const { train, masking, validation, checkpoint, samples } = config;
  const { microBatchSize, microBatches } = batchPlan(train);
  const { from } = config.model;
  const generationConfig = from === undefined ? undefined : readGenerationConfig(from);
  return {
    parameters: model.parameters,
    loss: meapLoss(model, configuredMasker(config, data.tokenizer), train.recompute),
    batches: batchSource(
      createBatches(data.train.dataset, {
        ...data.trainSplit,
        batchSize: microBatchSize,
        seed: config.seed,
      }),
      microBatches,
    ),
    optimizer: adamWOptimizer({
      beta1: train.adam_beta1,
      beta2: train.adam_beta2,
      epsilon: train.adam_epsilon,
      weightDecay: train.weight_decay,
    }),
    schedule: configuredSchedule(train, train.max_steps),
    steps: train.max_steps,
    microBatches,
    clipNorm: train.max_grad_norm,
    lossScaling: config.precision === 'float16',
    zeroStage: config.distributed.zero_stage,
    validation: {
      every: validation.every,
      batches: () => rowsOf(data.validation, microBatchSize),
      loss: nextTokenLoss(model),
    },
    samples: { every: samples.every, generate: await sampler(config, model, data.tokenizer) },
    checkpoint: {
      every: checkpoint.every,
      keepLast: checkpoint.keep_last,
      keepEvery: checkpoint.keep_every,
      keepBest: checkpoint.keep_best,
      saveModel: async (directory, writer) => {
        await saveLlama(directory, model, { dtype: 'float32', generationConfig, ...writer });
        data.tokenizer.save(directory);
      },
      loadModel: (directory) => loadInto(model, directory),
    },
    // What decides the next step's numbers, hardware apart; the rest may change between two parts of a run.
    fingerprints: {
      data: dataKey(data.train.dataset.fingerprint),
      model: hashOf(model.config),
      masking: [masking.strategy, masking.ratio, masking.span_length ?? '', ...masking.keep_tokens]
        .join(' ')
        .trim(),
      seed: config.seed,
      sequence_length: train.sequence_length,
      validation_fraction: data.trainSplit.validationFraction ?? 0,
      global_batch_size: train.global_batch_size,
      micro_batch_size: train.micro_batch_size ?? 'a rank’s share',
      precision: config.precision,
    },
  };
}

async function sampler(
  { samples, seed }: PretrainConfig,
  model: Llama,
  tokenizer: Tokenizer,
): Promise<(step: number) => Promise<SampleRows>> {
  const { max_new_tokens, temperature } = samples;
  const context = contextLengthOf(model.config);
  const prompts = await Promise.all(
    samples.prompts.map(async (prompt) => ({ prompt, ids: await encodePrompt(tokenizer, prompt) })),
  );
  for (const { prompt, ids } of prompts) {
    if (ids.length < context) continue;
    throw new ConfigurationError([
      `samples.prompts: got ${JSON.stringify(prompt)} of ${ids.length} tokens, expected fewer than the model’s ` +
        `context of ${context}`,
    ]);
  }
  return async (step) => {
    const rows: { prompt: string; text: string }[] = [];
    for (const { prompt, ids } of prompts) {
      const fresh: number[] = [];
      // A new seed at each step: the texts then differ by more than what was learned in between.
      const maxNewTokens = Math.min(max_new_tokens, context - ids.length);
      const options = { maxNewTokens, temperature, seed: seed + step };
      for await (const id of generate(model, ids, options)) fresh.push(id);
      rows.push({ prompt, text: await tokenizer.decode(fresh, { skipSpecialTokens: true }) });
    }
    return rows;
  };
}

/** Fills a model with the weights of a directory, parameter by parameter. */
async function loadInto(model: Llama, directory: string): Promise<void> {
  const loaded = await loadLlama(directory);
  try {
    for (const [name, parameter] of model.parameters) parameter.assign(loaded.parameters.get(name)!);
  } finally {
    loaded.dispose();
  }
}

function hashOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 16);
}
