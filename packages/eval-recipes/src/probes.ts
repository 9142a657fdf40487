/** Evaluation tasks as probes of a model in training: the section `probes` of a training recipe. */
import {
  EvalsError,
  evaluate,
  type LanguageModel,
  prefixMatching,
  selectRows,
  type Task,
  type TaskItem,
} from '@meap/evals';
import { languageModelOf } from '@meap/inference';
import type { Llama } from '@meap/llama-model';
import { ConfigurationError, count, flag, natural, Problems, type Refusals, text } from '@meap/recipe-cli';
import type { Tokenizer } from '@meap/token-dataset';
import type { Interval, Probe, StopRule } from '@meap/trainer';
import { z } from 'zod';
import type { DataSection } from './find-data.ts';
import { makeTasks } from './make-tasks.ts';
import { checkTaskName, dataPaths, dataSection, familySections } from './sections.ts';
import { families, TASKS } from './tasks/catalogue.ts';
import { questionLimit } from './tasks/setting-keys.ts';

/** The keys of a probe; it may also have the section of its task's family, such as `key_value_recall`. */
export interface ProbeKeys {
  /** A task of meap-evaluate; default: the name of the probe. */
  task?: string;
  /** Steps between two measurements. */
  every?: number;
  /** Tokens between two measurements, instead of `every`. */
  every_tokens?: number;
  /** Measurements per doubling of the step, instead of `every`; 2 by default. */
  per_doubling?: number;
  /** Evaluates only the first rows. */
  limit?: number;
  seed?: number;
  /** Whether each prompt starts with BOS; as published by default. */
  bos?: boolean;
  data?: DataSection;
}

const probe = z.strictObject({
  task: text('A task of meap-evaluate; default: the name of the probe.').optional(),
  every: count('Steps between two measurements.').optional(),
  every_tokens: count('Tokens between two measurements, instead of every.').optional(),
  per_doubling: count(
    'Measurements per doubling of the step, evenly spaced on a logarithmic axis, instead of every; default: 2.',
  ).optional(),
  limit: questionLimit().optional(),
  seed: natural('Random seed; default: that of the published task.').optional(),
  bos: flag('Whether each prompt starts with BOS; default: as published.').optional(),
  data: dataSection().optional(),
  ...Object.fromEntries(Object.entries(familySections).map(([name, section]) => [name, section.optional()])),
});

const INTERVALS = ['every', 'every_tokens', 'per_doubling'] as const;

/** Probes by name. */
export type ProbesConfig = Record<string, ProbeKeys>;

/** The section `probes`: measurements by name. */
export const probesSection = (): z.ZodPrefault<z.ZodType<ProbesConfig, ProbesConfig>> =>
  z
    .record(z.string(), probe, 'names with keys')
    .describe(
      'Evaluations of the model in training, without masks, by name; also at the start and after the last step.',
    )
    .prefault({}) as unknown as z.ZodPrefault<z.ZodType<ProbesConfig, ProbesConfig>>;

const rule = z.strictObject({
  value: text('PROBE/METRIC, such as induction/gain; or valLoss or bitsPerByte of the validation.'),
  at_least: z.number('a number').describe('The lowest value that counts.').optional(),
  at_most: z.number('a number').describe('The highest value that counts, instead of at_least.').optional(),
  times: count('Measurements in a row.').default(1),
});

/** The section `stop_when`: rules that end a run. */
export const stopWhenSection = () =>
  z
    .array(rule, 'a list of {value, at_least or at_most, times}')
    .describe(
      'Ends the run as finished when a measured value is at or beyond a bound; the first rule that holds.',
    )
    .default([]);

/** The validated section. */
export type StopWhenConfig = z.output<ReturnType<typeof stopWhenSection>>;

/** Paths in the section, as in `RecipeRules.paths`. */
export const probePaths: readonly (readonly string[])[] = dataPaths.map((path) => [
  'probes',
  '*',
  'data',
  ...path,
]);

