/** The command line of `meap-pretrain`, as a function from arguments to an exit code. */
import { basename, extname, join } from 'node:path';
import {
  type CommandIo,
  commandToResume,
  EXIT,
  overridesOf,
  runCommand,
  type TrainingFlags,
  withTrainingFlags,
} from '@meap/recipe-cli';
import { stopOnSignals } from '@meap/trainer';
import { Command } from 'commander';
import { dryRun, renderDryRun } from './dry-run.ts';
import { isUserError } from './errors.ts';
import { loadConfig } from './load-config.ts';
import { createProgress } from './progress.ts';
import type { PretrainConfig } from './resolve-config.ts';
import { type PretrainEvent, pretrain, type RunFacts } from './run.ts';
import { renderSummary } from './summary.ts';
import { packageVersion } from './version.ts';

/** Runs `meap-pretrain`; everything it has to say to its user goes through `io`. */
export async function pretrainCommand(argv: readonly string[], io: CommandIo = process): Promise<number> {
  const command = new Command('meap-pretrain').description('Pre-train a LLaMA with MEAP from a YAML recipe.');
  withTrainingFlags(command).version(packageVersion());
  const action = async () => {
    const flags = command.opts<TrainingFlags>();
    const config = loadConfig(flags.config, overridesOf(flags));
    if (!flags.dryRun) return train(config, flags, argv, io);
    const plan = await dryRun(config, io.stdout.columns);
    io.stdout.write(`${flags.json ? JSON.stringify(plan) : renderDryRun(plan)}\n`);
    return EXIT.done;
  };
  return runCommand(command, argv, { io, isUserError, action });
}

async function train(
  config: PretrainConfig,
  flags: TrainingFlags,
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
      const again = commandToResume('meap-pretrain', argv, out);
      io.stdout.write(`stopped at step ${step}; continue with: ${again}\n`);
    } else {
      io.stdout.write(`\n${renderSummary(out, facts!, (performance.now() - began) / 1000)}\n`);
    }
    if (status !== 'stopped') return EXIT.done;
    return EXIT[String(stop.signal.reason) as 'SIGINT'] ?? EXIT.failed;
  } finally {
    progress.close();
    stop.dispose();
  }
}
