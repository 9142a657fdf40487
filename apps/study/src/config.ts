/** The schema of a study: arms × seeds of chained steps, what is measured, what is compared. */
import { existsSync } from 'node:fs';
import { basename, extname } from 'node:path';
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
  text,
} from '@meap/recipe-cli';
import { z } from 'zod';

const PROGRAMS = ['pretrain', 'finetune', 'evaluate'] as const;

/** What a seed can set. */
const VARIED = ['init', 'data', 'masks'] as const;

/** Names of arms and steps are parts of file names. */
const NAME = /^[A-Za-z][\w.=-]*$/;

const keys = z.record(z.string(), z.unknown(), 'keys with values, such as {train.max_steps: 100}');

const seedList = (meaning: string) =>
  z.array(natural('A seed.'), 'a list of whole numbers from 0').min(1, 'at least one seed').describe(meaning);

const step = z.strictObject({
  program: oneOf(PROGRAMS, 'The program to run; default: the step’s name.').optional(),
  recipe: text('Its recipe: a path relative to this file, or the name of a built-in one.').optional(),
  model: text('The earlier step whose model it continues or evaluates.').optional(),
  set: keys
    .describe('Keys of the recipe that differ, for all arms. Paths are relative to the working directory.')
    .default({}),
});

const arm = z.strictObject({
  set: z
    .record(z.string(), keys, 'names of steps with keys')
    .describe('Keys that differ in this arm, by step.')
    .default({}),
  seeds: seedList('Seeds of this arm, instead of those of the study.').optional(),
});

const measure = z.strictObject({
  step: text('The step that it is read from.'),
  metric: text(
    'Training: a key of metrics.jsonl, such as loss, bitsPerByte or probes/induction/gain. Evaluation: TASK/METRIC or ' +
      'TASK/GROUP=VALUE/METRIC.',
  ),
  take: oneOf(['last', 'min', 'max'], 'Which value of a training run; default: last.').optional(),
  at_least: z
    .number('a number')
    .describe('Measures tokens until the metric is at least this, instead of a value.')
    .optional(),
  at_most: z
    .number('a number')
    .describe('Measures tokens until the metric is at most this, instead of a value.')
    .optional(),
  for: count(
    'How many measurements in a row have to hold at_least or at_most; the first counts. Default: 1.',
  ).optional(),
});

const pair = z.tuple([z.string('an arm'), z.string('an arm')], 'two arms, such as [ntp, meap]');

const comparison = z.strictObject({
  measure: text('A measure.'),
  arms: pair.describe('Two arms: the second less the first, paired by seed.'),
  primary: flag(
    'Primary comparisons are corrected among themselves; the others then count only if all primary ones hold.',
  ).default(false),
});

const paperNumber = z.strictObject({
  label: text('What the number is.'),
  source: text('Where it is from, such as Table 2.'),
  measure: text('The measure to show beside it.'),
  arms: z
    .array(z.string('an arm'), 'one arm, or two')
    .min(1, 'one arm, or two')
    .max(2, 'one arm, or two')
    .describe('One arm: its mean. Two arms: the mean difference, the second less the first.'),
  value: z.number('a number').describe('The paper’s number.'),
});

const configSchema = z.strictObject({
  extends: text('Study to extend: a path relative to this file, or a name.').optional(),
  title: text('Title of the report.'),
  question: text('What the study asks, in plain text for the report.').optional(),
  kind: oneOf(
    ['confirmatory', 'exploratory'],
    'confirmatory: the plan was made before any of its results. exploratory: anything else.',
  ),
  seeds: seedList('Seeds of every arm; more may be added later.'),
  vary: z
    .array(oneOf(VARIED, 'What a seed sets.'), `a list of ${VARIED.join(', ')}`)
    .min(1, `at least one of ${VARIED.join(', ')}`)
    .describe('What a seed sets; the others keep the recipe’s seed. Default: all.')
    .default([...VARIED]),
  steps: z
    .record(z.string(), step, 'names with keys')
    .describe('The steps of a run, in order, such as pretrain and evaluate.'),
  arms: z.record(z.string(), arm, 'names with keys').describe('The arms, by name.'),
  measures: z.record(z.string(), measure, 'names with keys').describe('Numbers of a run, by name.'),
  comparisons: z
    .array(comparison, 'a list of {measure, arms}')
    .describe('What is compared with what.')
    .default([]),
  paper: z
    .array(paperNumber, 'a list of {label, source, measure, arms, value}')
    .describe('Published numbers, shown beside those of the study.')
    .default([]),
  keep_checkpoints: flag('Whether to keep the checkpoints of finished runs.').default(false),
});

export type Program = (typeof PROGRAMS)[number];
type Parsed = z.output<typeof configSchema>;
export type Measure = z.output<typeof measure>;
export type PaperNumber = z.output<typeof paperNumber>;
export type Varied = (typeof VARIED)[number];

export interface Step extends Omit<z.output<typeof step>, 'program'> {
  program: Program;
}

/** A validated study. */
export interface StudyConfig extends Omit<Parsed, 'extends' | 'steps'> {
  steps: Record<string, Step>;
}

/** Returns the JSON Schema of `recipes/studies/schema.json`. */
export function configJsonSchema(): Record<string, unknown> {
  return recipeJsonSchema(configSchema, 'A study of meap-study');
}

