/** The plan of a study: everything that decides its results except the seeds, fixed before the first run. */
import { createHash } from 'node:crypto';
import { configToYaml } from '@meap/recipe-cli';
import { parse } from 'yaml';
import { type StudyConfig, seedsOf } from './config.ts';
import { flatten, recipeKeys } from './programs.ts';

/** A plan as written to `plan.yaml`. */
export type Plan = Pick<
  StudyConfig,
  'title' | 'question' | 'kind' | 'vary' | 'measures' | 'comparisons' | 'paper'
> & {
  /** Steps with the keys of their recipes, `extends` resolved, instead of file names. */
  steps: Record<string, PlannedStep>;
  /** Keys by arm, step and path. */
  arms: Record<string, Record<string, Record<string, unknown>>>;
};

type PlannedStep = Omit<StudyConfig['steps'][string], 'recipe'> & { recipe: Record<string, unknown> };

/** Returns the plan of a study. */
export function makePlan(config: StudyConfig): Plan {
  const { title, question, kind, vary, measures, comparisons, paper } = config;
  const steps = Object.entries(config.steps).map(([name, step]) => {
    const { program, model, set } = step;
    return [name, { program, model, recipe: recipeKeys(step), set: flatten(set) }] as const;
  });
  const arms = Object.entries(config.arms).map(([name, { set }]) => {
    const bySteps = Object.entries(set).map(([step, keys]) => [step, flatten(keys)] as const);
    return [name, Object.fromEntries(bySteps)] as const;
  });
  return {
    title,
    question,
    kind,
    vary,
    steps: Object.fromEntries(steps),
    arms: Object.fromEntries(arms),
    measures,
    comparisons,
    paper,
  };
}

/** Returns the content of `plan.yaml`, from which the plan can be read again. */
export function planToYaml(plan: Plan): string {
  return configToYaml(plan);
}

/** Reads the content of `plan.yaml`. */
export function planFromYaml(yaml: string): Plan {
  return parse(yaml) as Plan;
}

/** Returns the hash of a plan: the SHA-256 of `plan.yaml`. */
export function hashPlan(yaml: string): string {
  return createHash('sha256').update(yaml).digest('hex');
}

/** One cell of the matrix. */
export interface RunId {
  arm: string;
  seed: number;
}

/** Returns the runs of a study, seed by seed, so that the arms of a seed run side by side. */
export function runsOf(seeds: Readonly<Record<string, readonly number[]>>): RunId[] {
  const all = [...new Set(Object.values(seeds).flat())].sort((a, b) => a - b);
  return all.flatMap((seed) =>
    Object.keys(seeds).flatMap((arm) => (seeds[arm].includes(seed) ? [{ arm, seed }] : [])),
  );
}

/** Returns the seeds of every arm of a study. */
export function seedsByArm(config: StudyConfig): Record<string, number[]> {
  return Object.fromEntries(Object.keys(config.arms).map((arm) => [arm, seedsOf(config, arm)]));
}

/** Returns the name of a run in files and messages. */
export function runName({ arm, seed }: RunId): string {
  return `${arm}-seed-${seed}`;
}
