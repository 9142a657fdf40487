/** The command line of `meap-pretrain`, as a function from arguments to an exit code. */
import { basename, extname, join } from 'node:path';
import { stopOnSignals } from '@meap/trainer';
import { Command, CommanderError } from 'commander';
import { dryRun, renderDryRun } from './dry-run.ts';
import { ConfigurationError, isUserError } from './errors.ts';
import { loadConfig } from './load-config.ts';
import { createProgress } from './progress.ts';
import type { PretrainConfig } from './resolve-config.ts';
import { type PretrainEvent, pretrain, type RunFacts } from './run.ts';
import { renderSummary } from './summary.ts';
import { packageVersion } from './version.ts';

/** Streams and signals of a process, or stand-ins for them in a test. */
export interface CommandIo {
  stdout: NodeJS.WriteStream;
  stderr: NodeJS.WriteStream;
}

interface Flags {
  config: string;
  set: string[];
  out?: string;
  resume: string;
  backend?: string;
  precision?: string;
  dryRun?: true;
  json?: true;
}

/** Exit codes: done, failed, wrong usage or configuration, stopped by a signal (128 + its number). */
const [DONE, FAILED, MISUSED] = [0, 1, 2];
const SIGNAL_CODES: Record<string, number> = { SIGINT: 130, SIGTERM: 143 };

/** Runs `meap-pretrain`; everything it has to say to its user goes through `io`. */
export async function pretrainCommand(argv: readonly string[], io: CommandIo = process): Promise<number> {
  const command = new Command('meap-pretrain')
    .description('Pre-train a LLaMA with MEAP from a YAML recipe.')
    .requiredOption('--config <file>', 'recipe to run')
    .option(
      '--set <key=value>',
      'change a key of the recipe, such as train.max_steps=100; repeatable',
      append,
      [],
    )
    .option('--out <dir>', 'run directory (default: runs/NAME OF THE RECIPE)')
    .option(
      '--resume <auto|never|dir>',
      'go on from the newest checkpoint in --out, or from that of another run',
      'auto',
    )
    .option('--backend <name>', 'auto, native, wasm or cpu')
    .option('--precision <format>', 'float32 or bfloat16: inputs of matrix products')
    .option('--dry-run', 'say what the run would be and take, without training')
    .option('--json', 'print one JSON object a line')
    .version(packageVersion());
  return runCommand(command, argv, io, async () => {
    const flags = command.opts<Flags>();
    const given = Object.entries({ backend: flags.backend, precision: flags.precision });
    const overrides = given.flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${value}`]));
    const config = loadConfig(flags.config, [...flags.set, ...overrides]);
    if (flags.dryRun) {
      const plan = await dryRun(config, io.stdout.columns);
      io.stdout.write(`${flags.json ? JSON.stringify(plan) : renderDryRun(plan)}\n`);
      return DONE;
    }
    return train(config, flags, argv, io);
  });
}

async function train(
  config: PretrainConfig,
  flags: Flags,
  argv: readonly string[],
  io: CommandIo,
): Promise<number> {
  const began = performance.now();
  const out = flags.out ?? join('runs', basename(flags.config, extname(flags.config)));
  const json = (value: object) => io.stdout.write(`${JSON.stringify(value)}\n`);
  const interactive = io.stderr.isTTY === true && !process.env.CI;
  const target = interactive ? io.stderr : io.stdout;
  const progress = createProgress({ write: (text) => target.write(text), interactive }, io.stderr);
  let facts: RunFacts | undefined;
  const onEvent = (event: PretrainEvent) => {
    if (event.type === 'ready') facts = event;
    if (flags.json) json(event);
    else progress.onEvent(event);
  };
  const stop = stopOnSignals();
  stop.signal.addEventListener('abort', () => {
    if (!flags.json) progress.note(`${stop.signal.reason}: saving and stopping; again to end at once`);
  });
  try {
    const result = await pretrain(config, { out, resume: flags.resume, signal: stop.signal, onEvent });
    progress.close();
    const { status, step, checkpoint } = result;
    if (flags.json)
      json({ type: status, step, checkpoint, out, seconds: (performance.now() - began) / 1000 });
    else if (status === 'complete') {
      io.stdout.write(`${out} holds a finished run of ${step} steps: ${checkpoint}\n`);
    } else if (status === 'stopped') {
      const again = `meap-pretrain ${withOut(argv, out).map(quote).join(' ')}`;
      io.stdout.write(`stopped at step ${step}; continue with: ${again}\n`);
    } else {
      io.stdout.write(`\n${renderSummary(out, facts!, (performance.now() - began) / 1000)}\n`);
    }
    return status === 'stopped' ? (SIGNAL_CODES[String(stop.signal.reason)] ?? FAILED) : DONE;
  } finally {
    progress.close();
    stop.dispose();
  }
}

/** Parses, runs, and turns what goes wrong into one line a problem and an exit code. */
export async function runCommand(
  command: Command,
  argv: readonly string[],
  io: CommandIo,
  action: () => Promise<number>,
): Promise<number> {
  let code = DONE;
  command
    .exitOverride()
    .configureOutput({ writeOut: (text) => io.stdout.write(text), writeErr: (text) => io.stderr.write(text) })
    .action(async () => {
      code = await action();
    });
  try {
    await command.parseAsync(argv as string[], { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? DONE : MISUSED;
    const lines = error instanceof ConfigurationError ? error.problems : [messageOf(error)];
    for (const line of lines) io.stderr.write(`${command.name()}: ${line}\n`);
    return error instanceof ConfigurationError ? MISUSED : FAILED;
  }
}

function messageOf(error: unknown): string {
  if (isUserError(error)) return error.message;
  return `a fault of this program, please report it: ${error instanceof Error ? error.stack : String(error)}`;
}

function append(value: string, previous: string[]): string[] {
  return [...previous, value];
}

/** The arguments that go on with this run: the same, with the folder named and resuming allowed. */
function withOut(argv: readonly string[], out: string): string[] {
  const kept = argv.filter((arg, i) => !arg.startsWith('--resume') && argv[i - 1] !== '--resume');
  const names = kept.some((arg) => arg === '--out' || arg.startsWith('--out='));
  return names ? kept : [...kept, '--out', out];
}

function quote(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
}
