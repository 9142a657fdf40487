/** The command of a program that trains: flags, plan or run, progress, signals, what is said at the end. */
import { join } from 'node:path';
import { launched } from '@meap/collectives';
import { type RankGroup, stopOnSignals } from '@meap/trainer';
import { Command } from 'commander';
import {
  type CommandIo,
  commandToResume,
  EXIT,
  logLine,
  type OutputStream,
  overridesOf,
  runCommand,
  type TrainingFlags,
  withTrainingFlags,
} from './command.ts';
import { NotReadyError } from './errors.ts';
import type { ProgressOutput } from './progress.ts';
import { connectLaunched, quietIo } from './ranks.ts';
import { inRecipeWords } from './recipe-words.ts';
import { dashboardPort, openRunDashboard } from './run-dashboard.ts';
import { recipeName } from './shipped-recipes.ts';

/** How a run ended. */
export interface RunEnd {
  /** `complete`: the folder held a finished run already, and nothing was done. */
  status: 'finished' | 'stopped' | 'complete';
  /** Optimizer steps completed. */
  step: number;
  /** The newest checkpoint; undefined when stopped before there was anything to save. */
  checkpoint?: string;
  /** The exported model, where a program makes one. */
  model?: string;
}

/** Where a run goes and who hears of it. */
export interface RunOptions<Event> {
  /** The run directory; made if absent. */
  out: string;
  /**
   * `auto` (default) goes on from the newest complete checkpoint of `out`, if any; `never` refuses a folder that is
   * not empty; a path goes on from that checkpoint, or from the newest of that run.
   */
  resume?: 'auto' | 'never' | (string & {});
  /** The processes to share the run with; each makes the same call. This one alone unless given. */
  ranks?: RankGroup;
  /** When aborted, the run saves and returns with status `stopped`. */
  signal?: AbortSignal;
  /** Called at once for everything that happens; it must not throw. */
  onEvent?: (event: Event) => void;
}

/** Follows the events of a run. */
export interface Progress<Event> {
  /** Shows an event, if it is one to be shown. */
  onEvent(event: Event): void;
  /** Writes a line among the others. */
  note(text: string): void;
  /** Ends an unfinished bar; once is enough. */
  close(): void;
}

/** A program that trains, as its command needs it. */
export interface TrainingProgram<Config, Event> {
  name: string;
  description: string;
  version: string;
  /** Whether an error tells its user what to do about it. */
  isUserError: (error: unknown) => error is Error;
  /** Reads a recipe and applies overrides; refuses what the ranks of a run cannot share. */
  loadConfig(file: string, overrides: readonly string[], numRanks: number): Config;
  /** What `--dry-run` prints: text, or an object with `--json`; with problems, the run is not ready to start. */
  plan(
    config: Config,
    page: { width: number | undefined; color: boolean },
  ): Promise<{ json: object; text: string; problems?: readonly string[] }>;
  /** Trains until the run ends or its signal does. */
  run(config: Config, options: RunOptions<Event>): Promise<RunEnd>;
  /** Makes what shows a run to a person. */
  progress(output: ProgressOutput, stream: OutputStream): Progress<Event>;
  /** What a finished run in `out` prints. */
  summary(out: string, seconds: number): string | Promise<string>;
}

/** What every program that trains has in its recipes. */
export interface DistributedConfig {
  distributed: { timeout_seconds: number };
}

/**
 * Runs the command; everything it has to say to its user goes through `io`. Returns its exit code.
 *
 * Of several ranks only rank 0 prints, and the others errors that it does not have. One that fails ends its process.
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
  const action = async () => {
    const flags = command.opts<TrainingFlags>();
    const config = program.loadConfig(flags.config, overridesOf(flags), size);
    // Before any work, as all that is wrong with the command.
    if (flags.dashboard !== undefined) dashboardPort(flags.dashboard);
    if (!flags.dryRun) {
      ranks = await connectLaunched(config.distributed.timeout_seconds, io);
      return train(program, config, flags, argv, io, ranks);
    }
    const asJson = flags.json || flags.jsonLogs;
    const color = io.stdout.isTTY === true && !asJson && !process.env.NO_COLOR;
    const { json, text, problems = [] } = await program.plan(config, { width: io.stdout.columns, color });
    io.stdout.write(
      flags.jsonLogs ? logLine({ type: 'plan', ...json }) : `${asJson ? JSON.stringify(json) : text}\n`,
    );
    if (problems.length > 0) throw new NotReadyError(problems);
    return EXIT.done;
  };
  const code = await runCommand(command, argv, { io, isUserError, action });
  const hasFailed = code !== EXIT.done && !ranks?.isClosed;
  if (hasFailed) await quiet?.complain();
  // What this rank has begun with others would keep its process, and them; its end tells them.
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
  const out = flags.out ?? join('runs', recipeName(flags.config));
  const asJson = flags.json || flags.jsonLogs;
  const json = (value: object) =>
    io.stdout.write(flags.jsonLogs ? logLine(value) : `${JSON.stringify(value)}\n`);
  const interactive = io.stderr.isTTY === true && !process.env.CI;
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
      progress.note(`${stop.signal.reason}: saving and stopping; again to end at once`);
  });
  const warn = (message: string) =>
    asJson ? json({ type: 'warning', message }) : progress.note(`warning      ${message}`);
  const dashboard =
    flags.dashboard !== undefined && ranks.isFirst
      ? await openRunDashboard(out, dashboardPort(flags.dashboard), warn)
      : undefined;
  if (dashboard && asJson) json({ type: 'dashboard', url: dashboard.url });
  else if (dashboard) progress.note(`dashboard    ${dashboard.url}`);
  let ended = 'the run has ended with an error, which its terminal shows';
  try {
    const end = await program.run(config, { out, resume: flags.resume, ranks, signal: stop.signal, onEvent });
    progress.close();
    const seconds = (performance.now() - began) / 1000;
    const { status, step, checkpoint, model } = end;
    ended = status === 'stopped' ? `the run was stopped at step ${step}` : 'the run has finished';
    if (!ranks.isFirst) {
      // Rank 0 alone has something to say.
    } else if (asJson) json({ type: status, step, checkpoint, model, out, seconds });
    else if (status === 'complete') {
      io.stdout.write(`${out} holds a finished run of ${step} steps: ${model ?? checkpoint}\n`);
    } else if (status === 'stopped') {
      const again = commandToResume(program.name, argv, out);
      io.stdout.write(`stopped at step ${step}; continue with: ${again}\n`);
    } else io.stdout.write(`\n${await program.summary(out, seconds)}\n`);
    // The last to come is rank 0: only then may a launcher see how the others ended.
    await ranks.close();
    if (status !== 'stopped') return EXIT.done;
    return EXIT[String(stop.signal.reason) as 'SIGINT'] ?? EXIT.failed;
  } finally {
    progress.close();
    await dashboard?.close(ended);
    stop.dispose();
  }
}
