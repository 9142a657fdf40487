/**
 * The schema of a pre-training recipe: every key with its default and its meaning.
 *
 * Model keys are those of Hugging Face's config.json, training keys those of its TrainingArguments. All keys are
 * optional, since a recipe may extend another; `resolveConfig` checks the required ones.
 */
import { probesSection, stopWhenSection } from '@meap/eval-recipes';
import { type PresetName, presets } from '@meap/llama-model';
import { EXTENSION_METHODS } from '@meap/long-context-extension';
import { MASKING_STRATEGIES } from '@meap/meap-masking';
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
  seedKeys,
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
    'Hugging Face folder, run or OWNER/NAME on the Hub to continue training from, with its shape, weights and tokenizer; excludes all other ' +
      'keys. Relative to this file.',
  ).optional(),
  preset: oneOf(presetNames, 'Shape to start from; other keys override it.').optional(),
  model_type: oneOf(
    ['llama', 'qwen3'],
    'Architecture: qwen3 is a LLaMA with QK-norm, an RMSNorm of every head of queries and keys; default: llama.',
  ).optional(),
  vocab_size: count(
    'Rows of the embedding; default: the number of tokenizer ids with the mask token, rounded up to a multiple of 64.',
  ).optional(),
  hidden_size: count('Width of the residual stream.').optional(),
  intermediate_size: count('Width of the SwiGLU feed-forward layer.').optional(),
  num_hidden_layers: count('Number of transformer blocks.').optional(),
  num_attention_heads: count('Number of query heads.').optional(),
  num_key_value_heads: count(
    'Number of key/value heads; default: the preset’s if it divides num_attention_heads, else num_attention_heads.',
  ).optional(),
  head_dim: count('Width of a head; default: hidden_size / num_attention_heads.').optional(),
  max_position_embeddings: length(
    'Maximum context length; default: the larger of the preset’s and train.sequence_length.',
  ).optional(),
  rms_norm_eps: positive('Epsilon of RMSNorm; default: 1e-5.').optional(),
  rope_theta: positive('Base of the rotary embedding; default: 10000.').optional(),
  tie_word_embeddings: flag('Whether the head shares the embedding table; default: false.').optional(),
  initializer_range: positive(
    'Standard deviation of initial weights; default: depends on the shape, as in the authors’ code.',
  ).optional(),
});

const extension = z.strictObject({
  context_length: length('Context length after the extension; default: train.sequence_length.').optional(),
  method: oneOf(
    EXTENSION_METHODS,
    'theta: a larger base (the paper). linear: interpolated positions. ntk: NTK-aware base. dynamic: NTK-aware base by ' +
      'text length. yarn, llama3: by frequency band.',
  ).default('theta'),
  rope_theta: positive('New base of method theta; default: 640000.').optional(),
});

const fileFormat = (description: string) => oneOf(['auto', ...FILE_FORMATS], description);

const source = z.strictObject({
  files: texts('Like data.files.'),
  share: positive('Share of the tokens, relative to the sum of all shares.'),
  format: fileFormat('Overrides data.format.').optional(),
  text_field: text('Overrides data.text_field.').optional(),
  separator: text('Overrides data.separator.').optional(),
});

const longDocuments = z.strictObject({
  min_tokens: count('Minimum length of a long document in tokens, estimated as characters / 3.68.').default(
    4096,
  ),
  keep_shorter: zeroToOne('Probability of keeping a shorter document.').default(0.1),
});

const data = z.strictObject({
  files: texts(
    'Paths and globs of text, JSON, CSV, TSV (optionally gzip or zstd) and Parquet files, relative to this file, or on the Hub: hf://datasets/OWNER/NAME/FILES.',
  ).optional(),
  keep_downloads: flag(
    'Whether files of the Hub stay in its cache. false fetches those of files and sources one by one while they are ' +
      'tokenized and deletes each after: for texts larger than the disk.',
  ).default(true),
  npm: z
    .array(oneOf(npmTextNames, 'A text published as an npm package.'), 'a list of names')
    .describe('Texts from npm packages, instead of files.')
    .optional(),
  sources: z
    .record(z.string(), source, 'names with keys')
    .describe('Named sources, mixed by their shares, instead of files.')
    .optional(),
  token_budget: count(
    'Tokens of the mix of sources; default: what the run reads. A source with fewer tokens than its share is repeated.',
  ).optional(),
  long_documents: longDocuments
    .describe('Upsample long documents within each source (Fu et al. 2024); default: keep all documents.')
    .optional(),
  format: fileFormat(
    'File format: text, jsonl (one record per line), json (an array, or any other layout), csv, tsv, parquet; auto ' +
      'detects it from content, then name.',
  ).default('auto'),
  text_field: text('Field of a record with the text.').default('text'),
  separator: text(
    'Separator between the documents of a text file; default: a file is one document.',
  ).optional(),
  parse_special_tokens: flag(
    'Whether to parse special tokens in the text, such as </s>; otherwise they are tokenized as plain text.',
  ).default(false),
  on_bad_record: oneOf(['error', 'skip'], 'Whether an unreadable record is an error or skipped.').default(
    'error',
  ),
  validation_files: texts('Files to validate on, instead of validation_fraction.').optional(),
  validation_fraction: share(
    'Share of the blocks at the end of the token stream to hold out for validation; default: 0.05.',
    'a number above 0 and below 1',
  )
    .gt(0, 'a number above 0 and below 1')
    .optional(),
  cache_dir: text(
    'Cache folder for prepared tokens and trained tokenizers; default: meap in the user’s cache folder.',
  ).optional(),
});

