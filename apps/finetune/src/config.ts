/**
 * The schema of a fine-tuning recipe: every key with its default and its meaning.
 *
 * Training keys are named as in Hugging Face's TrainingArguments, adapter keys as in PEFT. All keys are optional, since a
 * recipe may extend another; `resolveConfig` checks the required ones.
 */
import { probesSection, stopWhenSection } from '@meap/eval-recipes';
import { LEARNED_MODULES, type LearnedModule, LORA_TARGETS, type LoraTarget } from '@meap/llama-model';
import {
  checkpointSection,
  count,
  distributedSection,
  flag,
  length,
  natural,
  nonNegative,
  oneOf,
  optimizerKeys,
  positive,
  recipeJsonSchema,
  runKeys,
  seedKeys,
  share,
  text,
  texts,
  validationEvery,
} from '@meap/recipe-cli';
import { sftPresets } from '@meap/sft-duplication';
import { quantizedFormats } from '@meap/tensor-kernels';
import { RECORD_FORMATS } from '@meap/token-dataset';
import { z } from 'zod';
import { FORMATS } from './formats.ts';

const defaults = sftPresets.default;

const model = z.strictObject({
  path: text(
    'Hugging Face folder of a LLaMA, Mistral, Qwen, SmolLM or OLMo 2, relative to this file; or OWNER/NAME on the Hub.',
  ).optional(),
  quantize: oneOf(
    quantizedFormats,
    'Stores the linear layers of the frozen base of lora adapters in 8 bits (int8) or 4 (nf4, QLoRA), as bitsandbytes ' +
      'does; on the native backend. Default: as published.',
  ).optional(),
});

const data = z.strictObject({
  files: texts(
    'Paths and globs of JSON, CSV, TSV (optionally gzip or zstd) and Parquet files, relative to this file, or on the Hub: hf://datasets/OWNER/NAME/FILES.',
  ).optional(),
  file_format: oneOf(
    ['auto', ...RECORD_FORMATS],
    'File format: jsonl (one record per line), json (an array, or any other layout), csv, tsv, parquet; auto detects ' +
      'it from content, then name.',
  ).default('auto'),
  format: oneOf(
    ['auto', ...FORMATS],
    'Record format; auto detects it from the fields of each record.',
  ).default('auto'),
  fields: z
    .record(z.string('text'), z.string('text'), 'keys with values, such as {instruction: question}')
    .describe(
      'Field names in these files by standard name, for records and messages; a.b addresses nested objects.',
    )
    .default({}),
  ignore_fields: texts('Fields of records and messages to ignore, such as rejected or tools.').default([]),
  chat_template: text(
    'Name of a built-in template, or path of a Jinja file or tokenizer_config.json; default: the model’s.',
  ).optional(),
  on_bad_record: oneOf(['error', 'skip'], 'Whether an unusable record is an error or skipped.').default(
    'error',
  ),
  validation_files: texts('Files to validate on, instead of validation_fraction.').optional(),
  validation_fraction: share(
    'Share of the conversations to hold out for validation; default: 0.02.',
    'a number above 0 and below 1',
  )
    .gt(0, 'a number above 0 and below 1')
    .optional(),
  max_samples: count('Maximum number of conversations to read; default: all.').optional(),
});

const masking = z.strictObject({
  ratio: share(
    'Share of the answer tokens to mask in the copy; 0 is next-token prediction (NTP) without copies.',
  ).default(defaults.ratio),
  layout: oneOf(
    ['packed-isolated', 'separate-rows', 'concatenated'],
    'Position of the copy: in an isolated segment of a packed row, in a separate padded row, or after the original, ' +
      'which it then attends to.',
  ).default(defaults.layout),
  loss: oneOf(
    ['union', 'masked-only'],
    'Loss of a long answer: over the original answer and the masked tokens of the copy, or over the masked tokens only.',
  ).default(defaults.loss),
  refresh: oneOf(['epoch', 'static'], 'Whether masks change every epoch.').default(defaults.refresh),
  turns: oneOf(
    ['with-history', 'last-answer', 'separate'],
    'with-history: a conversation is one sample, trained on all answers. last-answer: on the last answer only. ' +
      'separate: each answer is a sample without the earlier turns.',
  ).default(defaults.turns),
  threshold: natural('Longest answer without a masked copy.').default(defaults.threshold),
  threshold_unit: oneOf(['tokens', 'characters'], 'Unit of threshold.').default(defaults.thresholdUnit),
  loss_roles: z
    .array(oneOf(['assistant', 'user', 'system', 'tool'], 'A role.'), 'a list of roles')
    .min(1, 'at least one role')
    .describe('Roles whose messages are trained on.')
    .default(['assistant']),
  mask_token: text('Mask token; added with a new embedding if the tokenizer lacks it.').default('[MASK]'),
});

