/**
 * The configuration of a pre-training run: one schema with every key, its default and its meaning.
 *
 * Model keys are those of Hugging Face's config.json, training keys those of its TrainingArguments. Keys of a recipe
 * are all optional here because it may extend another; what a whole run cannot do without is checked by `resolve`.
 */
import { type PresetName, presets } from '@meap/llama-model';
import { EXTENSION_METHODS } from '@meap/long-context-extension';
import {
  checkpointSection,
  count,
  distributedSection,
  flag,
  length,
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
  zeroToOne,
} from '@meap/recipe-cli';
import { FILE_FORMATS } from '@meap/token-dataset';
import { z } from 'zod';
import { npmTextNames } from './training/npm-text.ts';

const presetNames = Object.keys(presets) as [PresetName, ...PresetName[]];

const model = z.strictObject({
  from: text(
    'Checkpoint to train on, a Hugging Face folder, in place of all other keys: shape, weights and tokenizer are its own; relative to this file.',
  ).optional(),
  preset: oneOf(presetNames, 'Shape to start from; keys beside it change it.').optional(),
  vocab_size: count(
    'Rows of the embedding. Default: the tokenizer’s ids and the mask id, rounded up to a multiple of 64.',
  ).optional(),
  hidden_size: count('Width of the residual stream.').optional(),
  intermediate_size: count('Width of the SwiGLU feed-forward layer.').optional(),
  num_hidden_layers: count('Transformer blocks.').optional(),
  num_attention_heads: count('Query heads.').optional(),
  num_key_value_heads: count(
    'Key/value heads; default: the preset’s where they divide the query heads, else as many as those.',
  ).optional(),
  head_dim: count('Width of a head; default: hidden_size / num_attention_heads.').optional(),
  max_position_embeddings: length(
    'Longest context; default: the preset’s or train.sequence_length, whichever is longer.',
  ).optional(),
  rms_norm_eps: positive('Epsilon of RMSNorm; default 1e-5.').optional(),
  rope_theta: positive('Base of the rotary embedding; default 10000.').optional(),
  tie_word_embeddings: flag('Whether the head is the embedding table; default false.').optional(),
  initializer_range: positive(
    'Deviation of fresh weights; default: by shape, as the authors of MEAP do.',
  ).optional(),
});

const extension = z.strictObject({
  context_length: length(
    'Longest text after the extension, in tokens; default: train.sequence_length.',
  ).optional(),
  method: oneOf(
    EXTENSION_METHODS,
    'theta: another base (the paper). linear: interpolated positions. ntk, dynamic: NTK-aware, for any text or by its ' +
      'length. yarn, llama3: by parts.',
  ).default('theta'),
  rope_theta: positive('The new base, with method theta; default 640000.').optional(),
});

const fileFormat = (description: string) => oneOf(['auto', ...FILE_FORMATS], description);

const source = z.strictObject({
  files: texts('As data.files.'),
  share: positive('Part of the tokens, in proportion to the sum of all shares.'),
  format: fileFormat('As data.format, which is the default.').optional(),
  text_field: text('As data.text_field, which is the default.').optional(),
  separator: text('As data.separator, which is the default.').optional(),
});

const longDocuments = z.strictObject({
  min_tokens: count('Estimated tokens, characters / 3.68, from which on a document is always kept.').default(
    4096,
  ),
  keep_shorter: zeroToOne('Probability with which a shorter one is kept.').default(0.1),
});

const data = z.strictObject({
  files: texts(
    'Paths and globs of files of text, JSON, CSV, TSV (each also inside gzip or zstd) and Parquet; relative to this file.',
  ).optional(),
  npm: z
    .array(oneOf(npmTextNames, 'A text that comes inside an npm package.'), 'a list of names')
    .describe('Built-in texts, in place of files.')
    .optional(),
  sources: z
    .record(z.string(), source, 'names with keys')
    .describe('Several sources by name, mixed by their shares, in place of files.')
    .optional(),
  token_budget: count(
    'Tokens of the mix of sources; default: what the run reads. A source with fewer than its share starts over.',
  ).optional(),
  long_documents: longDocuments
    .describe('Keep long documents and few short ones, within each source (Fu et al. 2024); default: all.')
    .optional(),
  format: fileFormat(
    'What the files hold: text, jsonl (a record a line), json (an array, or any other layout), csv, tsv, parquet; auto ' +
      'tells by content, then by name.',
  ).default('auto'),
  text_field: text('Field of a record that holds the text.').default('text'),
  separator: text('Text between the documents of a text file; without it a file is one document.').optional(),
  parse_special_tokens: flag(
    'Whether text that spells a special token, such as </s>, becomes it; otherwise it stays text.',
  ).default(false),
  on_bad_record: oneOf(['error', 'skip'], 'Whether a record that cannot be read ends the run.').default(
    'error',
  ),
  validation_files: texts('Files to validate on, in place of validation_fraction.').optional(),
  validation_fraction: share(
    'Share of the blocks, at the end of the token stream, kept for validation; default 0.05.',
    'a number above 0 and below 1',
  )
    .gt(0, 'a number above 0 and below 1')
    .optional(),
  cache_dir: text(
    'Folder for prepared tokens and trained tokenizers; default: meap in the user’s cache folder.',
  ).optional(),
});

