/** Running a command: its streams, its errors as one line each, its exit code. */

import { plainText } from '@meap/dashboard';
import { backendNames } from '@meap/tensor-kernels';
import { type Command, CommanderError } from 'commander';
import { ConfigurationError, isOutOfMemory, NotReadyError, reasonOf } from './errors.ts';
import { inRecipeWords } from './recipe-words.ts';

/** What a program writes to: `process.stdout`, or whatever else takes text. */
export interface OutputStream {
  /** Takes a text; false when it is to be given no more until it has drained. */
  write(text: string): boolean;
  readonly isTTY?: boolean;
  /** Width of the terminal, where it is one. */
  readonly columns?: number;
  /** Calls the listener when the stream fails, as a pipe whose reader is gone does. */
  on?(event: 'error', listener: (error: Error) => void): unknown;
}

/** Streams of a process, or stand-ins for them in a test. */
export interface CommandIo {
  stdout: OutputStream;
  stderr: OutputStream;
}

/** Exit codes: done, failed, wrong usage or configuration; stopped by a signal is 128 + its number. */
export const EXIT = {
  done: 0,
  failed: 1,
  misused: 2,
  SIGHUP: 129,
  SIGINT: 130,
  SIGTERM: 143,
  SIGUSR2: 140,
} as const;

/** Options of {@link runCommand}. */
export interface RunCommandOptions {
  io: CommandIo;
  /** Whether an error tells its user what to do about it, so that a stack would only be in the way. */
  isUserError: (error: unknown) => error is Error;
  /** What the command does; returns its exit code. */
  action: () => Promise<number>;
  /** Names in messages that this command has others for, such as its flags. */
  words?: Readonly<Record<string, string>>;
}

/** Parses, runs, and turns what goes wrong into one line a problem and an exit code. */
export async function runCommand(
  command: Command,
  argv: readonly string[],
  { io, isUserError, action, words }: RunCommandOptions,
): Promise<number> {
  let code: number = EXIT.done;
  const lost = listenForLostOutput(io);
  command
    .exitOverride()
    .configureOutput({ writeOut: (text) => io.stdout.write(text), writeErr: (text) => io.stderr.write(text) })
    .action(async () => {
      code = await action();
    });
  try {
    await command.parseAsync(argv as string[], { from: 'user' });
    const reason = lost();
    if (reason === undefined) return code;
    io.stderr.write(`${command.name()}: what it printed was not all written: ${reason}\n`);
    return code || EXIT.failed;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.misused;
    const message = isUserError(error)
      ? inRecipeWords(error.message, words)
      : isOutOfMemory(error)
        ? `out of memory: ${reasonOf(error)}; use smaller batches or shorter texts, or stop what else runs here`
        : `a fault of this program, please report it: ${error instanceof Error ? error.stack : String(error)}`;
    const isList = error instanceof ConfigurationError || error instanceof NotReadyError;
    const lines = isList ? error.problems.map((line) => inRecipeWords(line, words)) : [message];
    const asLog = command.opts<Partial<TrainingFlags>>().jsonLogs === true;
    for (const line of lines) {
      if (asLog) io.stdout.write(logLine({ type: 'error', message: line }));
      // Parts of it may be of a file that somebody else wrote.
      io.stderr.write(`${command.name()}: ${plainText(line)}\n`);
    }
    return error instanceof ConfigurationError ? EXIT.misused : EXIT.failed;
  }
}

/**
 * Days of work must not end because nobody reads along any more: the pipe or the terminal is closed, the disk of the log
 * is full. Returns what was lost to a full disk, to be told at the end.
 */
function listenForLostOutput({ stdout, stderr }: CommandIo): () => string | undefined {
  for (const stream of [stdout, stderr]) {
    if (listened.has(stream)) continue;
    listened.add(stream);
    // Never taken off: a failed write is told late.
    stream.on?.('error', (error: NodeJS.ErrnoException) => {
      if (FULL.has(error.code ?? '')) lostOutput.set(stream, error.message);
      else if (!CLOSED.has(error.code ?? '')) throw error;
      if (stream.isTTY) isTerminalGone = true;
    });
  }
  return () => lostOutput.get(stdout) ?? lostOutput.get(stderr);
}

/**
 * Ends a program with a command's exit code once it has nothing left to do.
 *
 * Where its terminal is gone the process ends by SIGHUP, as those do that the hangup stops: Node would abort over the
 * terminal that it cannot leave as it was.
 */
export function endProcess(code: number): void {
  process.exitCode = code;
  if ((code !== EXIT.SIGHUP && !isTerminalGone) || process.platform === 'win32') return;
  process.removeAllListeners('SIGHUP');
  process.kill(process.pid, 'SIGHUP');
}

let isTerminalGone = false;
const listened = new WeakSet<OutputStream>();
const lostOutput = new WeakMap<OutputStream, string>();
const CLOSED = new Set(['EPIPE', 'EIO', 'ENXIO', 'EBADF', 'ECONNRESET', 'ENOTCONN', 'ERR_STREAM_DESTROYED']);
const FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** An event as a line of a log: its time, its level (`info`, `warn` or `error`), and all it says. */
export function logLine(event: object): string {
  const { type } = event as { type?: string };
  const level = type === 'error' ? 'error' : type === 'warning' ? 'warn' : 'info';
  return `${JSON.stringify({ time: new Date().toISOString(), level, ...event })}\n`;
}

/** Flags of every command that trains. */
export interface TrainingFlags {
  config: string;
  set: string[];
  out?: string;
  resume: string;
  backend?: string;
  precision?: string;
  dashboard?: string | true;
  dryRun?: true;
  json?: true;
  jsonLogs?: true;
}

/** Adds the flags that every command that trains has. */
export function withTrainingFlags(command: Command): Command {
  return command
    .requiredOption('--config <recipe>', 'a file, or the name of a recipe that comes with this program')
    .option(
      '--set <key=value>',
      'change a key of the recipe, such as train.max_steps=100; repeatable',
      (value: string, previous: string[]) => [...previous, value],
      [],
    )
    .option('--out <dir>', 'run directory (default: runs/NAME OF THE RECIPE)')
    .option(
      '--resume <auto|never|dir>',
      'go on from the newest checkpoint in --out, or from that of another run',
      'auto',
    )
    .option('--backend <name>', backendNames.join(', '))
    .option('--precision <format>', 'float32, bfloat16 or, on a GPU, float16: inputs of matrix products')
    .option('--dashboard [port]', 'show the run live in a browser on this machine (port 6017, or any)')
    .option('--dry-run', 'say what the run would be and take, without training')
    .option('--json', 'print one JSON object a line')
    .option('--json-logs', 'the same with time and level, for what collects logs');
}

/** All overrides that flags ask for. */
export function overridesOf({ set, backend, precision }: TrainingFlags): string[] {
  const given = Object.entries({ backend, precision });
  return [...set, ...given.flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${value}`]))];
}

/** The command that goes on with this run: the same, with the folder named and resuming allowed. */
export function commandToResume(name: string, argv: readonly string[], out: string): string {
  const kept = argv.filter((arg, i) => !arg.startsWith('--resume') && argv[i - 1] !== '--resume');
  const names = kept.some((arg) => arg === '--out' || arg.startsWith('--out='));
  return [name, ...(names ? kept : [...kept, '--out', out])].map(quote).join(' ');
}

function quote(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
}
