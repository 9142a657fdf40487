/** `meap-evaluate run`: a model on tasks. */
import { basename, join, resolve } from 'node:path';
import { type CommandIo, commandToResume, numberFlag } from '@meap/recipe-cli';
import { backendNames } from '@meap/tensor-kernels';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { loadConfig } from './config.ts';
import { planEvaluation, renderPlan } from './plan.ts';
import { reportOn } from './report/report-command.ts';
import { renderResults } from './results-table.ts';
import { type RunEvaluationOptions, runEvaluation } from './run.ts';
import { runShown, type ShownRun } from './shown-run.ts';
import { defaultCacheDirectory } from './sqlite-answer-store.ts';

/** Flags that say what to evaluate, and how. */
export interface RunFlags {
  model?: string;
  tasks?: string[];
  config?: string;
  set: string[];
  data?: string;
  limit?: number;
  samples?: number[];
  bos?: boolean;
  seed?: number;
  backend?: string;
  precision?: string;
  out?: string;
  logSamples?: true;
  cache: string;
  resume: 'auto' | 'never';
  dryRun?: true;
  json?: true;
}

/** Adds the flags that say what a recipe would. */
export function withRecipeFlags(command: Command): Command {
  return command
    .option('--config <recipe>', 'a file, or the name of a recipe that comes with this program')
    .option('--set <key=value>', 'change a key of the recipe, such as bos=true; repeatable', collect, [])
    .option('--data <dir>', 'folder in which data are looked for')
    .option('--seed <n>', 'key of what is drawn', numberFlag)
    .option('--backend <name>', backendNames.join(', '))
    .option('--precision <format>', 'float32, bfloat16 or, on a GPU, float16: inputs of matrix products')
    .option('--json', 'print one JSON object');
}

/** Adds the flags of every command that runs tasks. */
export function withRunFlags(command: Command): Command {
  command
    .option('--tasks <names>', 'tasks, with commas between them; `meap-evaluate list` shows them', nameList)
    .option('--limit <n>', 'ask only the first rows of each task', numberFlag)
    .option('--samples <rows>', 'ask only these rows of each task, such as 0,7,20-29', rowList)
    .option('--bos', 'put BOS before each prompt')
    .option('--no-bos', 'put it before none; default: as published, before prompts that ask for text')
    .option('--log-samples', 'write what was asked and answered, row by row, into --out')
    .option('--cache <dir>', 'where answers are kept from run to run', defaultCacheDirectory())
    .addOption(
      new Option('--resume <mode>', 'auto takes answers that are kept, never asks everything anew')
        .choices(['auto', 'never'])
        .default('auto'),
    );
  return withRecipeFlags(command);
}

/** Adds `run` to a program; `done` hears its exit code. */
export function addRunCommand(
  program: Command,
  argv: readonly string[],
  io: CommandIo,
  done: (code: number) => void,
): void {
  const command = program
    .command('run')
    .description('Evaluate a model on tasks.')
    .option('--model <dir>', 'Hugging Face folder, PEFT adapter, or run directory')
    .option('--out <dir>', 'folder for result files (default: runs/evaluate-NAME OF THE MODEL)')
    .option('--dry-run', 'say what would be asked, without asking');
  withRunFlags(command).action(async () => {
    const flags = command.opts<RunFlags>();
    const config = loadConfig(flags.config, overridesOf(flags));
    if (flags.dryRun) {
      const plan = await runShown({ io, json: true, stopped: 'stopped', done }, ({ onEvent }, signal) =>
        planEvaluation(config, { signal, onEvent }),
      );
      if (plan === undefined) return;
      io.stdout.write(`${flags.json ? JSON.stringify(plan) : renderPlan(plan)}\n`);
      return;
    }
    const out = flags.out ?? join('runs', `evaluate-${basename(resolve(config.model.path))}`);
    const results = await runShown(
      shownRun(flags, io, commandToResume(program.name(), argv, out), done),
      ({ onEvent }, signal) => runEvaluation(config, { ...keeping(flags), out, signal, onEvent }),
    );
    if (results === undefined) return;
    const report = reportOn([out], join(out, 'report.html'));
    io.stdout.write(
      flags.json
        ? `${JSON.stringify(results.harness)}\n`
        : `\n${renderResults(results.tasks)}\n\nresults      ${join(out, 'results.json')}\nreport       ${report}\n`,
    );
  });
}

/** How a command that keeps answers is shown; `again` continues it. */
export function shownRun(
  { resume, json }: Pick<RunFlags, 'resume' | 'json'>,
  io: CommandIo,
  again: string,
  done: (code: number) => void,
): ShownRun {
  const kept = resume === 'auto' ? 'stopped; what was answered is kept' : 'stopped';
  return { io, json: json === true, stopped: `${kept}; continue with: ${again}`, done };
}

/** Where answers and samples are kept. */
export function keeping({
  resume,
  cache,
  logSamples,
}: RunFlags): Pick<RunEvaluationOptions, 'cache' | 'logSamples'> {
  return { cache: resume === 'auto' ? cache : undefined, logSamples };
}

/** All overrides that flags ask for; `--set` wins. */
export function overridesOf(flags: RunFlags): string[] {
  const { model, tasks, data, limit, samples, bos, seed, backend, precision } = flags;
  const given = {
    'model.path': model,
    'data.folder': data,
    tasks,
    limit,
    samples,
    bos,
    seed,
    backend,
    precision,
  };
  return [
    ...Object.entries(given).flatMap(([key, value]) =>
      value === undefined ? [] : [`${key}=${JSON.stringify(value)}`],
    ),
    ...flags.set,
  ];
}

function collect(value: string, previous: string[]): string[] {
  return [...previous, value];
}

function nameList(text: string): string[] {
  return text.split(',').map((name) => name.trim());
}

/** Row numbers and ranges of them. */
function rowList(text: string): number[] {
  return text.split(',').flatMap((part) => {
    const [, first, last = first] = /^\s*(\d+)(?:-(\d+))?\s*$/.exec(part) ?? [];
    const count = Number(last) - Number(first) + 1;
    if (!(count >= 1)) throw new InvalidArgumentError('expected row numbers from 0, such as 0,7,20-29');
    return Array.from({ length: count }, (_, i) => Number(first) + i);
  });
}