const RULES: RecipeRules = {
  shipped: { moduleUrl: import.meta.url, program: 'studies' },
  paths: [['steps', '*', 'recipe']],
};

/**
 * Reads a study and the studies it extends.
 *
 * @param file its path, or the name of a built-in one
 * @throws ConfigurationError with every problem
 */
export function loadConfig(file: string): StudyConfig {
  const { extends: _, ...config } = parseConfig(configSchema, readRecipe(file, [], RULES));
  const refusals = new Refusals();
  for (const section of ['steps', 'arms'] as const) {
    for (const name of Object.keys(config[section])) {
      if (NAME.test(name)) continue;
      refusals.add(section, name, 'names that begin with a letter, of letters, digits, -, _, . and =');
    }
  }
  const steps = resolveSteps(config, refusals);
  checkArms(config, refusals);
  checkMeasures(config, steps, refusals);
  checkComparisons(config, refusals);
  refusals.throwIfAny();
  return { ...config, steps };
}

/** Whether a measure is a time until a threshold. */
export function isTime({ at_least, at_most }: Measure): boolean {
  return at_least !== undefined || at_most !== undefined;
}

/** Returns the seeds of an arm. */
export function seedsOf({ seeds, arms }: Pick<StudyConfig, 'seeds' | 'arms'>, arm: string): number[] {
  return arms[arm].seeds ?? seeds;
}

function resolveSteps({ steps }: Parsed, refusals: Refusals): Record<string, Step> {
  const names = Object.keys(steps);
  if (names.length === 0) refusals.add('steps', steps, 'at least one step');
  return Object.fromEntries(
    names.map((name, i) => {
      const { program = name, recipe, model, ...rest } = steps[name];
      const earlier = names.slice(0, i);
      if (!(PROGRAMS as readonly string[]).includes(program)) {
        refusals.add(`steps.${name}.program`, undefined, `one of ${PROGRAMS.join(', ')}`);
      }
      if (recipe === undefined && program !== 'evaluate') {
        refusals.add(`steps.${name}.recipe`, undefined, 'a recipe');
      }
      if (model === undefined ? program === 'evaluate' : !earlier.includes(model)) {
        const expected =
          earlier.length > 0 ? `an earlier step (${earlier.join(', ')})` : 'no model in the first step';
        refusals.add(`steps.${name}.model`, model, expected);
      }
      return [name, { ...rest, program: program as Program, model, recipe: recipe && builtInOrFile(recipe) }];
    }),
  );
}

/** A recipe without a file of that name is a built-in one, if the name has no extension. */
function builtInOrFile(path: string): string {
  return existsSync(path) || extname(path) !== '' ? path : basename(path);
}

function checkArms({ arms, seeds, steps }: Parsed, refusals: Refusals): void {
  if (Object.keys(arms).length === 0) refusals.add('arms', arms, 'at least one arm');
  const isRepeated = (list: readonly number[]) => new Set(list).size < list.length;
  if (isRepeated(seeds)) refusals.add('seeds', seeds, 'different seeds');
  for (const [name, arm] of Object.entries(arms)) {
    if (arm.seeds && isRepeated(arm.seeds)) refusals.add(`arms.${name}.seeds`, arm.seeds, 'different seeds');
    for (const step of Object.keys(arm.set)) {
      if (!Object.hasOwn(steps, step)) {
        refusals.add(`arms.${name}.set`, step, `names of steps (${Object.keys(steps).join(', ')}) with keys`);
      }
    }
  }
}

function checkMeasures({ measures }: Parsed, steps: Record<string, Step>, refusals: Refusals): void {
  if (Object.keys(measures).length === 0) refusals.add('measures', measures, 'at least one measure');
  for (const [name, measure] of Object.entries(measures)) {
    const path = `measures.${name}`;
    if (!Object.hasOwn(steps, measure.step)) {
      refusals.add(`${path}.step`, measure.step, `a step (${Object.keys(steps).join(', ')})`);
      continue;
    }
    const { take, at_least, at_most } = measure;
    if (at_least !== undefined && at_most !== undefined) {
      refusals.add(`${path}.at_most`, at_most, 'either at_least or at_most');
    }
    if (isTime(measure) && take) refusals.add(`${path}.take`, take, 'nothing beside at_least or at_most');
    if (!isTime(measure) && measure.for) {
      refusals.add(`${path}.for`, measure.for, 'at_least or at_most beside it');
    }
    if (steps[measure.step].program !== 'evaluate') continue;
    if (isTime(measure) || take) {
      refusals.add(`${path}.step`, measure.step, 'a training step for take, at_least and at_most');
    }
  }
}

function checkComparisons({ arms, measures, comparisons, paper }: Parsed, refusals: Refusals): void {
  const entries = [
    ...comparisons.map((entry, i) => ({ ...entry, path: `comparisons.${i}` })),
    ...paper.map((entry, i) => ({ ...entry, path: `paper.${i}` })),
  ];
  for (const { path, measure, arms: compared } of entries) {
    if (!Object.hasOwn(measures, measure)) {
      refusals.add(`${path}.measure`, measure, `a measure (${Object.keys(measures).join(', ')})`);
    }
    const unknown = compared.filter((arm) => !Object.hasOwn(arms, arm));
    if (unknown.length > 0 || new Set(compared).size < compared.length) {
      refusals.add(`${path}.arms`, compared, `different arms of ${Object.keys(arms).join(', ')}`);
    }
  }
}
