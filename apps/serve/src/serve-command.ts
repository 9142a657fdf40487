/** The command line of `meap-serve`: a model behind OpenAI's API. */
import { basename, resolve } from 'node:path';
import { findAdapter, loadWithAdapters } from '@meap/inference';
import { contextLengthOf } from '@meap/llama-model';
import {
  type CommandIo,
  ConfigurationError,
  countFlag,
  EXIT,
  plainText,
  quantizeOption,
  runCommand,
  showDownloads,
} from '@meap/recipe-cli';
import {
  type BackendName,
  backendNames,
  type Precision,
  precisionNames,
  type QuantizedFormat,
} from '@meap/tensor-kernels';
import { loadTokenizer } from '@meap/token-dataset';
import { stopOnSignals } from '@meap/trainer';
import { InvalidArgumentError, Option } from 'commander';
import { isUserError } from './errors.ts';
import { modelCommand, openFolders } from './model-command.ts';
import { RequestProcesses } from './server/request-process.ts';
import { startServer } from './server/server.ts';

interface Flags {
  model: string;
  host: string;
  port: number;
  apiKeyEnv?: string;
  name?: string;
  adapter?: ReadonlyMap<string, string>;
  chatTemplate?: string;
  specialTokens: boolean;
  maxBatch: number;
  maxQueue: number;
  maxContext?: number;
  maxBody: number;
  requestTimeout: number;
  backend: BackendName;
  precision: Precision;
  quantize?: QuantizedFormat;
}

// Milliseconds. Orchestrators kill a process 30 seconds after the signal.
const STALL_TIMEOUT = 30_000;
const SHUTDOWN_TIMEOUT = 20_000;

/** Runs `meap-serve`. */
export async function serveCommand(argv: readonly string[], io: CommandIo = process): Promise<number> {
  const command = modelCommand(
    'meap-serve',
    'Serve a model over HTTP with OpenAI’s API, for its clients and lm-evaluation-harness.',
  )
    .option(
      '--host <address>',
      'address to listen on; requires an API key unless it is a loopback address',
      '127.0.0.1',
    )
    .option('--port <n>', 'port to listen on; 0 for any free port', countFlag(0, 65535), 8000)
    .option('--api-key-env <name>', 'environment variable with the API key that clients must send')
    .option('--name <id>', 'name of the model in the API; default: name of its folder')
    .option(
      '--adapter <name=dir>',
      'PEFT adapter of the model, chosen by this name in requests; repeat for several, which share the model’s weights',
      addAdapter,
    )
    .option('--chat-template <name>', 'built-in template or file; default: the model’s template')
    .option('--no-special-tokens', 'add no BOS to texts of /v1/completions unless requested')
    .option('--max-batch <n>', 'maximum number of sequences in a batch', countFlag(1), 16)
    .option(
      '--max-queue <n>',
      'maximum number of waiting sequences; further requests get status 429',
      countFlag(0),
      512,
    )
    .option(
      '--max-context <n>',
      'maximum tokens of prompt and answer; default: the model’s context',
      countFlag(1),
    )
    .option('--max-body <mib>', 'maximum size of a request body in MiB', countFlag(1, 1024), 8)
    .option(
      '--request-timeout <s>',
      'maximum seconds for an answer, including waiting',
      countFlag(1, 86_400),
      600,
    )
    .addOption(new Option('--backend <name>', 'compute backend').choices(backendNames).default('auto'))
    .addOption(
      new Option('--precision <format>', 'precision of the inputs of matrix products')
        .choices(precisionNames)
        .default('float32'),
    )
    .addOption(quantizeOption());
  const action = async () => serve(command.opts<Flags>(), io);
  return runCommand(command, argv, { io, isUserError, action });
}

