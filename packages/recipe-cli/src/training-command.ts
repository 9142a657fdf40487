/** The command of a training program: flags, dry run or run, progress, signals, summary. */
import { join } from 'node:path';
import { launched } from '@meap/collectives';
import { type RankGroup, stopOnSignals } from '@meap/trainer';
import { Command } from 'commander';
import {
  type CommandIo,
  commandToResume,
  EXIT,
  isInteractive,
  logLine,
  type OutputStream,
  overridesOf,
  runCommand,
  type TrainingFlags,
  withTrainingFlags,
} from './command.ts';
import { ConfigurationError, NotReadyError } from './errors.ts';
import { fetchHubNames, showDownloads } from './hub-names.ts';
import type { ProgressOutput } from './progress.ts';
import { connectLaunched, quietIo } from './ranks.ts';
import type { RecipeRules } from './read-recipe.ts';
import { inRecipeWords } from './recipe-words.ts';
import { dashboardPort, openRunDashboard } from './run-dashboard.ts';
import { type RunEnd, readConfig } from './run-directory.ts';
import { recipeName } from './shipped-recipes.ts';

/** Options of a run. */
export interface RunOptions<Event> {
  /** The run directory; created if missing. */
  out: string;
  /**
   * `auto` (default) resumes from the newest complete checkpoint of `out`, if any; `never` refuses a folder that is not
   * empty; a path resumes from that checkpoint, or from the newest of that run.
   */
  resume?: 'auto' | 'never' | (string & {});
  /** The ranks of the run, which all make the same call; one process by default. */
  ranks?: RankGroup;
  /** When aborted, the run saves and returns with status `stopped`. */
  signal?: AbortSignal;
  /** Called synchronously for every event; must not throw. */
  onEvent?: (event: Event) => void;
}

/** Shows the events of a run. */
export interface Progress<Event> {
  /** Shows an event. */
  onEvent(event: Event): void;
  /** Writes a line. */
  note(text: string): void;
  /** Removes an unfinished bar; may be called again. */
  close(): void;
}

/** A training program. */
export interface TrainingProgram<Config, Event> {
  name: string;
  description: string;
  version: string;
  /** Whether an error is shown to the user as one line, without a stack. */
  isUserError: (error: unknown) => error is Error;
  /** The keys of its recipes that may name something on the Hub; without them, none is fetched. */
  rules?: RecipeRules;
  /** Reads a recipe and applies overrides; refuses what the ranks of a run cannot share. */
  loadConfig(file: string, overrides: readonly string[], numRanks: number): Config;
  /** Returns the output of `--dry-run`: text, or with `--json` an object. With problems, the run cannot start. */
  plan(
    config: Config,
    page: { width: number | undefined; color: boolean },
  ): Promise<{ json: object; text: string; problems?: readonly string[] }>;
  /** Returns the output of `--dry-run --target`, for devices that need not be here. */
  planOn?(config: Config, target: string): Promise<{ json: object; text: string }>;
  /** Trains until the run is complete or the signal is aborted. */
  run(config: Config, options: RunOptions<Event>): Promise<RunEnd>;
  /** Creates the progress display. */
  progress(output: ProgressOutput, stream: OutputStream): Progress<Event>;
  /** Returns the summary of a finished run in `out`. */
  summary(out: string, seconds: number): string | Promise<string>;
}

/** Keys of every training recipe that the command reads. */
export interface DistributedConfig {
  distributed: { timeout_seconds: number };
}

/**
 * Runs the command with its output on `io`, and returns the exit code.
 *
 * Only rank 0 prints; other ranks print errors that rank 0 does not have. A rank that fails ends its process.
 */