const tokenizer = z.strictObject({
  path: text('A tokenizer.json, or a folder with one; relative to this file.').optional(),
  vocab_size: count('Train a byte-level BPE of this size on the data, instead of path.').optional(),
  bos_token: text('Token at the start of a document; default: the tokenizer’s.').optional(),
  eos_token: text('Token at the end of a document; default: the tokenizer’s.').optional(),
  mask_token: text('Mask token; added at the first free id if the tokenizer lacks it.').default('[MASK]'),
});

const masking = z.strictObject({
  strategy: oneOf(
    MASKING_STRATEGIES,
    'per-sequence: a fixed number of random positions in each row (the paper). reference: the positions of the ' +
      'authors’ code. bernoulli: each token independently. span: runs of span_length tokens.',
  ).default('per-sequence'),
  ratio: share('Share of the input tokens to mask; 0 is next-token prediction (NTP).').default(0.15),
  replace_with: oneOf(
    ['mask', 'random'],
    'mask: the mask token (the paper). random: a random token of the vocabulary that is not special, a control.',
  ).default('mask'),
  until: zeroToOne(
    'Share of train.max_steps with masks; the remaining steps are next-token prediction.',
    'a number above 0, up to 1',
  )
    .gt(0, 'a number above 0, up to 1')
    .default(1),
  span_length: count('Tokens per span, with strategy span.').optional(),
  keep_tokens: texts('Tokens to never mask, such as <s>.').default([]),
});

const train = z.strictObject({
  max_steps: count('Number of optimizer steps.').optional(),
  global_batch_size: count(
    'Rows per step; default: 256, rounded down to a multiple of micro_batch_size.',
  ).optional(),
  micro_batch_size: count('Rows per forward pass; default: all rows of a step, or of a rank.').optional(),
  sequence_length: length('Tokens per row; default: 4096, or the model’s context if shorter.').optional(),
  learning_rate: positive('Peak learning rate; default: 4e-4, or min_learning_rate if higher.').optional(),
  min_learning_rate: nonNegative(
    'Final learning rate of schedules that decay; default: learning_rate / 10.',
  ).optional(),
  dropout: share(
    'Dropout of the embeddings and of the outputs of attention and feed-forward layers, not of attention weights ' +
      '(GPT-2’s embd_pdrop and resid_pdrop); off in validation and samples.',
  ).default(0),
  z_loss: nonNegative(
    'Factor of the z-loss, the mean of (log Σ exp of the logits)² over the targets, which is minimised beside the loss and ' +
      'logged apart; PaLM’s is 1e-4, 0 is none.',
  ).default(0),
  ...optimizerKeys({ warmupOf: 'max_steps', weightDecay: 0.05, decayed: 'parameters' }),
});

const validation = z.strictObject({
  every: validationEvery(),
  max_rows: count('Maximum rows per validation: a fixed set, evenly spaced over the split.').default(256),
});

const samples = z.strictObject({
  every: count('Steps between samples.').default(100),
  prompts: texts('Prompts to complete; may be empty.').default(['']),
  held_out: z
    .int('a whole number from 0')
    .min(0, 'a whole number from 0')
    .describe('Samples that continue the validation text, each beside what follows there.')
    .default(0),
  max_new_tokens: count(
    'Maximum tokens per sample, which also ends at the model’s context; default: 64, or the context − 1 if shorter.',
  ).optional(),
  temperature: nonNegative('Sampling temperature; 0 is greedy.').default(0.8),
});

/** The schema of a configuration; {@link configJsonSchema} is its JSON Schema. */
export const configSchema = z.strictObject({
  ...runKeys('Seed of initial weights, data order, masks, dropout and samples.'),
  ...seedKeys({
    init: 'initial weights',
    data: 'the order of rows, the mix of sources and the documents kept',
    mask: 'masks and dropout',
  }),
  model: model.describe('Model shape, with the keys of Hugging Face’s config.json.').prefault({}),
  extension: extension.describe('Context extension of model.from.').optional(),
  data: data.describe('Training and validation data.').prefault({}),
  tokenizer: tokenizer.describe('Tokenizer to load or to train on the data.').prefault({}),
  masking: masking.describe('MEAP: which input tokens to mask.').prefault({}),
  train: train.describe('Optimizer, batches and schedule.').prefault({}),
  validation: validation.describe('Validation by next-token prediction, without masks.').prefault({}),
  probes: probesSection(),
  stop_when: stopWhenSection(),
  checkpoint: checkpointSection(),
  distributed: distributedSection(),
  samples: samples.describe('Texts generated during training.').prefault({}),
});

/** A configuration as written in a recipe: every key has a default or may be inherited. */
export type PretrainConfigInput = z.input<typeof configSchema>;

/** Returns the JSON Schema of a recipe, stored as `recipes/pretrain/schema.json`. */
export function configJsonSchema(): Record<string, unknown> {
  return recipeJsonSchema(configSchema, 'A recipe of meap-pretrain');
}