/** Refuses what the schema does not. */
export function checkProbes(
  { probes, stop_when }: { probes: ProbesConfig; stop_when: StopWhenConfig },
  refusals: Refusals,
): void {
  for (const [i, { value, at_least, at_most }] of stop_when.entries()) {
    const known = ['valLoss', 'bitsPerByte', ...Object.keys(probes).map((name) => `${name}/METRIC`)];
    const isKnown = value.includes('/') ? value.split('/', 1)[0] in probes : known.includes(value);
    if (!isKnown) refusals.add(`stop_when.${i}.value`, value, `one of ${known.join(', ')}`);
    if ((at_least === undefined) === (at_most === undefined)) {
      refusals.add(`stop_when.${i}`, { at_least, at_most }, 'either at_least or at_most');
    }
  }
  for (const [name, keys] of Object.entries(probes)) {
    const path = `probes.${name}`;
    const { task = name } = keys;
    if (name.includes('/') || name === '') refusals.add(path, name, 'a name without /');
    checkTaskName(keys.task === undefined ? path : `${path}.task`, task, refusals);
    const given = INTERVALS.filter((key) => keys[key] !== undefined);
    if (given.length > 1) refusals.add(path, given, `one of ${INTERVALS.join(', ')}`);
    const own = TASKS.get(task)?.family;
    for (const [family, { check }] of families) {
      const settings = (keys as Record<string, unknown>)[family];
      if (settings === undefined) continue;
      if (own !== undefined && family !== own) {
        refusals.add(`${path}.${family}`, settings, `none with task ${task}, whose settings are ${own}`);
      } else check?.(settings, `${path}.${family}`, refusals);
    }
  }
}

/** The rules of `train`. */
export function stopRules(stopWhen: StopWhenConfig): StopRule[] {
  return stopWhen.map(({ value, at_least: atLeast, at_most: atMost, times }) => ({
    value,
    atLeast,
    atMost,
    times,
  }));
}

/** What {@link openProbes} needs besides the section. */
export interface OpenProbesOptions {
  /** The model in training. */
  readonly model: Llama;
  readonly tokenizer: Tokenizer;
  /** Returns the ids of held-out rows, for tasks that read those of a run; called only if there are probes. */
  readonly heldOut?: () => readonly (readonly number[])[];
}

/** Sequences whose attention the probe of `induction` looks at: every head of every sequence costs as much as a row. */
const ATTENTION_SEQUENCES = 8;

/** The result of {@link openProbes}. */
export interface OpenedProbes {
  /** The probes of `train`. */
  readonly probes: Record<string, Probe>;
  /** Ends the thread of the tokenizer. */
  dispose(): void;
}

/** Held-out rows of a probe without `limit`: about the computation of two training steps of 4 rows. */
const HELD_OUT_ROWS = 16;

/**
 * Creates the probes of a recipe; rows are encoded once.
 *
 * A probe measures every metric of its task, also by group: `acc`, `acc/pairs=4`. The probe of `induction` also measures
 * `prefix_matching`, the highest score of a head on the first sequences.
 *
 * @throws ConfigurationError for missing data, or a task of which the model in training can read no row
 */
export async function openProbes(
  probes: ProbesConfig,
  { model, tokenizer, heldOut }: OpenProbesOptions,
): Promise<OpenedProbes> {
  if (Object.keys(probes).length === 0) return { probes: {}, dispose() {} };
  const tasks = await loadProbeTasks(probes, heldOut?.());
  const measured = await languageModelOf(model, tokenizer);
  try {
    const made = Object.entries(probes).map(([name, keys]): [string, Probe] => {
      const { readsHeldOut } = TASKS.get(keys.task ?? name)!;
      const limit = keys.limit ?? (readsHeldOut && heldOut ? HELD_OUT_ROWS : undefined);
      const fixed = tasks[name].map((task) => withItems(name, task, measured, limit));
      return [
        name,
        { every: intervalOf(keys), measure: ({ signal }) => measure(name, keys, fixed, measured, signal) },
      ];
    });
    return { probes: Object.fromEntries(made), dispose: () => measured.dispose() };
  } catch (error) {
    measured.dispose();
    throw error;
  }
}

