/** The command line of `meap-finetune`, as a function from arguments to an exit code. */
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
import { createProgress } from './progress.ts';
import { type FinetuneConfig, loadConfig } from './resolve-config.ts';
import { type FinetuneEvent, finetune } from './run.ts';
import { renderSummary } from './summary.ts';
import { packageVersion } from './version.ts';

/** Runs `meap-finetune`; everything it has to say to its user goes through `io`. */
export async function finetuneCommand(argv: readonly string[], io: CommandIo = process): Promise<number> {
  const command = new Command('meap-finetune').description(
    'Fine-tune a LLaMA, Mistral or Qwen2 with MEAP from a YAML recipe.',
  );
  withTrainingFlags(command).version(packageVersion());
  const action = async () => {
    const flags = command.opts<TrainingFlags>();
    const config = loadConfig(flags.config, overridesOf(flags));
    if (!flags.dryRun) return train(config, flags, argv, io);
    const color = io.stdout.isTTY === true && !flags.json && !process.env.NO_COLOR;
    const plan = await dryRun(config, { width: io.stdout.columns, color });
    io.stdout.write(`${flags.json ? JSON.stringify(plan) : renderDryRun(plan)}\n`);
    return EXIT.done;
  };
  return runCommand(command, argv, { io, isUserError, action });
}

async function train(
  config: FinetuneConfig,
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
  const onEvent = (event: FinetuneEvent) => {
    if (flags.json) json(event);
    else progress.onEvent(event);
  };
  const stop = stopOnSignals();
  stop.signal.addEventListener('abort', () => {
    if (!flags.json) progress.note(`${stop.signal.reason}: saving and stopping; again to end at once`);
  });
  try {
    const result = await finetune(config, { out, resume: flags.resume, signal: stop.signal, onEvent });
    progress.close();
    const seconds = (performance.now() - began) / 1000;
    const { status, step, checkpoint, model } = result;
    if (flags.json) json({ type: status, step, checkpoint, model, out, seconds });
    else if (status === 'complete') {
      io.stdout.write(`${out} holds a finished run of ${step} steps: ${model}\n`);
    } else if (status === 'stopped') {
      const again = commandToResume('meap-finetune', argv, out);
      io.stdout.write(`stopped at step ${step}; continue with: ${again}\n`);
    } else io.stdout.write(`\n${renderSummary(out, seconds)}\n`);
    if (status !== 'stopped') return EXIT.done;
    return EXIT[String(stop.signal.reason) as 'SIGINT'] ?? EXIT.failed;
  } finally {
    progress.close();
    stop.dispose();
  }
}
