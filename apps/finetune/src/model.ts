/** The model of a run: loading, with a row for the mask token and optionally an adapter; saving; export. */
import { resolve } from 'node:path';
import { cachedName } from '@meap/hub';
import {
  addLora,
  contextLengthOf,
  findMeshMisfit,
  growVocabulary,
  Llama,
  type LlamaConfig,
  type LoadLlamaOptions,
  loadLlama,
  readGenerationConfig,
  readLlamaConfig,
  type StoredDtype,
  saveLlama,
  saveLora,
  stopIdsOf,
} from '@meap/llama-model';
import { ConfigurationError, runSeeds } from '@meap/recipe-cli';
import { BackendError } from '@meap/tensor-kernels';
import {
  addMaskToken,
  type ChatTemplate,
  loadChatTemplate,
  loadTokenizer,
  specialTokensOf,
  TemplateError,
  type Tokenizer,
} from '@meap/token-dataset';
import type { TensorWriter } from '@meap/trainer';
import * as tf from '@tensorflow/tfjs-core';
import { ConversationEncoder } from './conversation-encoder.ts';
import type { FinetuneConfig } from './resolve-config.ts';

/** A model without its weights. */
export interface ModelParts {
  /** As published, without a row for the mask token. */
  config: LlamaConfig;
  /** Its generation_config.json, if any. */
  generationConfig?: Readonly<Record<string, unknown>>;
  /** With the mask token, unless `masking.ratio` is 0. */
  tokenizer: Tokenizer;
  /** Id of the mask token and number of ids including it, even if `masking.ratio` is 0. */
  maskId: number;
  numIds: number;
  template: ChatTemplate;
  encoder: ConversationEncoder;
}

/**
 * Reads config, tokenizer and chat template of the model to fine-tune.
 *
 * @throws ConfigurationError if rows exceed the model's context; ConfigError; TokenizerError; TemplateError, also if the
 *   tokenizer has more ids than the model has embeddings
 */
export function loadModelParts({ model, data, masking, train, distributed }: FinetuneConfig): ModelParts {
  const config = readLlamaConfig(model.path);
  const context = contextLengthOf(config);
  if (train.max_length > context) {
    throw new ConfigurationError([
      `train.max_length: got ${train.max_length}, expected at most ${context}, the context of ${model.path}`,
    ]);
  }
  const misfit = distributed.mesh && findMeshMisfit(config, distributed.mesh);
  if (misfit) {
    const { key, value, axis } = misfit;
    throw new ConfigurationError([
      `distributed.mesh.${axis}: got ${distributed.mesh![axis]}, expected a divisor of ${value}, ${key} of ${model.path}`,
    ]);
  }
  const plain = loadTokenizer(model.path);
  if (plain.vocabSize > config.vocab_size) {
    throw new TemplateError(
      `${model.path}: tokenizer and model do not match, got ${plain.vocabSize} ids and ${config.vocab_size} embeddings, ` +
        'expected no more ids than embeddings; use the tokenizer that was published with the model',
    );
  }
  const masked = addMaskToken(plain, masking.mask_token);
  const tokenizer = masking.ratio > 0 ? masked : plain;
  const template = loadChatTemplate(model.path, specialTokensOf(tokenizer), {
    choice: data.chat_template,
    setting: 'data.chat_template',
  });
  const encoder = new ConversationEncoder(tokenizer, template);
  const generationConfig = readGenerationConfig(model.path);
  const { maskTokenId, vocabSize: numIds } = masked;
  return { config, generationConfig, tokenizer, maskId: maskTokenId!, numIds, template, encoder };
}

/**
 * Loads the weights for training: adds an embedding of the mask token, the end of an answer to the ids that stop
 * generation, and an adapter if configured.
 */
