import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

/** A running program and its output so far. */
export interface RunningProcess {
  child: ChildProcess;
  output: { stdout: string; stderr: string };
  /** The exit code, or the signal that ended it. */
  ended: Promise<number | string>;
  /** Waits for a condition, or for the end of a process that fails to meet it. */
  until(isMet: () => boolean): Promise<void>;
}

/** Starts a program without a terminal. */
export function startProcess(
  command: string,
  args: readonly string[],
  options: Omit<SpawnOptions, 'stdio'> = {},
): RunningProcess {
  const child = spawn(command, args, { ...options, env: { ...process.env, CI: '1', ...options.env } });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]!.on('data', (chunk) => {
      output[name] += chunk;
    });
  }
  let isOver = false;
  const ended = new Promise<number | string>((resolve) => {
    child.on('close', (code, signal) => {
      isOver = true;
      resolve(code ?? signal ?? -1);
    });
  });
  const until = async (isMet: () => boolean) => {
    while (!isMet() && !isOver) await sleep(2);
  };
  return { child, output, ended, until };
}