export async function runTrainingCommand<Config extends DistributedConfig, Event extends object>(
  program: TrainingProgram<Config, Event>,
  argv: readonly string[],
  processIo: CommandIo,
): Promise<number> {
  const { name, description, version, isUserError } = program;
  const { rank, size } = launched() ?? { rank: 0, size: 1 };
  const quiet = quietIo(processIo, rank);
  const io = quiet ?? processIo;
  let ranks: RankGroup | undefined;
  const command = withTrainingFlags(new Command(name).description(description)).version(version);
  if (program.planOn) {
    command.option(
      '--target <devices>',
      'with --dry-run --backend xla: plan for devices that need not be here, such as h200x8 or v5p-32',
    );
  }
  const action = async () => {
    const flags = command.opts<TrainingFlags>();
    if (flags.target !== undefined && !flags.dryRun) {
      throw new ConfigurationError([`--target: got ${flags.target} without --dry-run, expected both`]);
    }
    const given = overridesOf(flags);
    const downloads = showDownloads(io);
    const fetched = program.rules
      ? await fetchHubNames(flags.config, given, program.rules, {
          ...downloads,
          earlier: flags.resume === 'never' ? undefined : readConfig(outOf(flags)),
        }).finally(downloads.close)
      : [];
    const config = program.loadConfig(flags.config, [...given, ...fetched], size);
    // Errors of usage come before any work.
    if (flags.dashboard !== undefined) dashboardPort(flags.dashboard);
    if (!flags.dryRun) {
      ranks = await connectLaunched(config.distributed.timeout_seconds, io);
      return train(program, config, flags, argv, io, ranks);
    }
    const asJson = flags.json || flags.jsonLogs;
    const color = io.stdout.isTTY === true && !asJson && !process.env.NO_COLOR;
    const {
      json,
      text,
      problems = [],
    } = flags.target !== undefined
      ? { ...(await program.planOn!(config, flags.target)), problems: [] }
      : await program.plan(config, { width: io.stdout.columns, color });
    io.stdout.write(
      flags.jsonLogs ? logLine({ type: 'plan', ...json }) : `${asJson ? JSON.stringify(json) : text}\n`,
    );
    if (problems.length > 0) throw new NotReadyError(problems);
    return EXIT.done;
  };
  const code = await runCommand(command, argv, { io, isUserError, action });
  const hasFailed = code !== EXIT.done && !ranks?.isClosed;
  if (hasFailed) await quiet?.printErrors();
  // Pending operations would keep this process and the other ranks alive; the launcher ends them with it.
  if (hasFailed && ranks && ranks.size > 1) process.exit(code);
  return code;
}

async function train<Config, Event extends object>(
  program: TrainingProgram<Config, Event>,
  config: Config,
  flags: TrainingFlags,
  argv: readonly string[],
  io: CommandIo,
  ranks: RankGroup,
): Promise<number> {
  const began = performance.now();
  const out = outOf(flags);
  const asJson = flags.json || flags.jsonLogs;
  const json = (value: object) =>
    io.stdout.write(flags.jsonLogs ? logLine(value) : `${JSON.stringify(value)}\n`);
  const interactive = isInteractive(io.stderr);
  const target = interactive ? io.stderr : io.stdout;
  const progress = program.progress({ write: (text) => target.write(text), interactive }, io.stderr);
  const onEvent = (given: Event) => {
    if (!ranks.isFirst) return;
    const { type, message } = given as { type?: string; message?: string };
    const event =
      type === 'warning' && message !== undefined ? { ...given, message: inRecipeWords(message) } : given;
    if (asJson) json(event);
    else progress.onEvent(event);
  };
  const stop = stopOnSignals();
  stop.signal.addEventListener('abort', () => {
    if (!asJson && ranks.isFirst)
      progress.note(`${stop.signal.reason}: saving and stopping; repeat the signal to end at once`);
  });
  const warn = (message: string) =>
    asJson ? json({ type: 'warning', message }) : progress.note(`warning      ${message}`);
  const dashboard =
    flags.dashboard !== undefined && ranks.isFirst
      ? await openRunDashboard(out, dashboardPort(flags.dashboard), warn)
      : undefined;
  if (dashboard && asJson) json({ type: 'dashboard', url: dashboard.url });
  else if (dashboard) progress.note(`dashboard    ${dashboard.url}`);
  let ended = 'the run ended with an error, shown in its terminal';
  try {
    const end = await program.run(config, { out, resume: flags.resume, ranks, signal: stop.signal, onEvent });
    progress.close();
    const seconds = (performance.now() - began) / 1000;
    const { status, step, checkpoint, model } = end;
    ended = status === 'stopped' ? `the run was stopped at step ${step}` : 'the run has finished';
    if (!ranks.isFirst) {
      // Only rank 0 prints.
    } else if (asJson) json({ type: status, step, checkpoint, model, out, seconds });
    else if (status === 'complete') {
      io.stdout.write(`${out} holds a finished run of ${step} steps: ${model ?? checkpoint}\n`);
    } else if (status === 'stopped') {
      const again = commandToResume(program.name, argv, out);
      io.stdout.write(`stopped at step ${step}; continue with: ${again}\n`);
    } else io.stdout.write(`\n${await program.summary(out, seconds)}\n`);
    // Waits for all ranks, so that the launcher sees no rank end early.
    await ranks.close();
    if (status !== 'stopped') return EXIT.done;
    return EXIT[String(stop.signal.reason) as 'SIGINT'] ?? EXIT.failed;
  } finally {
    progress.close();
    await dashboard?.close(ended);
    stop.dispose();
  }
}

function outOf({ out, config }: TrainingFlags): string {
  return out ?? join('runs', recipeName(config));
}
