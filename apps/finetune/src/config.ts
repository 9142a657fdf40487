/**
 * The configuration of a fine-tuning run: one schema with every key, its default and its meaning.
 *
 * Training keys are those of Hugging Face's TrainingArguments, adapter keys those of PEFT where they fit in one word.
 * Keys of a recipe are all optional here because it may extend another; what a whole run cannot do without is checked
 * by `resolveConfig`.
 */
import { LEARNED_TABLES, type LearnedTable, LORA_TARGETS, type LoraTarget } from '@meap/llama-model';
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
  share,
  text,
  texts,
  validationEvery,
} from '@meap/recipe-cli';
import { sftPresets } from '@meap/sft-duplication';
import { RECORD_FORMATS } from '@meap/token-dataset';
import { z } from 'zod';
import { FORMATS } from './formats.ts';

const defaults = sftPresets.default;

const model = z.strictObject({
  path: text('Folder of a Hugging Face LLaMA, Mistral or Qwen2; relative to this file.').optional(),
});

const data = z.strictObject({
  files: texts(
    'Paths and globs of files of JSON, CSV, TSV (each also inside gzip or zstd) and Parquet; relative to this file.',
  ).optional(),
  file_format: oneOf(
    ['auto', ...RECORD_FORMATS],
    'What the files hold: jsonl (a record a line), json (an array, or any other layout), csv, tsv, parquet; auto tells ' +
      'by content, then by name.',
  ).default('auto'),
  format: oneOf(
    ['auto', ...FORMATS],
    'Shape of the records; auto recognises it by the fields of each record.',
  ).default('auto'),
  fields: z
    .record(z.string('text'), z.string('text'), 'keys with values, such as {instruction: question}')
    .describe(
      'Names that fields of records and messages have in these files, by their usual name; a.b reaches into objects.',
    )
    .default({}),
  ignore_fields: texts('Fields of records and messages to train without, such as rejected or tools.').default(
    [],
  ),
  chat_template: text(
    'Name of a built-in template, or a file: Jinja or a tokenizer_config.json. Default: the model’s own.',
  ).optional(),
  on_bad_record: oneOf(['error', 'skip'], 'Whether a record that cannot be used ends the run.').default(
    'error',
  ),
  validation_files: texts('Files to validate on, in place of validation_fraction.').optional(),
  validation_fraction: share(
    'Share of the conversations kept for validation; default 0.02.',
    'a number above 0 and below 1',
  )
    .gt(0, 'a number above 0 and below 1')
    .optional(),
  max_samples: count('Use only the first so many conversations.').optional(),
});

const masking = z.strictObject({
  ratio: share(
    'Share of an answer’s tokens to mask in the copy; 0 is next-token prediction (NTP) without copies.',
  ).default(defaults.ratio),
  layout: oneOf(
    ['packed-isolated', 'separate-rows', 'concatenated'],
    'Where the copy goes: a segment of its own in a packed row, a padded row of its own, or behind the original, ' +
      'which it then sees.',
  ).default(defaults.layout),
  loss: oneOf(
    ['union', 'masked-only'],
    'What is learned from a long answer: all of the original and the masked tokens of the copy, or these alone.',
  ).default(defaults.loss),
  refresh: oneOf(['epoch', 'static'], 'New masks every epoch, or the same ones throughout.').default(
    defaults.refresh,
  ),
  turns: oneOf(
    ['with-history', 'last-answer', 'separate'],
    'Whether a conversation is one sample of which every answer is learned, or the last one alone, or each of its ' +
      'answers is a sample without the turns before.',
  ).default(defaults.turns),
  threshold: natural('An answer longer than this gets a masked copy, any other is learned as usual.').default(
    defaults.threshold,
  ),
  threshold_unit: oneOf(['tokens', 'characters'], 'What threshold counts.').default(defaults.thresholdUnit),
  loss_roles: z
    .array(oneOf(['assistant', 'user', 'system', 'tool'], 'A role.'), 'a list of roles')
    .min(1, 'at least one role')
    .describe('Whose messages are learned.')
    .default(['assistant']),
  mask_token: text(
    'Token that stands for a masked one; added with a new embedding unless it is there.',
  ).default('[MASK]'),
});

