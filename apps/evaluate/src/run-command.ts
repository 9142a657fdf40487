/** `meap-evaluate run`: evaluates a model on tasks. */
import { devNull } from 'node:os';
import { join } from 'node:path';
import { modelName } from '@meap/inference';
import {
  type CommandIo,
  commandToResume,
  countFlag,
  fetchHubNames,
  numberFlag,
  quantizeOption,
  showDownloads,
} from '@meap/recipe-cli';
import { backendNames } from '@meap/tensor-kernels';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { loadConfig, type ModelChoice, RULES } from './config.ts';
import { planEvaluation, renderPlan } from './plan.ts';
import { reportOn } from './report/report-command.ts';
import { renderResults } from './results-table.ts';
import { type RunEvaluationOptions, runEvaluation } from './run.ts';
import { type CommandContext, runShown, type ShownRun } from './shown-run.ts';
import { defaultCacheDirectory } from './sqlite-answer-store.ts';

export interface RunFlags {
  model?: string;
  endpoint?: string;
  endpointApi?: string;
  endpointModel?: string;
  tokenizer?: string;
  tasks?: string[];
  config?: string;
  set: string[];
  data?: string;
  limit?: number;
  samples?: number[];
  bos?: boolean;
  numFewshot?: number;
  applyChatTemplate?: true | string;
  fewshotAsMultiturn?: boolean;
  systemInstruction?: string;
  seed?: number;
  backend?: string;
  precision?: string;
  quantize?: string;
  out?: string;
  logSamples?: true;
  cache: string;
  resume: 'auto' | 'never';
  dryRun?: true;
  json?: true;
}

export function withRecipeFlags(command: Command): Command {
  return command
    .option('--config <recipe>', 'recipe file, or name of a built-in recipe')
    .option('--set <key=value>', 'override a key of the recipe, such as bos=true; repeatable', collect, [])
    .option(
      '--data <dir>',
      'folder that is searched for data sets, or hub to fetch them from the Hugging Face Hub',
    )
    .option('--seed <n>', 'random seed', countFlag(0))
    .option('--backend <name>', backendNames.join(', '))
    .option(
      '--precision <format>',
      'precision of the inputs of matrix products: float32, bfloat16 or, on a GPU, float16',
    )
    .option('--json', 'print one JSON object');
}

export function withRunFlags(command: Command): Command {
  command
    .option(
      '--tasks <names>',
      'comma-separated tasks, which `meap-evaluate list` shows, or their YAML files',
      nameList,
    )
    .option(
      '--limit <n>',
      'evaluate only the first questions of each task; below 1, that fraction of them',
      numberFlag(0),
    )
    .option('--samples <rows>', 'evaluate only these rows of each task, such as 0,7,20-29', rowList)
    .addOption(quantizeOption())
    .option('--bos', 'add BOS to each prompt')
    .option('--no-bos', 'add no BOS; default: as published, only for generation')
    .option(
      '--num-fewshot <n>',
      'examples before each question; default: none, or as the task has',
      countFlag(0),
    )
    .option(
      '--apply-chat-template [name]',
      'make prompts conversations in the chat template of the model, or that of a name or file',
    )
    .option('--fewshot-as-multiturn', 'make each example an exchange of its own, as is the default')
    .option('--no-fewshot-as-multiturn', 'put the examples into the message of the question')
    .option('--system-instruction <text>', 'text before each prompt: the system message of a chat template')
    .option('--log-samples', 'write requests and answers of each row to --out');
  return withRecipeFlags(withCacheFlags(command));
}

export function withCacheFlags(command: Command): Command {
  return command
    .option('--cache <dir>', 'folder in which answers are cached', defaultCacheDirectory())
    .addOption(
      new Option('--resume <mode>', 'auto: use cached answers; never: recompute them')
        .choices(['auto', 'never'])
        .default('auto'),
    );
}

/** The overrides of a command, after what its recipe names on the Hub was fetched. */
export async function withHubNames(flags: RunFlags, io: CommandIo): Promise<string[]> {
  const given = overridesOf(flags);
  const downloads = showDownloads(io);
  const fetched = await fetchHubNames(flags.config ?? devNull, given, RULES, downloads).finally(
    downloads.close,
  );
  return [...given, ...fetched];
}

