/** The configuration of an evaluation: one schema with every key, its default and its meaning. */
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
import { DATA_SETS, type DataSetName } from './data-sets.ts';
import { TASKS, type TaskName } from './task-catalog.ts';

const dataSetNames = Object.keys(DATA_SETS) as DataSetName[];

const files = (name: DataSetName) =>
  z
    .union([z.string(), z.array(z.string())], 'a path or glob, or a list of them')
    .describe(`Files of ${DATA_SETS[name].what}; default: found in folder.`)
    .optional();

const data = z.strictObject({
  folder: text('Folder in which files of the data sets are looked for; relative to this file.').optional(),
  ...(Object.fromEntries(dataSetNames.map((name) => [name, files(name)])) as Record<
    DataSetName,
    ReturnType<typeof files>
  >),
});

/** The schema of a configuration; {@link configJsonSchema} is the same for editors. */
export const configSchema = z.strictObject({
  ...runKeys('Key of what tasks draw, such as the order of documents.'),
  model: z
    .strictObject({
      path: text('Hugging Face folder, PEFT adapter or run directory; relative to this file.').optional(),
    })
    .describe('What to evaluate.')
    .prefault({}),
  tasks: texts('Names of tasks; `meap-evaluate list` shows them.').default([]),
  data: data.describe('Where the tasks’ data are.').prefault({}),
  limit: count('Ask only the first rows of each task.').optional(),
  samples: z
    .array(natural('A row.'), 'a list of row numbers from 0')
    .min(1, 'at least one row')
    .describe('Ask only these rows of each task, counted from 0.')
    .optional(),
  bos: flag('Whether BOS stands before each context of the log-likelihood tasks.').default(false),
});

type Parsed = z.output<typeof configSchema>;

/** A checked configuration. */
export interface EvaluateConfig extends Omit<Parsed, 'extends' | 'model' | 'tasks'> {
  model: { path: string };
  tasks: TaskName[];
}

/** The JSON Schema of a recipe, for editors; `recipes/evaluate-schema.json` is this. */
export function configJsonSchema(): Record<string, unknown> {
  return recipeJsonSchema(configSchema, 'A recipe of meap-evaluate');
}

const RULES: RecipeRules = {
  paths: [['model', 'path'], ['data', 'folder'], ...dataSetNames.map((name) => ['data', name] as const)],
};

/**
 * Reads a recipe with all it extends, applies overrides and checks the result.
 *
 * @param file without one, the overrides alone say what to do
 * @param overrides `path.to.key=value`, the value in YAML; later ones win
 * @throws ConfigurationError naming every problem
 */
export function loadConfig(file: string = devNull, overrides: readonly string[] = []): EvaluateConfig {
  const { extends: _, ...config } = parseConfig(configSchema, readRecipe(file, overrides, RULES));
  const refusals = new Refusals();
  if (config.model.path === undefined) {
    refusals.add('model.path', undefined, 'the folder of a model, as in --model DIR');
  }
  if (config.tasks.length === 0) {
    refusals.add('tasks', config.tasks, 'at least one task, as in --tasks arc_easy,piqa');
  }
  const names = Object.keys(TASKS);
  for (const [i, task] of config.tasks.entries()) {
    if (Object.hasOwn(TASKS, task)) continue;
    const hint = `a task (${names.join(', ')}); did you mean ${closestMatch(task, names)}?`;
    refusals.add(`tasks.${i}`, task, hint);
  }
  if (config.limit !== undefined && config.samples !== undefined) {
    refusals.add('limit', config.limit, 'none beside samples');
  }
  refusals.throwIfAny();
  return { ...config, model: { path: config.model.path! }, tasks: [...new Set(config.tasks)] as TaskName[] };
}
