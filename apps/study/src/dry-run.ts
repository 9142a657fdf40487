/** Plans a study: how many runs and steps, how long, how much disk. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bytes, counted, duration, short } from '@meap/recipe-cli';
import type { StudyConfig } from './config.ts';
import { pinCommands, threadsOf } from './cores.ts';
import { makePlan, runsOf, seedsByArm } from './plan.ts';
import { findProgram, flatten, stepArguments } from './programs.ts';
import { runProcess } from './run-process.ts';

/** The dry run of a step in one arm; without numbers, why there are none. */
type StepEstimate = { arm: string; step: string } & (
  | { steps: number; tokens: number; seconds: number; checkpointBytes: number }
  | { reason: string }
);

export interface StudyEstimate {
  title: string;
  runs: number;
  jobs: number;
  estimates: StepEstimate[];
  /** Training of all runs, in hours of `jobs` programs side by side. */
  seconds: number;
  steps: number;
  /** Checkpoints at any time. */
  diskBytes: number;
}

/**
 * Asks each program for a dry run of its step, for the first seed of every arm.
 *
 * @throws RunError for a missing program, ConfigurationError for a recipe that cannot be read
 */
export async function planStudy(config: StudyConfig, jobs: number): Promise<StudyEstimate> {
  makePlan(config);
  const seeds = seedsByArm(config);
  const runs = runsOf(seeds);
  const estimates: StepEstimate[] = [];
  for (const arm of Object.keys(config.arms)) {
    for (const step of Object.keys(config.steps)) estimates.push(await estimate(config, arm, step, jobs));
  }
  let [seconds, steps] = [0, 0];
  const diskByArm = new Map<string, number>();
  for (const entry of estimates) {
    if ('reason' in entry) continue;
    const numSeeds = seeds[entry.arm].length;
    seconds += (entry.seconds * numSeeds) / Math.min(jobs, runs.length);
    steps += entry.steps * numSeeds;
    diskByArm.set(entry.arm, (diskByArm.get(entry.arm) ?? 0) + entry.checkpointBytes);
  }
  const numKept = config.keep_checkpoints ? runs.length : Math.min(jobs, runs.length);
  const diskBytes = Math.max(0, ...diskByArm.values()) * numKept;
  return { title: config.title, runs: runs.length, jobs, estimates, seconds, steps, diskBytes };
}

/** A checkpoint has weights and two moments in float32; the program keeps two, and writes a third. */
const CHECKPOINT_BYTES_PER_PARAMETER = 3 * 3 * 4;

async function estimate(config: StudyConfig, arm: string, name: string, jobs: number): Promise<StepEstimate> {
  const step = config.steps[name];
  if (step.program === 'evaluate') return { arm, step: name, reason: 'evaluations are not timed' };
  if (step.model) return { arm, step: name, reason: `needs the model of ${step.model}` };
  const out = mkdtempSync(join(tmpdir(), 'meap-study-'));
  try {
    const seed = seedsByArm(config)[arm][0];
    const set = flatten(config.arms[arm].set[name] ?? {});
    let plan: Record<string, unknown> = {};
    const began = performance.now();
    const { code, lastLines } = await runProcess({
      cli: findProgram(step.program).cli,
      args: [...stepArguments({ step, set, vary: config.vary, seed, out }), '--dry-run', '--json'],
      pin: pinCommands(jobs)[0],
      threads: threadsOf(jobs),
      log: join(out, 'log'),
      onEvent: (event) => {
        plan = event;
      },
    });
    const { steps, tokens, seconds, parameters } = plan;
    if (code !== 0) return { arm, step: name, reason: lastLines.join('; ') };
    if (typeof seconds !== 'number')
      return { arm, step: name, reason: `${step.program} does not estimate time` };
    const checkpointBytes = Number(parameters) * CHECKPOINT_BYTES_PER_PARAMETER;
    // A run loads and prepares what its dry run does.
    const start = (performance.now() - began) / 1000;
    return {
      arm,
      step: name,
      steps: Number(steps),
      tokens: Number(tokens),
      seconds: seconds + start,
      checkpointBytes,
    };
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

/** Formats the estimate for the terminal. */
export function renderDryRun({
  title,
  runs,
  jobs,
  estimates,
  seconds,
  steps,
  diskBytes,
}: StudyEstimate): string {
  const lines = estimates.map((entry) => {
    const name = `${entry.arm}, ${entry.step}`.padEnd(24);
    return 'reason' in entry
      ? `${name} not estimated: ${entry.reason}`
      : `${name} ${entry.steps} steps, ${short(entry.tokens)} tokens, about ${duration(entry.seconds)} a run`;
  });
  return [
    `study        ${title}`,
    `runs         ${counted(runs, 'run')}, ${jobs} at a time; ${steps} training steps in all`,
    ...lines.map((line) => `             ${line}`),
    `time         about ${duration(seconds)} without validation and what is not estimated`,
    `disk         about ${bytes(diskBytes)} of checkpoints at a time`,
  ].join('\n');
}
