/** The configuration of an evaluation. */
import { devNull } from 'node:os';
import {
  checkPromptKeys,
  checkTaskName,
  type DataSection,
  dataPaths,
  dataSection,
  type FamilySettings,
  families,
  familySections,
  HUB,
  promptKeys,
  questionLimit,
  TASK_FILE,
} from '@meap/eval-recipes';
import {
  count,
  flag,
  natural,
  oneOf,
  parseConfig,
  type RecipeRules,
  Refusals,
  readRecipe,
  recipeJsonSchema,
  runKeys,
  text,
  texts,
} from '@meap/recipe-cli';
import { type QuantizedFormat, quantizedFormats } from '@meap/tensor-kernels';
import { z } from 'zod';

/** A section for every family, with its defaults. */
const sections = Object.fromEntries(
  Object.entries(familySections).map(([name, section]) => [name, section.prefault({})]),
);

const configSchema = z.strictObject({
  ...runKeys(''),
  seed: natural('Random seed; default: that of each published task.').optional(),
  model: z
    .strictObject({
      path: text(
        'Hugging Face folder, PEFT adapter or run directory, relative to this file; or OWNER/NAME on the Hub.',
      ).optional(),
      quantize: oneOf(
        quantizedFormats,
        'Holds the linear layers in 8 bits (int8) or 4 (nf4), as bitsandbytes does; on the native backend. ' +
          'Default: as published.',
      ).optional(),
      endpoint: text(
        'Instead of path: address of a server with OpenAI’s completions API, such as http://127.0.0.1:8000/v1. ' +
          'Its key is taken from the environment variable OPENAI_API_KEY.',
      ).optional(),
      endpoint_api: oneOf(
        ['completions', 'chat'],
        'completions, or chat for a server that only has /chat/completions: it answers tasks with generated answers, in its own ' +
          'chat template, and needs no tokenizer.',
      ).optional(),
      endpoint_model: text('Name of the model at the endpoint.').optional(),
      tokenizer: text(
        'Folder or OWNER/NAME on the Hub with the tokenizer of the model at the endpoint.',
      ).optional(),
      context_length: count(
        'Tokens that the model at the endpoint reads; default: what it says, else 2048.',
      ).optional(),
    })
    .describe('The model to evaluate.')
    .prefault({}),
  tasks: texts(
    'Names of tasks, which `meap-evaluate list` shows, or files: a YAML of lm-evaluation-harness, or rows {query, choices, gold}; ' +
      'relative to this file.',
  ).default([]),
  data: dataSection(
    'Folder that is searched for data sets, relative to this file; or hub, which fetches them from the Hugging Face Hub.',
  ).prefault({}),
  limit: questionLimit().optional(),
  samples: z
    .array(natural('A row number.'), 'a list of row numbers from 0')
    .min(1, 'at least one row')
    .describe('Evaluate only these rows of each task, counted from 0.')
    .optional(),
  bos: flag(
    'Whether each prompt starts with BOS; default: as published for generation, and no BOS for scoring, as in ' +
      'lm-evaluation-harness 0.4.7.',
  ).optional(),
  ...promptKeys(),
  ...sections,
});

type Parsed = Omit<z.output<typeof configSchema>, 'data'> & FamilySettings;

/** A validated configuration of a command that takes its models as arguments. */
export interface CommandConfig extends Omit<Parsed, 'extends'> {
  data: DataSection;
}

/** The model of a run: a local one, or one of a server. */
export type ModelChoice =
  | { path: string; quantize?: QuantizedFormat }
  | {
      endpoint: string;
      endpoint_api?: 'completions';
      endpoint_model: string;
      tokenizer: string;
      context_length?: number;
    }
  | { endpoint: string; endpoint_api: 'chat'; endpoint_model: string };

/** A validated configuration of a run. */
export interface EvaluateConfig extends Omit<CommandConfig, 'model'> {
  model: ModelChoice;
}

/** Returns the JSON Schema of `recipes/evaluate/schema.json`. */
export function configJsonSchema(): Record<string, unknown> {
  return recipeJsonSchema(configSchema, 'A recipe of meap-evaluate');
}

