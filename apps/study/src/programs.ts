/** The programs of the steps: where they are, and the command lines of runs. */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, isAbsolute, join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { packageFolder } from '@meap/files';
import { RunError, readRecipe } from '@meap/recipe-cli';
import type { Program, Step, Varied } from './config.ts';

/** A program's entry point. */
export interface FoundProgram {
  cli: string;
  version: string;
}

/**
 * Finds a program beside this package, as in a clone and in most `node_modules`, or from the working directory.
 *
 * @throws RunError where it is neither
 */
export function findProgram(program: Program): FoundProgram {
  const beside = join(packageFolder(import.meta.url), '..', program);
  const folders = [beside, installed(program)].filter((folder) => folder !== undefined);
  for (const folder of folders) {
    const cli = join(folder, 'dist/cli.js');
    if (!existsSync(cli)) continue;
    return { cli, version: JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).version };
  }
  throw new RunError(
    `steps: got no package @meap/${program}, expected it beside meap-study or in the working directory; ` +
      `run npm install @meap/${program}, or pnpm build in a clone`,
  );
}

function installed(program: Program): string | undefined {
  try {
    const require = createRequire(join(process.cwd(), 'package.json'));
    return dirname(require.resolve(`@meap/${program}/package.json`));
  } catch {
    return undefined;
  }
}

/** Returns a step's recipe with the recipes it extends; paths in it stay as written. */
export function recipeKeys({ program, recipe }: Step): Record<string, unknown> {
  if (recipe === undefined) return {};
  const moduleUrl = pathToFileURL(findProgram(program).cli).href;
  return readRecipe(recipe, [], { paths: [], shipped: { moduleUrl, program } });
}

/** The recipe key for the model of an earlier step. */
const MODEL_KEYS = { pretrain: 'model.from', finetune: 'model.path', evaluate: 'model.path' } as const;

const SEED_KEYS: Readonly<Record<Varied, string>> = {
  init: 'init_seed',
  data: 'data_seed',
  masks: 'mask_seed',
};

/** What a step of one run needs to know. */
export interface StepCall {
  step: Step;
  /** The keys that the arm sets, by path. */
  set: Readonly<Record<string, unknown>>;
  vary: readonly Varied[];
  seed: number | string;
  /** Run directories: of this step, and of the step whose model it takes. */
  out: string;
  model?: string;
}

/** Returns the arguments of a program; an evaluation has the same rows for every seed. */
export function stepArguments({ step, set, vary, seed, out, model }: StepCall): string[] {
  const { program, recipe } = step;
  const isAll = vary.length === Object.keys(SEED_KEYS).length;
  const seedKeys = program === 'evaluate' ? [] : isAll ? ['seed'] : vary.map((what) => SEED_KEYS[what]);
  const keys = {
    ...flatten(step.set),
    ...set,
    ...(model === undefined ? {} : { [MODEL_KEYS[program]]: model }),
  };
  const sets = [
    ...Object.entries(keys).map(([key, value]) => `${key}=${JSON.stringify(value)}`),
    ...seedKeys.map((key) => `${key}=${seed}`),
  ];
  return [
    ...(program === 'evaluate' ? ['run'] : []),
    ...(recipe === undefined ? [] : ['--config', shownPath(recipe)]),
    ...sets.flatMap((set) => ['--set', set]),
    '--out',
    out,
  ];
}

/** Returns values by path: `{train: {max_steps: 1}}` and `{train.max_steps: 1}` are the same. */
export function flatten(keys: Readonly<Record<string, unknown>>, path = ''): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(keys).flatMap(([key, value]) => {
      const at = path ? `${path}.${key}` : key;
      const isSection = typeof value === 'object' && value !== null && !Array.isArray(value);
      return isSection && Object.keys(value).length > 0
        ? Object.entries(flatten(value as Record<string, unknown>, at))
        : [[at, value]];
    }),
  );
}

/** A path below the working directory is shown relative to it. */
export function shownPath(path: string): string {
  const short = relative(process.cwd(), path);
  return !isAbsolute(path) || short.startsWith('..') ? path : short;
}