const train = z.strictObject({
  epochs: positive('Passes over the data.').default(2),
  max_steps: count('Optimizer steps, in place of epochs.').optional(),
  global_batch_size: count(
    'Conversations of a step, each with its copy; default: 512, or the multiple of micro_batch_size below it.',
  ).optional(),
  micro_batch_size: count(
    'Conversations computed at once; default: all of a step, or of a rank’s share of it.',
  ).optional(),
  max_length: length(
    'Most tokens of a row; a longer conversation is cut. Default: 4096, or the model’s context where that is shorter.',
  ).optional(),
  learning_rate: positive(
    'Highest learning rate; default: 2e-5, or min_learning_rate where that is higher.',
  ).optional(),
  min_learning_rate: nonNegative('Learning rate that cosine and linear fall to; default: 0.').optional(),
  ...optimizerKeys({ warmupOf: 'the steps', weightDecay: 0.01, decayed: 'trained parameters' }),
});

const TABLES = `some of ${LEARNED_TABLES.join(', ')}`;

const lora = z.strictObject({
  rank: count('Columns of the thin matrices.').default(16),
  alpha: positive('The update is scaled by alpha / rank; default: 2 · rank.').optional(),
  use_rslora: flag(
    'Scale the update by alpha / √rank instead, so that a high rank learns as fast.',
  ).optional(),
  dropout: share('Share of a layer’s inputs that the adapter does not see in training.').default(0),
  target_modules: z
    .union(
      [z.literal('all-linear'), z.array(z.enum(LORA_TARGETS as [LoraTarget, ...LoraTarget[]])).min(1)],
      `all-linear, or a list of some of ${LORA_TARGETS.join(', ')}`,
    )
    .describe('Layers that get an adapter; default: all-linear, the seven of a block.')
    .optional(),
  modules_to_save: z
    .array(z.enum(LEARNED_TABLES as [LearnedTable, ...LearnedTable[]], TABLES), `a list of ${TABLES}`)
    .describe(
      'Tables learned in full beside the adapters: embed_tokens, lm_head; one and the same where the head is tied. ' +
        'Takes as much memory as training them without adapters.',
    )
    .optional(),
});

const validation = z.strictObject({
  every: validationEvery(),
  max_samples: count('Most conversations of a validation; always the same.').default(256),
});

const samples = z.strictObject({
  every: count('Steps between two samples.').default(100),
  prompts: texts('Questions to answer; default: the first of the validation conversations.').optional(),
  count: count('How many of the validation conversations.').default(3),
  max_new_tokens: count('Most tokens of an answer.').default(128),
  temperature: nonNegative('0 takes the most likely token.').default(0),
});

/** The schema of a configuration; {@link configJsonSchema} is the same for editors. */
export const configSchema = z.strictObject({
  ...runKeys('Key of data order, masks, adapters and dropout.'),
  model: model.describe('What to fine-tune.').prefault({}),
  data: data.describe('Conversations to learn from.').prefault({}),
  masking: masking.describe('MEAP: which answers are copied and masked, and what is learned.').prefault({}),
  train: train.describe('Optimizer, batches and schedule.').prefault({}),
  lora: lora
    .describe(
      'Train low-rank adapters, and the embedding of the mask token, instead of the whole model; {} takes all defaults.',
    )
    .optional(),
  validation: validation.describe('Loss of held-out answers, and of masked tokens apart.').prefault({}),
  checkpoint: checkpointSection(),
  distributed: distributedSection(),
  samples: samples.describe('Answers to held-out questions, before, while and after training.').prefault({}),
});

/** A configuration as a recipe or a caller writes it: every key has a default or may be inherited. */
export type FinetuneConfigInput = z.input<typeof configSchema>;

/** The JSON Schema of a recipe, for editors; `recipes/finetune/schema.json` is this. */
export function configJsonSchema(): Record<string, unknown> {
  return recipeJsonSchema(configSchema, 'A recipe of meap-finetune');
}
