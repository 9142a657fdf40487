import type { CommandIo } from './command.ts';

/** Exit code and output of a command. */
export interface Outcome {
  /** Exit code. */
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a command and captures its output. */
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
