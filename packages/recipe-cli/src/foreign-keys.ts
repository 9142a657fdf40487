/** Keys of other trainers (transformers, PEFT, TRL, LLaMA-Factory, axolotl, nanoGPT, torchtune) and their equivalents. */

/** The equivalent of a foreign key; of a list, the first whose key the program has. */
interface Equivalent {
  /** Path of the key, such as `train.epochs`; absent if no key is needed. */
  to?: string;
  /** Converts the value of the foreign key; undefined if it cannot be converted. */
  value?: (given: unknown, config: Recipe) => unknown;
  /** An explanation. */
  note?: string;
}

type Recipe = Readonly<Record<string, unknown>>;

const same = (given: unknown) => given;
const number = (value: unknown) => (typeof value === 'number' && Number.isFinite(value) ? value : undefined);
const train = (config: Recipe, key: string) =>
  number((config.train as Record<string, unknown> | undefined)?.[key] ?? config[key]);
const times = (a: number | undefined, b: number | undefined) =>
  a === undefined || b === undefined ? undefined : Number((a * b).toPrecision(12));
const shareOfSteps = (given: unknown, config: Recipe) => {
  const [steps, all] = [number(given), train(config, 'max_steps')];
  return steps === undefined || !all || steps > all ? undefined : Number((steps / all).toPrecision(6));
};
const precision = (name: string) => (given: unknown) => (given === true ? name : undefined);

const rename = (to: string, note?: string): Equivalent[] => [{ to, value: same, note }];
const rowLength = [...rename('train.max_length'), ...rename('train.sequence_length')];
const microBatch = rename(
  'train.micro_batch_size',
  'rows per forward pass; global_batch_size counts the rows of a step',
);
const data: Equivalent[] = [
  { to: 'data.files', value: (given) => (typeof given === 'string' ? [given] : given) },
];
const adapters: Equivalent[] = [{ to: 'lora', note: 'the section enables adapters; {} takes all defaults' }];
const curve: Equivalent[] = [
  { to: 'train.lr_scheduler_type', note: 'cosine, linear, constant or warmup_stable_decay' },
];
const optimizer: Equivalent[] = [
  {
    to: 'train.optim',
    value: (given) => /adamw|muon/i.exec(JSON.stringify(given))?.[0].toLowerCase(),
    note: 'adamw or muon; their settings are keys of train: adam_beta1, adam_beta2, adam_epsilon, muon_momentum, weight_decay',
  },
];
const qkNorm: Equivalent[] = [
  {
    to: 'model.model_type',
    value: (given) => (given === true ? 'qwen3' : undefined),
    note: 'QK-norm of heads',
  },
];
const targets: Equivalent[] = [
  { to: 'lora.target_modules', value: (given) => (given === 'all' || given === true ? 'all-linear' : given) },
];
const epochs: Equivalent[] = [
  { to: 'train.epochs', value: same },
  { to: 'train.max_steps', note: 'epochs × tokens / (global_batch_size × sequence_length)' },
];
const origin = [...rename('model.path'), ...rename('model.from')];

