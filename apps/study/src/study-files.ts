/**
 * The files of a study's directory.
 *
 *     plan.yaml, plan.sha256      what was fixed before the runs, and its hash
 *     runs.yaml                   the study's file, its recipes, and the seeds in the order they were added
 *     results/ARM-seed-N.json     what a finished run measured; the same bytes however often the study was interrupted
 *     timings/ARM-seed-N.json     seconds and hardware
 *     failures/ARM-seed-N.json    the last failure of a run that has not finished since
 *     runs/ARM/seed-N/STEP/       run directories; not needed for the report
 */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { makeDirectory, writeFileAtomic } from '@meap/files';
import { changedKeys, configToYaml, RunError, reasonOf } from '@meap/recipe-cli';
import { describeEnvironment } from '@meap/trainer';
import { parse } from 'yaml';
import type { StudyConfig } from './config.ts';
import type { RunResult } from './measures.ts';
import {
  hashPlan,
  makePlan,
  type Plan,
  planFromYaml,
  planToYaml,
  type RunId,
  runName,
  runsOf,
  seedsByArm,
} from './plan.ts';
import { shownPath } from './programs.ts';

/** Contents of `runs.yaml`. */
interface RunsRecord {
  /** The study's file, and the recipes of its steps. */
  config: string;
  recipes: Record<string, string>;
  /** When and from which commit the plan was fixed; no commit outside a repository. */
  fixed: string;
  commit?: string;
  /** Seeds by arm, in the order they were added, and how many runs had finished by then. */
  seeds: { finished: number; added: Record<string, number[]> }[];
}

/** How a run was made; differs between machines. */
interface RunTiming {
  /** Seconds by step, all attempts together except those that were killed with the study. */
  seconds: Record<string, number>;
  cpu: string;
  cores: number;
  memoryBytes: number;
  platform: string;
  node: string;
  commit?: string;
}

export interface RunFailure {
  step: string;
  message: string;
}

/** A study as read from its directory. */
export interface Study {
  plan: Plan;
  hash: string;
  record: RunsRecord;
  /** All runs, in order. */
  runs: RunId[];
  /** Results, timings and failures by the name of their run. */
  results: Map<string, RunResult>;
  timings: Map<string, RunTiming>;
  failures: Map<string, RunFailure>;
}

/** Paths in a study's directory. */
export const runDirectory = (out: string, { arm, seed }: RunId, step: string) =>
  join(out, 'runs', arm, `seed-${seed}`, step);
const fileOf = (out: string, kind: Kind, run: RunId) => join(out, kind, `${runName(run)}.json`);
type Kind = 'results' | 'timings' | 'failures';

/**
 * Fixes the plan in a study's directory, or checks that it is the same; adds seeds that are new.
 *
 * @throws RunError if the directory has runs of another plan
 */
export function fixPlan(out: string, config: StudyConfig, file: string): void {
  const plan = planToYaml(makePlan(config));
  const [path, hashPath] = [join(out, 'plan.yaml'), join(out, 'plan.sha256')];
  const hasRuns = existsSync(join(out, 'runs')) || existsSync(join(out, 'results'));
  const before = existsSync(path) ? readFileSync(path, 'utf8') : undefined;
  if (hasRuns && before === undefined) {
    throw new RunError(
      `--out ${out}: has runs without plan.yaml, expected an empty folder or that of a study`,
    );
  }
  const changes = hasRuns ? changedKeys(planFromYaml(before!), planFromYaml(plan)) : [];
  if (changes.length > 0) {
    throw new RunError(
      `${path}: the plan has changed since its runs began, expected the same: ${changes.join('; ')}. ` +
        'Undo the change, or choose another --out. Only seeds may be added',
    );
  }
  makeDirectory(out);
  // The same plan in another order of keys keeps its bytes, and so its hash.
  if (!hasRuns) {
    writeFileAtomic(path, plan);
    writeFileAtomic(hashPath, `${hashPlan(plan)}  plan.yaml\n`);
  }
  writeRecord(out, config, file, hasRuns);
}