const train = z.strictObject({
  epochs: positive('Number of epochs.').default(2),
  max_steps: count('Number of optimizer steps, instead of epochs.').optional(),
  global_batch_size: count(
    'Conversations per step, each with its copy; default: 512, rounded down to a multiple of micro_batch_size.',
  ).optional(),
  micro_batch_size: count(
    'Conversations per forward pass; default: all conversations of a step, or of a rank.',
  ).optional(),
  max_length: length(
    'Maximum tokens per row; longer conversations are truncated. Default: 4096, or the model’s context if shorter.',
  ).optional(),
  learning_rate: positive('Peak learning rate; default: 2e-5, or min_learning_rate if higher.').optional(),
  min_learning_rate: nonNegative('Final learning rate of schedules that decay; default: 0.').optional(),
  ...optimizerKeys({ warmupOf: 'the steps', weightDecay: 0.01, decayed: 'trained parameters' }),
});

const MODULES = `some of ${LEARNED_MODULES.join(', ')}`;

const lora = z.strictObject({
  rank: count('Rank of the adapter matrices.').default(16),
  alpha: positive('Scale of the update, divided by rank; default: 2 · rank.').optional(),
  use_rslora: flag('Divide alpha by √rank instead (rank-stabilized LoRA).').optional(),
  use_dora: flag(
    'Also train the norm of each row of the adapted weights (DoRA): closer to full fine-tuning at low ranks, slower.',
  ).optional(),
  loraplus_lr_ratio: positive(
    'Learning rate of B, and of DoRA’s and trained norms, divided by train.learning_rate (LoRA+); usually above 1, with a ' +
      'lower train.learning_rate. Default: 1.',
  ).optional(),
  dropout: share('Dropout of the adapter’s inputs.').default(0),
  target_modules: z
    .union(
      [z.literal('all-linear'), z.array(z.enum(LORA_TARGETS as [LoraTarget, ...LoraTarget[]])).min(1)],
      `all-linear, or a list of some of ${LORA_TARGETS.join(', ')}`,
    )
    .describe('Layers with an adapter; default: all-linear, all seven of a block.')
    .optional(),
  modules_to_save: z
    .array(z.enum(LEARNED_MODULES as [LearnedModule, ...LearnedModule[]], MODULES), `a list of ${MODULES}`)
    .describe(
      'What to train in full beside the adapters: embed_tokens, lm_head (the same table if the head is tied), norm ' +
        '(all norms). Tables take as much memory as in full fine-tuning.',
    )
    .optional(),
});

const validation = z.strictObject({
  every: validationEvery(),
  max_samples: count('Maximum conversations per validation: a fixed set.').default(256),
});

const samples = z.strictObject({
  every: count('Steps between samples.').default(100),
  prompts: texts('Questions to answer; default: those of the first validation conversations.').optional(),
  count: count('Number of validation conversations to answer.').default(3),
  max_new_tokens: count('Maximum tokens per answer.').default(128),
  temperature: nonNegative('Sampling temperature; 0 is greedy.').default(0),
});

/** The schema of a configuration; {@link configJsonSchema} is its JSON Schema. */
export const configSchema = z.strictObject({
  ...runKeys('Seed of adapters, data order, masks, dropout and samples.'),
  ...seedKeys({
    init: 'the initial weights of adapters',
    data: 'the order of conversations and the held-out share',
    mask: 'masks and dropout',
  }),
  model: model.describe('Model to fine-tune.').prefault({}),
  data: data.describe('Training and validation conversations.').prefault({}),
  masking: masking.describe('MEAP: masked copies of long answers, and the loss over them.').prefault({}),
  train: train.describe('Optimizer, batches and schedule.').prefault({}),
  lora: lora
    .describe(
      'Train LoRA adapters and the embedding of the mask token instead of the whole model; {} has all defaults.',
    )
    .optional(),
  validation: validation.describe('Losses of held-out answers and of their masked tokens.').prefault({}),
  probes: probesSection(),
  stop_when: stopWhenSection(),
  checkpoint: checkpointSection(),
  distributed: distributedSection(),
  samples: samples.describe('Answers to held-out questions before, during and after training.').prefault({}),
});

/** A configuration as written in a recipe: every key has a default or may be inherited. */
export type FinetuneConfigInput = z.input<typeof configSchema>;

/** Returns the JSON Schema of a recipe, stored as `recipes/finetune/schema.json`. */
export function configJsonSchema(): Record<string, unknown> {
  return recipeJsonSchema(configSchema, 'A recipe of meap-finetune');
}
