import type { CommandIo } from './command.ts';

/** What a command left behind. */
export interface Outcome {
  /** Its exit code. */
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a command on stand-ins for a process's streams: for tests, and for programs that embed one. */
export async function captureOutput(command: (io: CommandIo) => Promise<number>): Promise<Outcome> {
  const outcome: Outcome = { code: -1, stdout: '', stderr: '' };
  const stream = (name: 'stdout' | 'stderr') => ({
    write: (text: string) => {
      outcome[name] += text;
      return true;
    },
  });
  outcome.code = await command({ stdout: stream('stdout'), stderr: stream('stderr') });
  return outcome;
}