const EQUIVALENTS: Readonly<Record<string, readonly Equivalent[]>> = {
  // Batches.
  gradient_accumulation_steps: [
    {
      to: 'train.global_batch_size',
      value: (given, config) =>
        times(
          number(given),
          train(config, 'per_device_train_batch_size') ??
            train(config, 'batch_size') ??
            train(config, 'micro_batch_size'),
        ),
      note: 'rows of a step on all devices: micro_batch_size × gradient_accumulation_steps × ranks',
    },
  ],
  per_device_train_batch_size: microBatch,
  per_device_batch_size: microBatch,
  device_batch_size: microBatch,
  per_device_eval_batch_size: [{ note: 'validation uses train.micro_batch_size' }],
  eval_batch_size: [{ note: 'validation uses train.micro_batch_size' }],
  batch_size: rename(
    'train.global_batch_size',
    'rows of a step; micro_batch_size counts those of a forward pass',
  ),
  train_batch_size: rename('train.global_batch_size', 'rows of a step on all devices'),
  total_batch_size: rename('train.global_batch_size'),
  // Length of a run and of a row.
  num_train_epochs: epochs,
  num_epochs: epochs,
  epochs,
  max_iters: rename('train.max_steps'),
  num_steps: rename('train.max_steps'),
  ...Object.fromEntries(
    [
      'max_seq_length',
      'max_seq_len',
      'seq_length',
      'seq_len',
      'sequence_len',
      'sequence_length',
      'max_length',
      'cutoff_len',
      'block_size',
      'model_max_length',
    ].map((name) => [name, rowLength]),
  ),
  // Learning rate and optimizer.
  lr: rename('train.learning_rate'),
  max_lr: rename('train.learning_rate'),
  min_lr: rename('train.min_learning_rate'),
  min_lr_rate: [
    {
      to: 'train.min_learning_rate',
      value: (given, config) => times(number(given), train(config, 'learning_rate')),
      note: 'a rate, not a share of learning_rate',
    },
  ],
  lr_scheduler_kwargs: [{ to: 'train.min_learning_rate', note: 'the final rate of schedules that decay' }],
  lr_scheduler: curve,
  scheduler: curve,
  num_decay_steps: [{ to: 'train.decay_ratio', value: shareOfSteps, note: 'a share of the steps' }],
  warmup_steps: [{ to: 'train.warmup_ratio', value: shareOfSteps, note: 'a share of the steps' }],
  optim: optimizer,
  optimizer,
  optimizer_type: optimizer,
  momentum: rename('train.muon_momentum'),
  beta1: rename('train.adam_beta1'),
  beta2: rename('train.adam_beta2'),
  eps: rename('train.adam_epsilon'),
  grad_clip: rename('train.max_grad_norm'),
  gradient_clipping: rename('train.max_grad_norm'),
  max_norm: rename('train.max_grad_norm'),
  z_loss: rename('train.z_loss'),
  z_loss_weight: rename('train.z_loss'),
  z_loss_multiplier: rename('train.z_loss'),
  // Computing.
  bf16: [{ to: 'precision', value: precision('bfloat16') }],
  fp16: [{ to: 'precision', value: precision('float16') }],
  torch_dtype: rename('precision'),
  dtype: rename('precision'),
  load_in_4bit: [{ to: 'model.quantize', value: (given) => (given === true ? 'nf4' : undefined) }],
  load_in_8bit: [{ to: 'model.quantize', value: (given) => (given === true ? 'int8' : undefined) }],
  mixed_precision: [{ to: 'precision', note: 'float32, bfloat16 or float16' }],
  gradient_checkpointing: rename('train.recompute'),
  device: [{ to: 'backend' }],
  deepspeed: [{ to: 'distributed.zero_stage' }],
  fsdp: [{ to: 'distributed.zero_stage' }],
  dropout: [...rename('train.dropout'), ...rename('lora.dropout')],
  resid_pdrop: rename('train.dropout'),
  embd_pdrop: rename('train.dropout'),
  hidden_dropout: rename('train.dropout'),
  qk_norm: qkNorm,
  use_qk_norm: qkNorm,
  // Files, intervals.
  output_dir: [{ note: 'use the flag --out DIR' }],
  resume_from_checkpoint: [{ note: 'use the flag --resume' }],
  overwrite_output_dir: [{ note: 'use the flag --resume never' }],
  report_to: [{ note: 'TensorBoard files are always written' }],
  logging_steps: [{ note: 'metrics.jsonl has every step' }],
  save_steps: rename('checkpoint.every'),
  save_total_limit: rename('checkpoint.keep_last'),
  load_best_model_at_end: rename('checkpoint.keep_best'),
  eval_steps: rename('validation.every'),
  eval_strategy: [{ to: 'validation.every', note: 'steps between two' }],
  evaluation_strategy: [{ to: 'validation.every', note: 'steps between two' }],
  save_strategy: [{ to: 'checkpoint.every', note: 'steps between two' }],
  model_name_or_path: origin,
  base_model: origin,
  pretrained_model_name_or_path: origin,
  tokenizer_name_or_path: rename('tokenizer.path'),
  dataset: data,
  datasets: data,
  dataset_name: data,
  data_path: data,
  data_files: data,
  train_file: data,
  train_files: data,
  validation_file: rename('data.validation_files'),
  eval_file: rename('data.validation_files'),
  val_size: rename('data.validation_fraction'),
  val_set_size: rename('data.validation_fraction'),
  max_train_samples: rename('data.max_samples'),
  template: rename('data.chat_template'),
  train_on_inputs: [{ to: 'masking.loss_roles', note: 'roles whose messages are learned' }],
  // Adapters.
  r: rename('lora.rank'),
  lora_r: rename('lora.rank'),
  lora_rank: rename('lora.rank'),
  lora_alpha: rename('lora.alpha'),
  lora_dropout: rename('lora.dropout'),
  lora_target: targets,
  lora_target_modules: targets,
  lora_target_linear: targets,
  rslora: rename('lora.use_rslora'),
  use_rslora: rename('lora.use_rslora'),
  use_dora: rename('lora.use_dora'),
  peft_use_dora: rename('lora.use_dora'),
  loraplus_lr_ratio: rename('lora.loraplus_lr_ratio'),
  lora_modules_to_save: rename('lora.modules_to_save'),
  additional_target: rename('lora.modules_to_save'),
  adapter: adapters,
  peft: adapters,
  peft_config: adapters,
  use_peft: adapters,
  use_lora: adapters,
  lora_config: adapters,
  finetuning_type: adapters,
};

/** Other spellings of names above. */
const ALIASES: Readonly<Record<string, string>> = {
  gradient_accumulation: 'gradient_accumulation_steps',
  grad_accum_steps: 'gradient_accumulation_steps',
  num_warmup_steps: 'warmup_steps',
  warmup_iters: 'warmup_steps',
  lr_warmup_steps: 'warmup_steps',
  decay_steps: 'num_decay_steps',
  lr_decay_steps: 'num_decay_steps',
  cosine_min_lr_ratio: 'min_lr_rate',
  min_lr_ratio: 'min_lr_rate',
  lr_schedule: 'lr_scheduler',
};

/**
 * Describes the equivalent of another trainer's key; undefined for an unknown key.
 *
 * @param hasKey whether the program's recipes have a key at a path
 */
export function equivalentOf(
  key: string,
  given: unknown,
  config: Recipe,
  hasKey: (path: string) => boolean,
): string | undefined {
  const name = Object.hasOwn(ALIASES, key) ? ALIASES[key] : key;
  if (!Object.hasOwn(EQUIVALENTS, name)) return undefined;
  const found = EQUIVALENTS[name].find(({ to = 'train' }) => hasKey(to));
  if (!found) return undefined;
  const { to, value, note } = found;
  if (to === undefined) return note;
  const here = value?.(given, config);
  const isShown = here !== undefined && here !== null && JSON.stringify(here).length <= 80;
  const write = `write ${to}${isShown ? `: ${typeof here === 'string' ? here : JSON.stringify(here)}` : ''}`;
  return note ? `${write} (${note})` : write;
}
