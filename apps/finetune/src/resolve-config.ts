import { checkProbes, probePaths } from '@meap/eval-recipes';
import { contextLengthOf, readLlamaConfig } from '@meap/llama-model';
import {
  checkBatchKeys,
  checkKeepBest,
  checkMesh,
  checkOptimizerKeys,
  checkScheduleKeys,
  fillBatchKeys,
  fillIntervals,
  fillOptimizerKeys,
  fillScheduleKeys,
  parseConfig,
  type RecipeRules,
  Refusals,
  readRecipe,
} from '@meap/recipe-cli';
import type { z } from 'zod';
import { configSchema, type FinetuneConfigInput } from './config.ts';
import { FIELD_NAMES } from './formats.ts';

type Parsed = z.output<typeof configSchema>;

/** A checked configuration with all defaults except those that depend on model and data. */
export interface FinetuneConfig
  extends Omit<Parsed, 'extends' | 'model' | 'data' | 'train' | 'validation' | 'checkpoint'> {
  model: Parsed['model'] & { path: string };
  data: Parsed['data'] & { files: string[] };
  train: Parsed['train'] & { global_batch_size: number; learning_rate: number; max_length: number };
  validation: Parsed['validation'] & { every: number };
  checkpoint: Parsed['checkpoint'] & { every: number };
}

export const RULES: RecipeRules = {
  shipped: { moduleUrl: import.meta.url, program: 'finetune' },
  paths: [['model', 'path'], ['data', 'files'], ['data', 'validation_files'], ...probePaths],
  hub: { 'model.path': 'model' },
  alternatives: [
    ['data', 'validation_files', 'validation_fraction'],
    ['train', 'epochs', 'max_steps'],
  ],
};

/**
 * Reads a recipe and its base recipes, applies overrides and checks the result.
 *
 * @param file path of a recipe, or name of one in this package
 * @param overrides `path.to.key=value`, the value in YAML; later ones win
 * @param numRanks processes that share every step
 * @throws ConfigurationError with every problem
 */
export function loadConfig(file: string, overrides: readonly string[] = [], numRanks = 1): FinetuneConfig {
  return resolveConfig(readRecipe(file, overrides, RULES), numRanks);
}

/**
 * Checks a configuration and fills in every default.
 *
 * @param numRanks processes that share every step
 * @throws ConfigurationError with every problem: path, value and what is allowed
 */
export function resolveConfig(
  input: FinetuneConfigInput | Record<string, unknown>,
  numRanks = 1,
): FinetuneConfig {
  const { extends: base, ...config } = parseConfig(configSchema, input);
  const { model, data, masking } = config;
  const intervals = fillIntervals(config.checkpoint, config.validation);
  const validation = { ...config.validation, every: intervals.validation };
  const checkpoint = { ...config.checkpoint, every: intervals.checkpoint };
  const train = {
    ...config.train,
    ...fillBatchKeys(config.train, { global_batch_size: 512, learning_rate: 2e-5 }),
    ...fillScheduleKeys(config.train, 0),
    ...fillOptimizerKeys(config.train),
    max_length: config.train.max_length ?? Math.min(4096, contextOf(model.path)),
  };
  const refusals = new Refusals();
  if (base !== undefined) {
    refusals.add('extends', base, 'none outside a recipe file; load it with loadConfig');
  }
  if (model.path === undefined) refusals.add('model.path', undefined, 'the folder of a Hugging Face model');
  if (!data.files?.length) refusals.add('data.files', data.files, 'at least one file of conversations');
  if (data.validation_files && data.validation_fraction) {
    refusals.add('data.validation_fraction', data.validation_fraction, 'none beside validation_files');
  }
  for (const [usual, own] of Object.entries(data.fields)) {
    if (!FIELD_NAMES.includes(usual)) {
      refusals.add(`data.fields.${usual}`, own, `a standard name as key: ${FIELD_NAMES.join(', ')}`);
    }
  }
  checkBatchKeys(train, refusals, numRanks);
  checkMesh({ ...config, train }, refusals, numRanks);
  checkScheduleKeys(train, refusals);
  checkOptimizerKeys(train, config, refusals);
  if (config.lora && train.optim === 'muon') {
    const expected =
      'adamw with lora: orthogonal updates of the factors A and B are not those of their product';
    refusals.add('train.optim', train.optim, expected);
  }
  checkKeepBest(checkpoint, validation, refusals);
  checkProbes(config, refusals);
  if (masking.loss === 'masked-only' && masking.ratio === 0) {
    refusals.add('masking.loss', masking.loss, 'union with ratio 0, since nothing is masked');
  }
  if (!config.lora && config.init_seed !== undefined) {
    refusals.add(
      'init_seed',
      config.init_seed,
      'none without lora, whose adapters it draws; null removes it',
    );
  }
  if (!config.lora && model.quantize) {
    refusals.add(
      'model.quantize',
      model.quantize,
      'none without lora: quantised weights are frozen; add lora: {}, or remove it',
    );
  }
  refusals.throwIfAny();
  return {
    ...config,
    model: { ...model, path: model.path! },
    data: {
      ...data,
      files: data.files!,
      validation_fraction: data.validation_files ? undefined : (data.validation_fraction ?? 0.02),
    },
    train,
    validation,
    checkpoint,
  };
}

/** Returns the context of a model; infinite if it cannot be read, which loading the model reports. */
function contextOf(path: string | undefined): number {
  try {
    return contextLengthOf(readLlamaConfig(path!));
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
