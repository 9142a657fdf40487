/** The model of a run: new, or from a checkpoint, optionally with an extended context. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  contextLengthOf,
  createLlama,
  growVocabulary,
  Llama,
  type LlamaConfig,
  loadLlama,
  parseConfig,
  readLlamaConfig,
} from '@meap/llama-model';
import { ExtensionError, extendContext } from '@meap/long-context-extension';
import { ConfigurationError, Refusals, runSeeds } from '@meap/recipe-cli';
import type { Tokenizer } from '@meap/token-dataset';
import { latestCheckpoint } from '@meap/trainer';
import { checkContext, checkMeshShape, type PretrainConfig } from '../resolve-config.ts';

/**
 * Resolves `model.from`: the folder of a run becomes its newest complete checkpoint.
 *
 * @throws ConfigurationError if the folder is neither a model nor a run
 */
export async function withOrigin(config: PretrainConfig): Promise<PretrainConfig> {
  const { from } = config.model;
  if (from === undefined || existsSync(join(from, 'config.json'))) return config;
  const found = await latestCheckpoint(join(from, 'checkpoints'), () => {});
  if (found) return { ...config, model: { from: found.path } };
  throw new ConfigurationError([
    `model.from: got ${from}, expected the folder of a Hugging Face model, with config.json, weights and tokenizer.json, or of a run`,
  ]);
}

/**
 * Returns the complete config of the model. The vocabulary of a new model includes the mask id and is rounded up as in the
 * paper (32000 → 32064); that of a checkpoint grows only by the mask id, if it has no row for it.
 *
 * @throws CheckpointError if the folder has no model; ConfigurationError for an invalid extension, or rows beyond the
 *   context
 */
export function modelConfig(
  config: PretrainConfig,
  tokenizer: Pick<Tokenizer, 'vocabSize'> & Partial<Tokenizer>,
): LlamaConfig {
  const { model } = config;
  if (model.from === undefined) {
    const { vocab_size = 64 * Math.ceil(tokenizer.vocabSize / 64), ...shape } = model;
    const ids = { bos_token_id: tokenizer.bosTokenId, eos_token_id: tokenizer.eosTokenId };
    return parseConfig({ ...shape, vocab_size, ...ids, torch_dtype: 'float32' }, 'model');
  }
  const own = readLlamaConfig(model.from);
  const vocab_size = Math.max(own.vocab_size, tokenizer.vocabSize);
  // Weights are stored in float32 for exact resume.
  const extended = extend(config, Object.freeze({ ...own, vocab_size, torch_dtype: 'float32' }));
  const refusals = new Refusals();
  checkContext(config, contextLengthOf(extended), refusals);
  checkMeshShape(config, extended, refusals);
  refusals.throwIfAny();
  return extended;
}

/** Creates the model with its initial weights. */
export async function createModel(config: PretrainConfig, shape: LlamaConfig): Promise<Llama> {
  if (config.model.from === undefined) return createLlama(shape, { seed: runSeeds(config).init });
  const loaded = growVocabulary(await loadLlama(config.model.from), { size: shape.vocab_size });
  return new Llama(shape, loaded.parameters);
}

function extend({ extension, train }: PretrainConfig, config: LlamaConfig): LlamaConfig {
  if (!extension) return config;
  const { context_length: contextLength = train.sequence_length, method, rope_theta: ropeTheta } = extension;
  try {
    return extendContext(config, { contextLength, method, ropeTheta });
  } catch (error) {
    if (error instanceof ExtensionError) throw new ConfigurationError([`extension: ${error.message}`]);
    throw error;
  }
}
