/** Runs all runs of a study, some at a time. */
import type { StudyConfig } from './config.ts';
import { pinCommands, threadsOf } from './cores.ts';
import { type RunId, runName } from './plan.ts';
import { type ChainEnd, deleteCheckpoints, runChain } from './run-chain.ts';
import type { Study } from './study-files.ts';

/** The state of a run. */
export type RunState =
  | { status: 'waiting' | 'done' | 'stopped' }
  | { status: 'running'; share: number; step: string }
  | { status: 'failed'; step: string; message: string };

export interface MatrixOptions {
  out: string;
  config: StudyConfig;
  study: Study;
  /** Programs at a time. */
  jobs: number;
  signal: AbortSignal;
  /** Called when a run changes its state, and with its progress. */
  onState: (run: RunId, state: RunState) => void;
}

/** Runs what is not finished, in the order of the runs; returns whether all have finished. */
export async function runMatrix({
  out,
  config,
  study,
  jobs,
  signal,
  onState,
}: MatrixOptions): Promise<boolean> {
  const { plan, hash, runs, results } = study;
  const waiting: RunId[] = [];
  for (const run of runs) {
    if (!results.has(runName(run))) {
      waiting.push(run);
      continue;
    }
    deleteCheckpoints(out, config, run);
    onState(run, { status: 'done' });
  }
  let isComplete = true;
  const threads = threadsOf(jobs);
  const work = async (pin: readonly string[]) => {
    for (let run = waiting.shift(); run && !signal.aborted; run = waiting.shift()) {
      const current = run;
      onState(current, { status: 'running', share: 0, step: Object.keys(config.steps)[0] });
      const end: ChainEnd = await runChain({
        out,
        config,
        plan,
        hash,
        run: current,
        pin,
        threads,
        signal,
        onProgress: (share, step) => onState(current, { status: 'running', share, step }),
      });
      onState(current, end);
      isComplete &&= end.status === 'done';
    }
  };
  await Promise.all(pinCommands(jobs).map(work));
  return isComplete && waiting.length === 0;
}
