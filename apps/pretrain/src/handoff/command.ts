/** The command line of `meap-handoff`, as a function from arguments to an exit code. */
import { join } from 'node:path';
import {
  type CommandIo,
  EXIT,
  isInteractive,
  type OutputStream,
  type ProgressOutput,
  packageVersion,
  percent,
  runCommand,
  short,
} from '@meap/recipe-cli';
import { stopOnSignals } from '@meap/trainer';
import { Command } from 'commander';
import { isUserError } from '../errors.ts';
import { createProgress } from '../training/progress.ts';
import { wholeNumber } from '../whole-number.ts';
import {
  FURTHER_STEPS,
  type HandoffEvent,
  type HandoffOptions,
  type HandoffSummary,
  writeHandoff,
} from './write-handoff.ts';

type Flags = Pick<HandoffOptions, 'run' | 'out' | 'steps' | 'checkSteps'> & { json?: true };

/** Runs `meap-handoff`; all output goes through `io`. */
export async function handoffCommand(argv: readonly string[], io: CommandIo = process): Promise<number> {
  const command = new Command('meap-handoff')
    .description('Export a run to PyTorch: model, optimizer, masked token rows, torchtitan configuration.')
    .requiredOption('--run <dir>', 'run of meap-pretrain (its newest checkpoint), or one of its checkpoints')
    .requiredOption('--out <dir>', 'folder to write; must be missing or empty')
    .option(
      '--steps <n>',
      `number of steps to export (default: the remaining ones, or ${FURTHER_STEPS} more of a finished run)`,
      wholeNumber(1),
    )
    .option(
      '--check-steps <n>',
      'steps to run now and record the losses of, for check.py to reproduce',
      wholeNumber(0),
      2,
    )
    .option('--json', 'print one JSON object a line')
    .version(packageVersion(import.meta.url));
  const action = async () => {
    const flags = command.opts<Flags>();
    const interactive = isInteractive(io.stderr);
    const target = interactive ? io.stderr : io.stdout;
    const show = showProgress({ write: (text) => target.write(text), interactive }, io.stderr);
    const json = (value: object) => io.stdout.write(`${JSON.stringify(value)}\n`);
    const stop = stopOnSignals();
    try {
      const onEvent = flags.json ? json : show.onEvent;
      const summary = await writeHandoff({ ...flags, signal: stop.signal, onEvent });
      show.close();
      if (!summary) {
        if (flags.json) json({ type: 'stopped' });
        else io.stdout.write(`${stop.signal.reason}: stopped; nothing was written to ${flags.out}\n`);
        return EXIT[String(stop.signal.reason) as 'SIGINT'] ?? EXIT.failed;
      }
      if (flags.json) json({ type: 'written', out: flags.out, ...summary });
      else io.stdout.write(`\n${describe(flags.out, summary)}\n`);
      return EXIT.done;
    } finally {
      show.close();
      stop.dispose();
    }
  };
  return runCommand(command, argv, { io, isUserError, action });
}

function showProgress(output: ProgressOutput, stream: OutputStream) {
  const progress = createProgress(output, stream);
  const onEvent = (event: HandoffEvent) => {
    switch (event.type) {
      case 'backend':
        progress.onEvent({ ...event, peakGflops: null });
        break;
      case 'measuring':
        progress.note(`expected     validating, then running ${event.steps} steps`);
        break;
      case 'rows':
        progress.onRows(event.done, event.steps);
        break;
      default:
        progress.onEvent(event);
    }
  };
  return { onEvent, close: () => progress.close() };
}

function describe(out: string, summary: HandoffSummary): string {
  const { checkpoint, parameters, model, firstStep, steps, rows, masked, passes, expected } = summary;
  const first = expected.steps[0];
  const epochs = passes > 1 ? `, up to epoch ${passes}` : '';
  const { loss, bits_per_byte } = expected.validation;
  const lines = [
    `handed over  ${out}   (${checkpoint}, ${short(parameters)} parameters)`,
    `rows         ${short(rows)} for steps ${firstStep + 1} to ${firstStep + steps}${epochs}, ${percent(masked)} masked, and ${short(summary.validationRows)} to validate on`,
    `expected     validation ${bits_per_byte.toFixed(3)} bits per byte, loss ${loss.toFixed(4)}${first ? `; step ${first.step} loss ${first.loss.toFixed(4)}` : ''}`,
    `check        python ${join(out, 'check.py')}   (torch, transformers, safetensors)`,
  ];
  const torchrun = 'torchrun --nproc-per-node 1 -m torchtitan.train --module torchtitan_meap --config meap';
  if (model.model_type === undefined) lines.push(`torchtitan   PYTHONPATH=${out} ${torchrun}`);
  return lines.join('\n');
}