export const RULES: RecipeRules = {
  shipped: { moduleUrl: import.meta.url, program: 'evaluate' },
  paths: [
    ['model', 'path'],
    ['model', 'tokenizer'],
    ['tasks'],
    ...dataPaths.map((path) => ['data', ...path]),
  ],
  hub: { 'model.path': 'model', 'model.tokenizer': 'tokenizer' },
  // A folder of the name hub is ./hub.
  files: { tasks: TASK_FILE, 'data.folder': new RegExp(`^(?!${HUB}$)`) },
};

/**
 * Loads a recipe with the recipes it extends, applies overrides and validates the result.
 *
 * @param file path of a recipe, or name of a built-in one; by default the overrides are the whole configuration
 * @param overrides `path.to.key=value`, the value in YAML; the last one takes precedence
 * @throws ConfigurationError with every problem
 */
export function loadConfig(file?: string, overrides: readonly string[] = []): EvaluateConfig {
  const config = readConfig(file, overrides);
  const refusals = new Refusals();
  checkModel(config, refusals);
  if (config.tasks.length === 0) {
    refusals.add('tasks', config.tasks, 'at least one task, as in --tasks arc_easy,piqa');
  }
  for (const [i, task] of config.tasks.entries()) checkTaskName(`tasks.${i}`, task, refusals, true);
  if (config.limit !== undefined && config.samples !== undefined) {
    refusals.add('limit', config.limit, 'either limit or samples');
  }
  checkPromptKeys(config, refusals);
  const given: Readonly<Record<string, unknown>> = { ...config };
  for (const [name, { check }] of families) check?.(given[name], name, refusals);
  refusals.throwIfAny();
  const model = config.model as ModelChoice;
  const chat = isChat(model) && { apply_chat_template: true };
  return { ...config, ...chat, model, tasks: [...new Set(config.tasks)] };
}

/** Whether a model is behind a server that renders conversations by itself. */
export function isChat(model: CommandConfig['model'] | ModelChoice): boolean {
  return 'endpoint_api' in model && model.endpoint_api === 'chat';
}

function checkModel(config: CommandConfig, refusals: Refusals): void {
  const { model, backend, precision } = config;
  const { path, quantize, endpoint, ...rest } = model;
  if (path !== undefined && endpoint !== undefined) {
    refusals.add('model.endpoint', endpoint, 'either path or endpoint');
  } else if (endpoint !== undefined) {
    if (rest.endpoint_model === undefined) {
      refusals.add(
        'model.endpoint_model',
        undefined,
        'the name of the model there, as in --endpoint-model NAME',
      );
    }
    if (isChat(model)) {
      const { tokenizer, context_length } = rest;
      const { bos, apply_chat_template } = config;
      const unused = { 'model.tokenizer': tokenizer, 'model.context_length': context_length, bos };
      for (const [key, value] of Object.entries({ ...unused, apply_chat_template })) {
        if (value === undefined || (key === 'apply_chat_template' && value === true)) continue;
        refusals.add(key, value, 'none with model.endpoint_api chat, whose server makes the prompts');
      }
    } else if (rest.tokenizer === undefined) {
      refusals.add('model.tokenizer', undefined, 'the folder of its tokenizer, as in --tokenizer DIR');
    }
    const own = 'which a server chooses by itself';
    if (backend !== 'auto') refusals.add('backend', backend, `auto with model.endpoint, ${own}`);
    if (quantize) refusals.add('model.quantize', quantize, `none with model.endpoint, ${own}`);
    if (precision !== 'float32') refusals.add('precision', precision, `none with model.endpoint, ${own}`);
  } else {
    if (path === undefined) {
      const expected = 'the folder of a model, as in --model DIR, or a server, as in --endpoint URL';
      refusals.add('model.path', undefined, expected);
    }
    for (const [key, value] of Object.entries(rest)) {
      if (value !== undefined) refusals.add(`model.${key}`, value, 'none without model.endpoint');
    }
  }
}

/**
 * Like {@link loadConfig}, for a command that takes its models as arguments and has no tasks.
 *
 * @throws ConfigurationError with every problem
 */
export function readConfig(file = devNull, overrides: readonly string[] = []): CommandConfig {
  const { extends: _, ...config } = parseConfig(configSchema, readRecipe(file, overrides, RULES));
  return config as CommandConfig;
}