const tokenizer = z.strictObject({
  path: text('A tokenizer.json, or a folder with one; relative to this file.').optional(),
  vocab_size: count('Train a byte-level BPE of this many tokens on the data, in place of path.').optional(),
  bos_token: text('Token that opens a document; default: the tokenizer’s.').optional(),
  eos_token: text('Token that closes a document; default: the tokenizer’s.').optional(),
  mask_token: text(
    'Token that stands for a masked one; added at the first free id unless it is there.',
  ).default('[MASK]'),
});

const masking = z.strictObject({
  strategy: oneOf(
    ['per-sequence', 'reference', 'bernoulli', 'span'],
    'per-sequence: fresh positions for every row (the paper). reference: the positions of the authors’ code. ' +
      'bernoulli: each token on its own. span: runs of span_length tokens.',
  ).default('per-sequence'),
  ratio: share('Share of the input tokens to mask; 0 is next-token prediction (NTP).').default(0.15),
  span_length: count('Tokens of a span; only with strategy span.').optional(),
  keep_tokens: texts('Tokens that are never masked, such as <s>.').default([]),
});

const train = z.strictObject({
  max_steps: count('Optimizer steps of the run.').optional(),
  global_batch_size: count(
    'Rows of a step; default: 256, or the multiple of micro_batch_size below it.',
  ).optional(),
  micro_batch_size: count(
    'Rows computed at once; default: all of a step, or of a rank’s share of it.',
  ).optional(),
  sequence_length: length(
    'Tokens of a row; default: 4096, or the model’s context where that is shorter.',
  ).optional(),
  learning_rate: positive(
    'Highest learning rate; default: 4e-4, or min_learning_rate where that is higher.',
  ).optional(),
  min_learning_rate: nonNegative(
    'Learning rate that cosine and linear fall to; default: a tenth of learning_rate.',
  ).optional(),
  ...optimizerKeys({ warmupOf: 'max_steps', weightDecay: 0.05, decayed: 'parameters' }),
});

const validation = z.strictObject({
  every: validationEvery(),
  max_rows: count('Most rows of a validation, spread evenly over the split; always the same.').default(256),
});

const samples = z.strictObject({
  every: count('Steps between two samples.').default(100),
  prompts: texts('Beginnings for the model to go on from; an empty one starts from nothing.').default(['']),
  max_new_tokens: count(
    'Most tokens of a sample, which ends where the model’s context does; default: 64, less with a context as short.',
  ).optional(),
  temperature: nonNegative('0 takes the most likely token.').default(0.8),
});

/** The schema of a configuration; {@link configJsonSchema} is the same for editors. */
export const configSchema = z.strictObject({
  ...runKeys('Key of fresh weights, data order and masks.'),
  model: model.describe('Shape of the model, with the keys of Hugging Face’s config.json.').prefault({}),
  extension: extension.describe('A longer context for model.from.').optional(),
  data: data.describe('What to train and validate on.').prefault({}),
  tokenizer: tokenizer.describe('Trained on the data or loaded.').prefault({}),
  masking: masking.describe('MEAP: which input tokens are masked.').prefault({}),
  train: train.describe('Optimizer, batches and schedule.').prefault({}),
  validation: validation.describe('Plain next-token prediction, without masks.').prefault({}),
  checkpoint: checkpointSection(),
  distributed: distributedSection(),
  samples: samples.describe('Texts written while training.').prefault({}),
});

/** A configuration as a recipe or a caller writes it: every key has a default or may be inherited. */
export type PretrainConfigInput = z.input<typeof configSchema>;

/** The JSON Schema of a recipe, for editors; `recipes/pretrain/schema.json` is this. */
export function configJsonSchema(): Record<string, unknown> {
  return recipeJsonSchema(configSchema, 'A recipe of meap-pretrain');
}
