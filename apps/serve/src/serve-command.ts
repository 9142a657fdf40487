/** The command line of `meap-serve`: a model behind OpenAI's API. */
import { basename, resolve } from 'node:path';
import { findModel, loadModel, type ModelDirectory } from '@meap/inference';
import { contextLengthOf } from '@meap/llama-model';
import {
  type CommandIo,
  ConfigurationError,
  EXIT,
  packageVersion,
  plainText,
  runCommand,
} from '@meap/recipe-cli';
import { type BackendName, backendNames, type Precision, precisionNames } from '@meap/tensor-kernels';
import { loadTokenizer, type Tokenizer } from '@meap/token-dataset';
import { stopOnSignals } from '@meap/trainer';
import { Command, InvalidArgumentError, Option } from 'commander';
import { isUserError } from './errors.ts';
import { MODEL_HELP } from './model-flag.ts';
import { RequestProcesses } from './server/request-process.ts';
import { startServer } from './server/server.ts';

interface Flags {
  model: string;
  host: string;
  port: number;
  apiKeyEnv?: string;
  name?: string;
  chatTemplate?: string;
  specialTokens: boolean;
  maxBatch: number;
  maxQueue: number;
  maxContext?: number;
  maxBody: number;
  requestTimeout: number;
  backend: BackendName;
  precision: Precision;
}

// Milliseconds: a reader that takes nothing for so long is gone; orchestrators kill half a minute after they asked.
const READER_PATIENCE = 30_000;
const SHUTDOWN_GRACE = 20_000;

/** Runs `meap-serve`; everything it has to say to its user goes through `io`. */
export async function serveCommand(argv: readonly string[], io: CommandIo = process): Promise<number> {
  const command = new Command('meap-serve')
    .description('Serve a model over HTTP as OpenAI’s API does, for its clients and lm-evaluation-harness.')
    .requiredOption('--model <dir>', MODEL_HELP)
    .option('--host <address>', 'address to listen on; any but a loopback one needs an API key', '127.0.0.1')
    .option('--port <n>', 'port to listen on; 0 takes any that is free', countFlag(0, 65535), 8000)
    .option('--api-key-env <name>', 'environment variable with the key that clients must send')
    .option('--name <id>', 'what clients call the model; default: name of its folder')
    .option('--chat-template <name>', 'a built-in template or a file, in place of the model’s own')
    .option('--no-special-tokens', 'texts of /v1/completions get no BOS unless a request asks for it')
    .option('--max-batch <n>', 'sequences computed at once', countFlag(1), 16)
    .option('--max-queue <n>', 'sequences that may wait; more get status 429', countFlag(0), 512)
    .option('--max-context <n>', 'tokens of prompt and answer; default: the model’s context', countFlag(1))
    .option('--max-body <mib>', 'size of a request', countFlag(1, 1024), 8)
    .option(
      '--request-timeout <s>',
      'seconds for a whole answer, waiting included',
      countFlag(1, 86_400),
      600,
    )
    .addOption(new Option('--backend <name>', 'what computes').choices(backendNames).default('auto'))
    .addOption(
      new Option('--precision <format>', 'inputs of matrix products')
        .choices(precisionNames)
        .default('float32'),
    )
    .version(packageVersion(import.meta.url));
  const action = async () => serve(command.opts<Flags>(), io);
  return runCommand(command, argv, { io, isUserError, action });
}

async function serve(flags: Flags, io: CommandIo): Promise<number> {
  const apiKey = flags.apiKeyEnv === undefined ? undefined : keyOf(flags.apiKeyEnv);
  const folders = await findModel(flags.model);
  const tokenizer = loadTokenizer(folders.tokenizer);
  const requests = await RequestProcesses.open({
    directory: folders.tokenizer,
    chatTemplate: flags.chatTemplate,
  });
  try {
    return await serveRequests(requests, { flags, io, apiKey, folders, tokenizer });
  } finally {
    requests.close();
  }
}

interface Parts {
  flags: Flags;
  io: CommandIo;
  apiKey: string | undefined;
  folders: ModelDirectory;
  tokenizer: Tokenizer;
}

async function serveRequests(
  requests: RequestProcesses,
  { flags, io, apiKey, folders, tokenizer }: Parts,
): Promise<number> {
  const { model, backend } = await loadModel(folders, flags);
  const stop = stopOnSignals();
  try {
    const contextLength = contextLengthOf(model.config);
    const name = flags.name ?? basename(resolve(flags.model));
    const maxContext = Math.min(contextLength, flags.maxContext ?? contextLength);
    const server = await startServer({
      ...{ model, tokenizer, requests, name, apiKey, host: flags.host, port: flags.port },
      addSpecialTokens: flags.specialTokens,
      limits: {
        ...{ maxBatch: flags.maxBatch, maxQueue: flags.maxQueue, maxContext },
        maxBody: flags.maxBody * 2 ** 20,
        requestTimeout: flags.requestTimeout * 1000,
        readerPatience: READER_PATIENCE,
        shutdownGrace: SHUTDOWN_GRACE,
      },
    });
    io.stdout.write(
      `backend      ${backend.name} (${backend.device}): ${backend.reason}\n` +
        `model        ${name}, context ${maxContext}\n` +
        `chat         ${plainText(requests.chatDescription)}\n` +
        `listens      ${server.url}   (Ctrl-C ends it)\n`,
    );
    await new Promise((resolve) => stop.signal.addEventListener('abort', resolve));
    io.stdout.write(
      `${stop.signal.reason}: finishing requests for up to ${SHUTDOWN_GRACE / 1000} s; again to end at once\n`,
    );
    await server.close();
    return EXIT.done;
  } finally {
    stop.dispose();
    model.dispose();
  }
}

/** Keys come from the environment only: command lines are seen by everyone on the machine. */
function keyOf(variable: string): string {
  const key = process.env[variable];
  if (key) return key;
  throw new ConfigurationError([`--api-key-env ${variable}: not set, expected an API key in that variable`]);
}

function countFlag(least: number, most = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && Number.isInteger(value) && value >= least && value <= most) return value;
    const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
    throw new InvalidArgumentError(`expected a whole number ${range}`);
  };
}