async function serve(flags: Flags, io: CommandIo): Promise<number> {
  const apiKey = flags.apiKeyEnv === undefined ? undefined : keyOf(flags.apiKeyEnv);
  const folders = await openFolders(flags.model, io);
  const { chatTemplate, host, port, maxBatch, maxQueue } = flags;
  const name = flags.name ?? basename(resolve(flags.model));
  const found = new Map<string, Awaited<ReturnType<typeof findAdapter>>>();
  for (const [id, directory] of flags.adapter ?? []) {
    if (id === name)
      throw new ConfigurationError([
        `--adapter ${id}: is the model's name, expected another; --name changes it`,
      ]);
    const downloads = showDownloads(io);
    found.set(id, await findAdapter(directory, folders, downloads).finally(downloads.close));
  }
  // Adapters often have the same folder.
  const used = new Set([folders, ...found.values()].map(({ tokenizer }) => tokenizer));
  const tokenizers = new Map([...used].map((folder) => [folder, loadTokenizer(folder)]));
  const tokenizer = tokenizers.get(folders.tokenizer)!;
  const requests = await RequestProcesses.open({
    directory: folders.tokenizer,
    adapters: Object.fromEntries([...found].map(([id, { tokenizer }]) => [id, tokenizer])),
    chatTemplate,
  });
  try {
    const directories = new Map([...found].map(([id, { adapter }]) => [id, adapter]));
    const { base, adapters, backend } = await loadWithAdapters(folders, directories, flags);
    const { model, vocabularySize } = base;
    const stop = stopOnSignals();
    try {
      const contextLength = contextLengthOf(model.config);
      const maxContext = Math.min(contextLength, flags.maxContext ?? contextLength);
      const server = await startServer({
        ...{ model, vocabularySize, tokenizer, requests, name, apiKey, host, port },
        adapters: new Map(
          [...adapters].map(([id, adapted]) => {
            return [id, { ...adapted, tokenizer: tokenizers.get(found.get(id)!.tokenizer)! }];
          }),
        ),
        addSpecialTokens: flags.specialTokens,
        limits: {
          ...{ maxBatch, maxQueue, maxContext },
          maxBody: flags.maxBody * 2 ** 20,
          requestTimeout: flags.requestTimeout * 1000,
          stallTimeout: STALL_TIMEOUT,
          shutdownTimeout: SHUTDOWN_TIMEOUT,
        },
      });
      io.stdout.write(
        `backend      ${backend.name} (${backend.device}): ${backend.reason}\n` +
          `model        ${name}, context ${maxContext}\n` +
          [...adapters.keys()].map((id) => `adapter      ${plainText(id)}\n`).join('') +
          `chat         ${plainText(requests.chatDescription)}\n` +
          `listening    ${server.url}   (stop with Ctrl-C)\n`,
      );
      await new Promise((resolve) => stop.signal.addEventListener('abort', resolve));
      io.stdout.write(
        `${stop.signal.reason}: finishing requests for up to ${SHUTDOWN_TIMEOUT / 1000} s; repeat to exit immediately\n`,
      );
      await server.close();
      return EXIT.done;
    } finally {
      stop.dispose();
      for (const { model } of adapters.values()) model.dispose();
      model.dispose();
    }
  } finally {
    requests.close();
  }
}

/** Adds NAME=PATH to the adapters so far. */
function addAdapter(given: string, adapters: ReadonlyMap<string, string> = new Map()): Map<string, string> {
  const [, name, directory] = /^([^=]+)=(.+)$/.exec(given) ?? [];
  if (name === undefined)
    throw new InvalidArgumentError('expected NAME=DIR, such as german=runs/german/adapter');
  if (adapters.has(name)) throw new InvalidArgumentError(`${name} is given twice, expected another name`);
  return new Map([...adapters, [name, directory]]);
}

/** Reads the API key from the environment; command lines are visible to other users. */
function keyOf(variable: string): string {
  const key = process.env[variable];
  if (key) return key;
  throw new ConfigurationError([`--api-key-env ${variable}: the variable is not set, expected an API key`]);
}
