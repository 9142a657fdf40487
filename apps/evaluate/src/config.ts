/** The configuration of an evaluation. */
import { devNull } from 'node:os';
import {
  count,
  flag,
  natural,
  parseConfig,
  type RecipeRules,
  Refusals,
  readRecipe,
  recipeJsonSchema,
  runKeys,
  text,
  texts,
} from '@meap/recipe-cli';
import { closestMatch } from 'leven';
import { z } from 'zod';
import { DATA_SETS, type FamilySettings, families, TASKS } from './tasks/catalogue.ts';
import type { DataSet } from './tasks/data-sets.ts';

const files = ({ what }: DataSet) =>
  z
    .union([z.string(), z.array(z.string())], 'a path or glob, or a list of them')
    .describe(`Files of ${what}; default: found in folder.`)
    .optional();

const data = z.strictObject({
  folder: text('Folder that is searched for data sets; relative to this file.').optional(),
  ...Object.fromEntries([...DATA_SETS].map(([name, dataSet]) => [name, files(dataSet)])),
});

const familySections = Object.fromEntries(
  families.flatMap(([name, { settings }]) =>
    settings === undefined ? [] : [[name, (settings as z.ZodObject).prefault({})]],
  ),
);

const configSchema = z.strictObject({
  ...runKeys(''),
  seed: natural('Random seed; default: that of each published task.').optional(),
  model: z
    .strictObject({
      path: text('Hugging Face folder, PEFT adapter or run directory; relative to this file.').optional(),
    })
    .describe('The model to evaluate.')
    .prefault({}),
  tasks: texts('Names of tasks; `meap-evaluate list` shows them.').default([]),
  data: data.describe('The data sets.').prefault({}),
  limit: count('Evaluate only the first rows of each task.').optional(),
  samples: z
    .array(natural('A row number.'), 'a list of row numbers from 0')
    .min(1, 'at least one row')
    .describe('Evaluate only these rows of each task, counted from 0.')
    .optional(),
  bos: flag(
    'Whether each prompt starts with BOS; default: as published for generation, and no BOS for scoring, as in ' +
      'lm-evaluation-harness 0.4.7.',
  ).optional(),
  ...familySections,
});

type Parsed = Omit<z.output<typeof configSchema>, 'data'> & FamilySettings;

/** A validated configuration of a command that takes its models as arguments. */
export interface CommandConfig extends Omit<Parsed, 'extends'> {
  /** The folder that is searched for data sets, and files by the name of their data set. */
  data: { folder?: string; [dataSet: string]: string | string[] | undefined };
}

/** A validated configuration of a run. */
export interface EvaluateConfig extends Omit<CommandConfig, 'model'> {
  model: { path: string };
}

/** Returns the JSON Schema of `recipes/evaluate/schema.json`. */
export function configJsonSchema(): Record<string, unknown> {
  return recipeJsonSchema(configSchema, 'A recipe of meap-evaluate');
}

const RULES: RecipeRules = {
  shipped: { moduleUrl: import.meta.url, program: 'evaluate' },
  paths: [
    ['model', 'path'],
    ['data', 'folder'],
    ...[...DATA_SETS.keys()].map((name) => ['data', name] as const),
  ],
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
  const { path } = config.model;
  if (path === undefined) refusals.add('model.path', undefined, 'the folder of a model, as in --model DIR');
  if (config.tasks.length === 0) {
    refusals.add('tasks', config.tasks, 'at least one task, as in --tasks arc_easy,piqa');
  }
  const names = [...TASKS.keys()];
  for (const [i, task] of config.tasks.entries()) {
    if (TASKS.has(task)) continue;
    const hint = `a task (${names.join(', ')}); did you mean ${closestMatch(task, names)}?`;
    refusals.add(`tasks.${i}`, task, hint);
  }
  if (config.limit !== undefined && config.samples !== undefined) {
    refusals.add('limit', config.limit, 'either limit or samples');
  }
  const sections: Readonly<Record<string, unknown>> = { ...config };
  for (const [name, { check }] of families) check?.(sections[name], name, refusals);
  refusals.throwIfAny();
  return { ...config, model: { path: path! }, tasks: [...new Set(config.tasks)] };
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
