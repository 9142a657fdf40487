/** One run of a study: its steps in order, then its measures. */
import { existsSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeDirectory } from '@meap/files';
import { ConfigurationError, RunError } from '@meap/recipe-cli';
import { acquireLock, RunLockedError } from '@meap/trainer';
import type { StudyConfig } from './config.ts';
import { measureRun } from './measures.ts';
import type { Plan, RunId } from './plan.ts';
import { findProgram, flatten, stepArguments } from './programs.ts';
import { runProcess } from './run-process.ts';
import { addSeconds, runDirectory, writeFailure, writeResult } from './study-files.ts';

export interface ChainOptions {
  out: string;
  config: StudyConfig;
  plan: Plan;
  hash: string;
  run: RunId;
  pin: readonly string[];
  threads: number;
  signal: AbortSignal;
  /** Called with the share of the run that is done, 0 to 1, and the current step. */
  onProgress: (share: number, step: string) => void;
}

export type ChainEnd = { status: 'done' | 'stopped' } | { status: 'failed'; step: string; message: string };

/** Runs the steps that are not finished, measures, writes the result and deletes the checkpoints. */
export async function runChain(options: ChainOptions): Promise<ChainEnd> {
  const { out, config, plan, hash, run, signal, onProgress } = options;
  const names = Object.keys(config.steps);
  const versions: Record<string, string> = {};
  for (const [i, name] of names.entries()) {
    const { cli, version } = findProgram(config.steps[name].program);
    versions[config.steps[name].program] = version;
    const end = await runStep(options, name, cli, (share) => onProgress((i + share) / names.length, name));
    if (signal.aborted) return { status: 'stopped' };
    if (end === undefined) continue;
    writeFailure(out, run, { step: name, message: end });
    return { status: 'failed', step: name, message: end };
  }
  try {
    const measured = measureRun(plan, (step) => runDirectory(out, run, step));
    writeResult(out, { plan: hash, ...run, versions, ...measured });
  } catch (error) {
    if (!(error instanceof RunError || error instanceof ConfigurationError)) throw error;
    writeFailure(out, run, { step: 'measures', message: error.message });
    return { status: 'failed', step: 'measures', message: error.message };
  }
  deleteCheckpoints(out, config, run);
  return { status: 'done' };
}

/** Deletes what a finished run no longer needs, unless the study keeps it. */
export function deleteCheckpoints(out: string, { steps, keep_checkpoints }: StudyConfig, run: RunId): void {
  if (keep_checkpoints) return;
  for (const step of Object.keys(steps)) {
    for (const part of ['checkpoints', 'model', 'answers']) {
      rmSync(join(runDirectory(out, run, step), part), { recursive: true, force: true });
    }
  }
}

/** Runs a step; returns its last lines if it failed. */
async function runStep(
  { out, config, run, pin, threads, signal }: ChainOptions,
  name: string,
  cli: string,
  onShare: (share: number) => void,
): Promise<string | undefined> {
  const step = config.steps[name];
  const directory = runDirectory(out, run, name);
  const isEvaluation = step.program === 'evaluate';
  // The programs find by themselves where to go on; an evaluation would start again with the answers it has.
  if (isEvaluation && existsSync(join(directory, 'results.json'))) return undefined;
  makeDirectory(directory);
  await untilFree(directory, signal);
  if (signal.aborted) return undefined;
  const args = stepArguments({
    step,
    set: flatten(config.arms[run.arm].set[name] ?? {}),
    vary: config.vary,
    seed: run.seed,
    out: directory,
    model: step.model && runDirectory(out, run, step.model),
  });
  let total = 0;
  const began = performance.now();
  const { code, lastLines } = await runProcess({
    cli,
    args: [...args, '--json', ...(isEvaluation ? ['--cache', join(directory, 'answers')] : [])],
    pin,
    threads,
    log: join(dirname(directory), `${name}.log`),
    signal,
    onEvent: ({ type, steps, step }) => {
      if (type === 'ready') total = Number(steps);
      if (type === 'step' && total > 0) onShare(Number(step) / total);
    },
  });
  addSeconds(out, run, name, (performance.now() - began) / 1000);
  if (code === 0) return undefined;
  return lastLines.length > 0 ? lastLines.join('\n') : `ended with exit code ${code}, without a message`;
}

/** Waits for a program of a killed study, which saves and ends by itself. */
async function untilFree(directory: string, signal: AbortSignal): Promise<void> {
  for (let waits = 0; !signal.aborted; waits++) {
    try {
      (await acquireLock(directory, { signal })).release();
      return;
    } catch (error) {
      if (!(error instanceof RunLockedError) || waits > MAX_WAITS) throw error;
      await sleep(500);
    }
  }
}

/** Half seconds until a program that does not end is an error. */
const MAX_WAITS = 240;
