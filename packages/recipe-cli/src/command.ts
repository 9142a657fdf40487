/** Runs a command: output streams, errors as one line each, exit codes. */

import { plainText } from '@meap/dashboard';
import { backendNames } from '@meap/tensor-kernels';
import { type Command, CommanderError } from 'commander';
import { ConfigurationError, isOutOfMemory, NotReadyError, reasonOf } from './errors.ts';
import { inRecipeWords } from './recipe-words.ts';

/** An output stream, such as `process.stdout`. */
export interface OutputStream {
  /** Writes text; returns false when the caller should wait until the stream has drained. */
  write(text: string): boolean;
  readonly isTTY?: boolean;
  /** Width of the terminal, if it is one. */
  readonly columns?: number;
  /** Calls the listener when the stream fails, such as a closed pipe. */
  on?(event: 'error', listener: (error: Error) => void): unknown;
}

/** Whether lines can be redrawn: in a terminal, but not in the log of a CI service, some of which also report a terminal. */
export function isInteractive(stream: OutputStream): boolean {
  return stream.isTTY === true && !process.env.CI;
}

/** Output streams of a process. */
export interface CommandIo {
  stdout: OutputStream;
  stderr: OutputStream;
}

/** Exit codes: success, failure, wrong usage or configuration; a signal gives 128 + its number. */
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
  /** Whether an error is shown to the user as one line, without a stack. */
  isUserError: (error: unknown) => error is Error;
  /** Runs the command and returns its exit code. */
  action: () => Promise<number>;
  /** Replacements for option names in messages, such as the command's flags. */
  words?: Readonly<Record<string, string>>;
}

/** Parses arguments and runs the command; prints one line per problem and returns the exit code. */
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
    io.stderr.write(`${command.name()}: output was lost: ${reason}\n`);
    return code || EXIT.failed;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.misused;
    const message = isUserError(error)
      ? inRecipeWords(error.message, words)
      : isOutOfMemory(error)
        ? `out of memory: ${reasonOf(error)}; use smaller batches or shorter texts, or stop other programs`
        : `internal error, please report it: ${error instanceof Error ? error.stack : String(error)}`;
    const isList = error instanceof ConfigurationError || error instanceof NotReadyError;
    const lines = isList ? error.problems.map((line) => inRecipeWords(line, words)) : [message];
    const asLog = command.opts<Partial<TrainingFlags>>().jsonLogs === true;
    for (const line of lines) {
      if (asLog) io.stdout.write(logLine({ type: 'error', message: line }));
      // Messages may quote files of unknown origin.
      io.stderr.write(`${command.name()}: ${plainText(line)}\n`);
    }
    return error instanceof ConfigurationError ? EXIT.misused : EXIT.failed;
  }
}

/**
 * Keeps a run alive when its output pipe or terminal closes or the log's disk is full. The returned function reports output
 * that a full disk lost.
 */
function listenForLostOutput({ stdout, stderr }: CommandIo): () => string | undefined {
  for (const stream of [stdout, stderr]) {
    if (listened.has(stream)) continue;
    listened.add(stream);
    // Never removed: a failed write may be reported late.
    stream.on?.('error', (error: NodeJS.ErrnoException) => {
      if (FULL.has(error.code ?? '')) lostOutput.set(stream, error.message);
      else if (!CLOSED.has(error.code ?? '')) throw error;
      if (stream.isTTY) isTerminalGone = true;
    });
  }
  return () => lostOutput.get(stdout) ?? lostOutput.get(stderr);
}

/**
 * Sets a program's exit code.
 *
 * If the terminal has closed, ends the process by SIGHUP: Node would abort because it cannot restore the terminal.
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

/** Formats an event as a log line with time and level (`info`, `warn` or `error`). */
export function logLine(event: object): string {
  const { type } = event as { type?: string };
  const level = type === 'error' ? 'error' : type === 'warning' ? 'warn' : 'info';
  return `${JSON.stringify({ time: new Date().toISOString(), level, ...event })}\n`;
}

/** Flags of all training commands. */
export interface TrainingFlags {
  config: string;
  set: string[];
  out?: string;
  resume: string;
  backend?: string;
  precision?: string;
  dashboard?: string | true;
  dryRun?: true;
  target?: string;
  json?: true;
  jsonLogs?: true;
}

/** Adds the flags of all training commands. */
export function withTrainingFlags(command: Command): Command {
  return command
    .requiredOption('--config <recipe>', 'a recipe file, or the name of a built-in recipe')
    .option(
      '--set <key=value>',
      'set a key of the recipe, such as train.max_steps=100; repeatable',
      (value: string, previous: string[]) => [...previous, value],
      [],
    )
    .option('--out <dir>', 'run directory (default: runs/RECIPE)')
    .option(
      '--resume <auto|never|dir>',
      'resume from the newest checkpoint in --out, or from another run or checkpoint',
      'auto',
    )
    .option('--backend <name>', backendNames.join(', '))
    .option('--precision <format>', 'inputs of matrix products: float32, bfloat16 or, on a GPU, float16')
    .option(
      '--dashboard [port]',
      'show the run live in a browser on this machine (port 6017, or any free one)',
    )
    .option('--dry-run', 'print sizes, memory and duration of the run without training')
    .option('--json', 'print one JSON object per line')
    .option('--json-logs', 'the same with time and level, for log collectors');
}

/** Returns the overrides of the flags. */
export function overridesOf({ set, backend, precision }: TrainingFlags): string[] {
  const given = Object.entries({ backend, precision });
  return [...set, ...given.flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${value}`]))];
}

/** Returns the command that resumes this run: the same with --out and without --resume. */
export function commandToResume(name: string, argv: readonly string[], out: string): string {
  const kept = argv.filter((arg, i) => !arg.startsWith('--resume') && argv[i - 1] !== '--resume');
  const names = kept.some((arg) => arg === '--out' || arg.startsWith('--out='));
  return [name, ...(names ? kept : [...kept, '--out', out])].map(quote).join(' ');
}

function quote(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
}