/** Reads the data of all probes. @throws ConfigurationError with every data set that is missing */
export async function loadProbeTasks(
  probes: ProbesConfig,
  heldOut?: readonly (readonly number[])[],
): Promise<Record<string, Task[]>> {
  const problems = new Problems((error) => error instanceof ConfigurationError);
  const tasks: Record<string, Task[]> = {};
  for (const [name, keys] of Object.entries(probes)) {
    const load = () => makeTasks(sourcesOf(name, keys), { heldOut }, `probes.${name}.data`);
    tasks[name] = (await problems.attempt(load)) ?? [];
  }
  if (problems.list.length > 0) throw new ConfigurationError(problems.list);
  return tasks;
}

async function measure(
  name: string,
  keys: ProbesConfig[string],
  tasks: readonly Task[],
  model: LanguageModel,
  signal: AbortSignal | undefined,
): Promise<Record<string, number>> {
  const values: Record<string, number> = {};
  for (const task of tasks) {
    // Tasks such as several numbers of documents share a probe.
    const prefix = tasks.length > 1 ? `${task.name}/` : '';
    const { results, groups } = await evaluate(task, model, { signal });
    for (const [metric, { value }] of Object.entries(results)) values[`${prefix}${metric}`] = value;
    for (const [group, cells] of Object.entries(groups)) {
      for (const { value: cell, results } of cells) {
        for (const [metric, { value }] of Object.entries(results)) {
          values[`${prefix}${metric}/${group}=${cell}`] = value;
        }
      }
    }
  }
  if ((keys.task ?? name) === 'induction') {
    const { length, sequences } = settingsOf('induction', keys) as { length: number; sequences: number };
    const numSequences = Math.min(sequences, ATTENTION_SEQUENCES);
    values.prefix_matching = (
      await prefixMatching(model, { length, numSequences, seed: keys.seed, signal })
    ).score;
  }
  return values;
}

/** The keys of `makeTasks`, with the defaults of the family's settings. */
function sourcesOf(name: string, keys: ProbesConfig[string]) {
  const { task = name, data = {}, bos, seed } = keys;
  const { family } = TASKS.get(task)!;
  return { tasks: [task], data, bos, seed, [family]: settingsOf(family, keys) };
}

function settingsOf(family: string, keys: ProbesConfig[string]): unknown {
  const section = (familySections as Record<string, z.ZodObject | undefined>)[family];
  return section?.parse((keys as Record<string, unknown>)[family] ?? {});
}

/** The task with its first questions, encoded. */
function withItems(name: string, task: Task, model: LanguageModel, limit: number | undefined): Task {
  const refuse = (problem: string) => new ConfigurationError([`probes.${name}: ${problem}`]);
  const items: TaskItem[] = [];
  try {
    items.push(...selectRows(task, model, { limit }).rows);
  } catch (error) {
    throw error instanceof EvalsError ? refuse(error.message) : error;
  }
  const asks = items.map(({ ask }) => ask);
  if (asks.every(({ kind }) => kind === 'skip')) {
    const [first] = asks;
    const why = first?.kind === 'skip' ? first.reason : 'the task has none';
    throw refuse(
      `got no row of ${task.name} that the model can read, expected some: ${why}; set shorter rows`,
    );
  }
  return { ...task, numItems: items.length, numQuestions: undefined, items: () => items };
}

function intervalOf({ every, every_tokens, per_doubling = 2 }: ProbesConfig[string]): Interval {
  if (every !== undefined) return every;
  return every_tokens === undefined ? { perDoubling: per_doubling } : { tokens: every_tokens };
}