function writeRecord(out: string, config: StudyConfig, file: string, hasRuns: boolean): void {
  const path = join(out, 'runs.yaml');
  const before = hasRuns && existsSync(path) ? (parse(readFileSync(path, 'utf8')) as RunsRecord) : undefined;
  const known = before ? plannedSeeds(before) : {};
  const added = Object.fromEntries(
    Object.entries(seedsByArm(config))
      .map(([arm, seeds]) => [arm, seeds.filter((seed) => !known[arm]?.includes(seed))] as const)
      .filter(([, seeds]) => seeds.length > 0),
  );
  if (before && Object.keys(added).length === 0) return;
  const { git } = describeEnvironment();
  const recipes = Object.entries(config.steps).flatMap(([name, { recipe }]) =>
    recipe === undefined ? [] : [[name, shownPath(recipe)] as const],
  );
  const finished = countFiles(join(out, 'results'));
  const record: RunsRecord = {
    config: shownPath(existsSync(file) ? resolve(file) : file),
    recipes: Object.fromEntries(recipes),
    fixed: before?.fixed ?? new Date().toISOString(),
    commit: before ? before.commit : git ? `${git.commit}${git.dirty ? ', with changes' : ''}` : undefined,
    seeds: [...(before?.seeds ?? []), { finished, added }],
  };
  writeFileAtomic(path, configToYaml(record));
}

function countFiles(folder: string): number {
  return existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith('.json')).length : 0;
}

/** All seeds of a record by arm. */
function plannedSeeds({ seeds }: RunsRecord): Record<string, number[]> {
  const all: Record<string, number[]> = {};
  for (const { added } of seeds) {
    for (const [arm, list] of Object.entries(added)) all[arm] = [...(all[arm] ?? []), ...list];
  }
  return all;
}

/**
 * Reads a study; its `runs` are not needed.
 *
 * @throws RunError for missing or damaged files, and for results of another plan
 */
export function readStudy(out: string): Study {
  const yaml = readText(join(out, 'plan.yaml'));
  const hash = hashPlan(yaml);
  const stored = readText(join(out, 'plan.sha256')).split(' ')[0];
  if (stored !== hash) {
    throw new RunError(
      `${join(out, 'plan.yaml')}: got SHA-256 ${hash}, expected ${stored} of plan.sha256: the plan was edited`,
    );
  }
  const record = parse(readText(join(out, 'runs.yaml'))) as RunsRecord;
  const plan = planFromYaml(yaml);
  const runs = runsOf(plannedSeeds(record));
  const readAll = <T>(kind: Kind) =>
    new Map(
      runs.flatMap((run) => {
        const path = fileOf(out, kind, run);
        return existsSync(path) ? [[runName(run), readJson(path) as T] as const] : [];
      }),
    );
  const results = readAll<RunResult>('results');
  for (const [name, result] of results) {
    if (result.plan !== hash) {
      throw new RunError(`${join(out, 'results', name)}.json: is of plan ${result.plan}, expected ${hash}`);
    }
  }
  return { plan, hash, record, runs, results, timings: readAll('timings'), failures: readAll('failures') };
}

/** Writes the result of a run, which marks it as finished. */
export function writeResult(out: string, result: RunResult): void {
  write(out, 'results', result, result);
  rmSync(fileOf(out, 'failures', result), { force: true });
}

export function writeFailure(out: string, run: RunId, failure: RunFailure): void {
  write(out, 'failures', run, failure);
}

/** Adds seconds to a step of a run. */
export function addSeconds(out: string, run: RunId, step: string, seconds: number): void {
  const path = fileOf(out, 'timings', run);
  const before = existsSync(path) ? (readJson(path) as RunTiming) : undefined;
  const { cpu, cores, memoryBytes, platform, node, git } = describeEnvironment();
  const sum = (before?.seconds[step] ?? 0) + seconds;
  const timing: RunTiming = {
    seconds: { ...before?.seconds, [step]: Math.round(sum * 10) / 10 },
    cpu,
    cores,
    memoryBytes,
    platform,
    node,
    commit: git ? `${git.commit}${git.dirty ? ', with changes' : ''}` : undefined,
  };
  write(out, 'timings', run, timing);
}

function write(out: string, kind: Kind, run: RunId, value: object): void {
  makeDirectory(join(out, kind));
  writeFileAtomic(fileOf(out, kind, run), `${JSON.stringify(value)}\n`, { durable: true });
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new RunError(`${path}: cannot be read: ${reasonOf(error)}; expected the folder of a study`);
  }
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readText(path));
  } catch (error) {
    if (error instanceof RunError) throw error;
    throw new RunError(`${path}: is damaged: ${reasonOf(error)}; delete it and run the study again`);
  }
}