export function addRunCommand({ program, argv, io, done }: CommandContext): void {
  const command = program
    .command('run')
    .description('Evaluate a model on tasks.')
    .option(
      '--model <dir>',
      'Hugging Face folder, PEFT adapter, run directory, or name of the Hub: OWNER/NAME',
    )
    .option(
      '--endpoint <url>',
      'instead of --model: a server with OpenAI’s completions API, such as meap-serve',
    )
    .option(
      '--endpoint-api <name>',
      'completions, or chat for a server that only has chat completions (default: completions)',
    )
    .option('--endpoint-model <name>', 'name of the model at the endpoint')
    .option(
      '--tokenizer <dir>',
      'folder, or name of the Hub, with the tokenizer of the model at the endpoint',
    )
    .option('--out <dir>', 'folder for result files (default: runs/evaluate-MODEL)')
    .option('--dry-run', 'print the number of requests without running them');
  withRunFlags(command).action(async () => {
    const flags = command.opts<RunFlags>();
    const config = loadConfig(flags.config, await withHubNames(flags, io));
    if (flags.dryRun) {
      const plan = await runShown(
        { io, json: true, stopped: 'stopped', done },
        ({ onEvent, onDownload }, signal) => planEvaluation(config, { signal, onEvent, onDownload }),
      );
      if (plan === undefined) return;
      io.stdout.write(`${flags.json ? JSON.stringify(plan) : renderPlan(plan)}\n`);
      return;
    }
    const out = flags.out ?? join('runs', `evaluate-${modelName(nameOf(config.model))}`);
    const results = await runShown(
      shownRun(flags, io, commandToResume(program.name(), argv, out), done),
      ({ onEvent, onDownload }, signal) =>
        runEvaluation(config, { ...storageOptions(flags), out, signal, onEvent, onDownload }),
    );
    if (results === undefined) return;
    const report = await reportOn([out], join(out, 'report.html'));
    io.stdout.write(
      flags.json
        ? `${JSON.stringify(results.harness)}\n`
        : `\n${renderResults(results.tasks)}\n\nresults      ${join(out, 'results.json')}\nreport       ${report}\n`,
    );
  });
}

/** Returns the options of {@link runShown} for a command that caches answers; `again` is the command to continue it. */
export function shownRun(
  { resume, json }: Pick<RunFlags, 'resume' | 'json'>,
  io: CommandIo,
  again: string,
  done: (code: number) => void,
): ShownRun {
  const stopped = resume === 'auto' ? 'stopped; answers are cached' : 'stopped';
  return { io, json: json === true, stopped: `${stopped}; continue with: ${again}`, done };
}

const nameOf = (model: ModelChoice) => ('path' in model ? model.path : model.endpoint_model);

/** Returns where answers and samples are stored. */
export function storageOptions({
  resume,
  cache,
  logSamples,
}: RunFlags): Pick<RunEvaluationOptions, 'cache' | 'logSamples'> {
  return { cache: resume === 'auto' ? cache : undefined, logSamples };
}

/** Returns the overrides of all flags; `--set` comes last. */
function overridesOf(flags: RunFlags): string[] {
  const { model, endpoint, endpointApi, endpointModel, tokenizer } = flags;
  const { tasks, data, limit, samples, bos, seed } = flags;
  const { backend, precision, quantize } = flags;
  const { numFewshot, applyChatTemplate, fewshotAsMultiturn, systemInstruction } = flags;
  const given = {
    'model.path': model,
    'model.quantize': quantize,
    'model.endpoint': endpoint,
    'model.endpoint_api': endpointApi,
    'model.endpoint_model': endpointModel,
    'model.tokenizer': tokenizer,
    'data.folder': data,
    tasks,
    limit,
    samples,
    bos,
    num_fewshot: numFewshot,
    apply_chat_template: applyChatTemplate,
    fewshot_as_multiturn: fewshotAsMultiturn,
    system_instruction: systemInstruction,
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

/** Parses row numbers and ranges. */
function rowList(text: string): number[] {
  return text.split(',').flatMap((part) => {
    const [, first, last = first] = /^\s*(\d+)(?:-(\d+))?\s*$/.exec(part) ?? [];
    const count = Number(last) - Number(first) + 1;
    if (!(count >= 1)) throw new InvalidArgumentError('expected row numbers from 0, such as 0,7,20-29');
    return Array.from({ length: count }, (_, i) => Number(first) + i);
  });
}
