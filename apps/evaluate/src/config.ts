/** The configuration of an evaluation: one schema with every key, its default and its meaning. */
import { devNull } from 'node:os';
import { type RulerTaskName, rulerTaskNames } from '@meap/evals';
import {
  count,
  flag,
  natural,
  nonNegative,
  oneOf,
  parseConfig,
  type RecipeRules,
  Refusals,
  readRecipe,
  recipeJsonSchema,
  runKeys,
  share,
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

const counts = (meaning: string) =>
  z.array(count('A number.'), 'a list of whole numbers above 0').min(1, 'at least one').describe(meaning);

const depths = (meaning: string) =>
  z
    .array(z.number('a number from 0 to 100').min(0, 'from 0').max(100, 'to 100'), 'a list of percentages')
    .min(1, 'at least one')
    .describe(meaning);

const maxNewTokens = (published: number) =>
  count('Most tokens of an answer; default: as published.').default(published);

const niah = z.strictObject({
  lengths: counts('Tokens of haystack, needle and the 200 kept free for question and answer.').default([
    1000, 2000, 4000, 8000, 16_000, 32_000,
  ]),
  depths: depths('Places of the needle in percent.').default([0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]),
  needles: z
    .array(
      z.strictObject({
        needle: text('Hidden as it stands.'),
        question: text('Asked at the end.'),
        answer: text('What a right answer says.'),
      }),
      'a list of {needle, question, answer}',
    )
    .min(1, 'at least one')
    .describe('What is hidden and asked for; default: what to do in San Francisco.')
    .optional(),
  template: text('Prompt with {context} and {question}; default: that for base models.').optional(),
  max_new_tokens: maxNewTokens(50),
});

const perplexityByPosition = z.strictObject({
  length: count('Tokens of a window; default: the model’s context.').optional(),
  windows: count('Most windows of a text.').default(4),
});

const mdqa = z.strictObject({
  documents: counts('Documents of a prompt; several make several tasks.').default([20]),
  positions: counts('Places of the document with the answer; default: first, every fifth, last.').optional(),
  distractors: oneOf(
    ['retrieved', 'other-answers'],
    'Where the other documents come from: the row’s own, or those that answer other rows.',
  ).default('retrieved'),
  max_prompt_tokens: count(
    'Longer prompts are skipped; the published program skips from 4097 on.',
  ).optional(),
  max_new_tokens: maxNewTokens(100),
});

const kvRetrieval = z.strictObject({
  positions: counts('Places of the key; default: first, every 25th, last.').optional(),
  max_new_tokens: maxNewTokens(100),
});

const mRs = z.strictObject({
  lengths: counts(
    'Tokens of a prompt and 3,000 kept free; default: 9,000 to 32,000 in eight steps.',
  ).optional(),
  depths: depths('Places of the first fact in percent; default: 0 to 100 in eleven steps.').optional(),
  needles: counts('Numbers of facts.').default([2, 3, 4, 5]),
  repeats: count('Records asked in each cell of the grid.').default(10),
  max_new_tokens: maxNewTokens(2000),
});

const ruler = z.strictObject({
  tasks: z
    .array(oneOf(rulerTaskNames as [RulerTaskName, ...RulerTaskName[]], 'A task.'), 'a list of tasks')
    .min(1, 'at least one')
    .describe('Which of the synthetic tasks; default: all.')
    .default(rulerTaskNames),
  lengths: counts('Tokens of prompt and answer together, at least 500.').default([
    4096, 8192, 16_384, 32_768,
  ]),
  samples: count('Prompts of each length.').default(500),
});

const hallucination = z.strictObject({
  articles: count('Articles of each data set, drawn at random with seed.').default(100),
  judge: oneOf(
    ['overlap', 'chat'],
    'Who judges: which words the article lacks, or a chat model at judge_url.',
  ).default('overlap'),
  judge_url: text('Base address of an OpenAI-compatible API, such as http://127.0.0.1:8000/v1.').optional(),
  judge_model: text('Name of the model there.').optional(),
  judge_key_env: text('Environment variable with the key for it.').optional(),
  against: oneOf(
    ['reference', 'article'],
    'What the judge holds a summary against: the summary that a person wrote, or the article.',
  ).default('reference'),
  requests_per_minute: count('Most requests to the judge.').optional(),
  judge_prices: z
    .strictObject({
      prompt: nonNegative('Of what is sent.'),
      completion: nonNegative('Of what is answered.'),
    })
    .describe('What a million of the judge’s tokens costs: the cost is then told with their number.')
    .optional(),
  prompt_template: text('Text around {instruction}: the template that the model was tuned with.').optional(),
  max_new_tokens: maxNewTokens(256),
});

const attention = z.strictObject({
  sequences: count('Sequences of each length.').default(500),
  lengths: counts('Tokens of a sequence.').default([1024, 4096]),
  mask_ratio: share('Share of the tokens that the MEAP model does not get to see.')
    .gt(0, 'a number above 0')
    .default(0.15),
  queries: oneOf(
    ['last', 'all'],
    'Whose looks count in shares of a prompt: the last token’s, or the mean of all.',
  ).default('last'),
});

/** The schema of a configuration; {@link configJsonSchema} is the same for editors. */
const configSchema = z.strictObject({
  ...runKeys(''),
  seed: natural('Key of what tasks draw; default: that of each published task.').optional(),
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
  bos: flag(
    'Whether BOS stands before each prompt; default: before those that ask for text, as their authors have it, and ' +
      'not before those that are scored, as in lm-evaluation-harness 0.4.7.',
  ).optional(),
  perplexity_by_position: perplexityByPosition.describe('Perplexity by position.').prefault({}),
  niah: niah.describe('Needle in a haystack.').prefault({}),
  mdqa: mdqa.describe('Multi-document question answering.').prefault({}),
  kv_retrieval: kvRetrieval.describe('Key-value retrieval.').prefault({}),
  m_rs: mRs.describe('Multi-needle reasoning.').prefault({}),
  ruler: ruler.describe('RULER.').prefault({}),
  attention: attention.describe('The command attention.').prefault({}),
  hallucination: hallucination.describe('Contextual hallucination.').prefault({}),
});

type Parsed = z.output<typeof configSchema>;

/** A checked configuration of a command that is given its models. */
export type CommandConfig = Omit<Parsed, 'extends'>;

/** A checked configuration of a run. */
export interface EvaluateConfig extends Omit<CommandConfig, 'model' | 'tasks'> {
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
export function loadConfig(file?: string, overrides: readonly string[] = []): EvaluateConfig {
  const config = readConfig(file, overrides);
  const refusals = new Refusals();
  const { path } = config.model;
  if (path === undefined) refusals.add('model.path', undefined, 'the folder of a model, as in --model DIR');
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
  const { judge, judge_url, judge_model } = config.hallucination;
  if (judge === 'chat' && judge_url === undefined) {
    refusals.add('hallucination.judge_url', judge_url, 'the address of an API with judge chat');
  }
  if (judge === 'chat' && judge_model === undefined) {
    refusals.add('hallucination.judge_model', judge_model, 'the name of a model with judge chat');
  }
  refusals.throwIfAny();
  return { ...config, model: { path: path! }, tasks: [...new Set(config.tasks)] as TaskName[] };
}

/**
 * The same for a command that is given its models and has no tasks.
 *
 * @throws ConfigurationError naming every problem
 */
export function readConfig(file = devNull, overrides: readonly string[] = []): CommandConfig {
  const { extends: _, ...config } = parseConfig(configSchema, readRecipe(file, overrides, RULES));
  return config;
}
