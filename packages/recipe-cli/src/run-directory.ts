import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parsePlainYaml } from '@meap/dashboard';
import { makeDirectory, writeFileAtomic } from '@meap/files';
import { latestCheckpoint, listCheckpoints, stepOf } from '@meap/trainer';
import { parse } from 'yaml';
import { RunError, reasonOf } from './errors.ts';
import { configToYaml } from './parse-config.ts';

/** The end of a run. */
export interface RunEnd {
  /** `complete`: the folder already had a finished run. */
  status: 'finished' | 'stopped' | 'complete';
  /** Optimizer steps completed. */
  step: number;
  /** The newest checkpoint; undefined if the run was stopped before the first. */
  checkpoint?: string;
  /** The exported model, if the program exports one. */
  model?: string;
}

/**
 * Creates a run directory and checks that it is writable, before any work.
 *
 * @throws RunError if it is not writable, not empty although `resume` is `never`, or if `resume` names no folder
 */
export function openRunDirectory(out: string, resume: string): void {
  if (resume !== 'auto' && resume !== 'never' && !existsSync(resume)) {
    throw new RunError(
      `--resume ${resume}: no such folder, expected auto, never, or the folder of a checkpoint or run`,
    );
  }
  try {
    makeDirectory(out);
    const probe = join(out, `.probe-${process.pid}`);
    writeFileSync(probe, '');
    rmSync(probe);
  } catch (error) {
    throw new RunError(
      `--out ${out}: cannot be written: ${reasonOf(error)}; choose a folder you may write to`,
      {
        cause: error,
      },
    );
  }
  if (resume === 'never' && readdirSync(out).length > 0) {
    throw new RunError(
      `--out ${out}: the folder is not empty, expected an empty one with --resume never; choose another, or --resume auto`,
    );
  }
}

/** Returns the result of a run that was stopped before training, with the newest checkpoint of its folder. */
export async function stoppedEarly(out: string): Promise<RunEnd> {
  const [checkpoint] = await listCheckpoints(join(out, 'checkpoints'));
  return { status: 'stopped', step: checkpoint ? stepOf(checkpoint) : 0, checkpoint };
}

/**
 * Returns the last checkpoint of a run that has all its steps and its report; undefined for an unfinished run.
 *
 * @param canStop whether a rule may have ended it earlier
 */
export async function finishedCheckpoint(
  out: string,
  steps: number,
  canStop: boolean,
): Promise<{ path: string; step: number } | undefined> {
  const checkpoints = join(out, 'checkpoints');
  const [newest] = await listCheckpoints(checkpoints);
  if (!newest || !existsSync(join(out, 'report.html'))) return undefined;
  if (stepOf(newest) < steps && !canStop) return undefined;
  // Damaged checkpoints are reported when the run resumes.
  const found = await latestCheckpoint(checkpoints, () => {}).catch(() => undefined);
  if (!found) return undefined;
  const { step, stopReason } = found.state;
  return step >= steps || (canStop && stopReason !== undefined) ? { path: found.path, step } : undefined;
}

/** Reads `config.yaml` of a run; undefined if there is none, or it is damaged. */
export function readConfig(out: string): object | undefined {
  const path = join(out, 'config.yaml');
  return existsSync(path) ? readYaml(path) : undefined;
}

/** Writes `config.yaml` and returns its changes from the previous one. */
export function writeConfig(out: string, config: object): string[] {
  const path = join(out, 'config.yaml');
  const before = readConfig(out);
  const changes = before === undefined ? [] : changedKeys(before, readBack(config));
  writeFileAtomic(path, configToYaml(config));
  return changes;
}

/** Describes each key whose value differs, such as `train.max_steps: 100 → 200`. */
export function changedKeys(before: unknown, after: unknown): string[] {
  const [old, now] = [flatten(before), flatten(after)];
  return [...new Set([...old.keys(), ...now.keys()])]
    .filter((key) => old.get(key) !== now.get(key))
    .map((key) => `${key}: ${old.get(key) ?? 'nothing'} → ${now.get(key) ?? 'nothing'}`);
}

function flatten(value: unknown, path = '', into = new Map<string, string>()): Map<string, string> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    for (const [key, inner] of Object.entries(value)) flatten(inner, path ? `${path}.${key}` : key, into);
  } else if (value !== undefined) {
    into.set(path, JSON.stringify(value));
  }
  return into;
}

/** Returns the configuration as parsed from YAML, so that values that YAML does not keep are no change. */
function readBack(config: object): unknown {
  return parse(configToYaml(config));
}

/** Reads the keys of a file; undefined if it is damaged. */
function readYaml(path: string): object | undefined {
  try {
    const found = parsePlainYaml(readFileSync(path, 'utf8'));
    return typeof found === 'object' && found !== null ? found : undefined;
  } catch {
    return undefined;
  }
}