export async function loadTrainableModel(config: FinetuneConfig, parts: ModelParts): Promise<Llama> {
  let model = await loadLlama(config.model.path, weightStorage(config, parts.config));
  try {
    model = growVocabulary(model, { size: parts.tokenizer.vocabSize });
    const { vocab_size } = model.config;
    const ends = [model.config, parts.generationConfig ?? {}].flatMap(stopIdsOf);
    const stops = [...new Set([...ends, parts.encoder.endOfAnswerId])].filter((id) => id < vocab_size);
    const eos_token_id = stops.length === 1 ? stops[0] : stops;
    model = new Llama(Object.freeze({ ...model.config, eos_token_id }), model.parameters);
    if (config.lora) {
      const { rank, alpha, dropout } = config.lora;
      addLora(model, {
        rank,
        alpha,
        useRslora: config.lora.use_rslora,
        useDora: config.lora.use_dora,
        dropout,
        targetModules: config.lora.target_modules,
        modulesToSave: config.lora.modules_to_save,
        trainableTokens: learnedTokens(config, parts),
        seed: runSeeds(config).init,
      });
    }
    return model;
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/**
 * Returns the ids whose embeddings an adapter trains: the mask token, if anything is masked and the embedding table is
 * not trained. A frozen new embedding would remain the mean of all embeddings.
 */
export function learnedTokens(
  { masking, lora }: Pick<FinetuneConfig, 'masking' | 'lora'>,
  { maskId, config }: Pick<ModelParts, 'maskId' | 'config'>,
): number[] {
  const learned = lora?.modules_to_save ?? [];
  const all = learned.includes('embed_tokens') || (config.tie_word_embeddings && learned.includes('lm_head'));
  return masking.ratio > 0 && !all ? [maskId] : [];
}

/**
 * Returns how weights are stored in memory: the frozen base of an adapter in bfloat16 if it was published so and the backend
 * supports it, else in float32; its linear layers in 8 or 4 bits with `model.quantize`.
 *
 * @throws BackendError for `model.quantize` on a backend other than `native`
 */
export function weightStorage(
  { lora, model: { quantize } }: Pick<FinetuneConfig, 'lora' | 'model'>,
  { torch_dtype }: Pick<LlamaConfig, 'torch_dtype'>,
): LoadLlamaOptions {
  const backend = tf.getBackend();
  if (quantize && backend !== 'native') {
    throw new BackendError(
      `model.quantize: got ${quantize} on the backend ${backend}, expected native, whose kernels read quantised weights; ` +
        'set backend: native, or remove model.quantize',
    );
  }
  const isBfloat16 = lora && torch_dtype === 'bfloat16' && backend === 'native';
  return { weights: isBfloat16 ? 'bfloat16' : 'float32', quantize };
}

/** Saves the model, or only its adapter, in float32 for exact resume. */
export async function saveTrained(
  directory: string,
  model: Llama,
  run: SavedWith,
  writer?: TensorWriter,
): Promise<void> {
  if (model.adapter) await saveLora(directory, model, { baseModel: baseName(run.baseModel), ...writer });
  else
    await saveLlama(directory, model, {
      dtype: 'float32',
      generationConfig: run.generationConfig,
      ...writer,
    });
  run.tokenizer.save(directory, { chatTemplate: run.template.source });
}

/** The base of an adapter as PEFT finds it: by its name on the Hub if it came from there. */
function baseName(folder: string): string {
  return cachedName(folder)?.repo ?? resolve(folder);
}

/** Files to save beside the weights. */
export interface SavedWith extends Pick<ModelParts, 'tokenizer' | 'template' | 'generationConfig'> {
  /** Folder of the base model of an adapter. */
  baseModel: string;
}

/**
 * Writes the finished model in the format of the published one, with a merged adapter; a quantised base has its quantised
 * values there, beside which the adapter was trained. Writes the adapter alone to
 * `adapterDirectory` in PEFT's format.
 */
export async function exportModel(
  directory: string,
  model: Llama,
  run: SavedWith,
  { dtype, adapterDirectory }: { dtype: StoredDtype; adapterDirectory: string },
): Promise<void> {
  if (model.adapter) await saveTrained(adapterDirectory, model, run);
  await saveLlama(directory, model, { dtype, generationConfig: run.generationConfig, mergeAdapter: true });
  run.tokenizer.save(directory, { chatTemplate: run.template.source });
}
