/** The process that parses requests, one at a time; see `request-process.ts`. */
import { openChatPrompts } from '@meap/inference';
import { loadTokenizer } from '@meap/token-dataset';
import { ApiError } from './api-error.ts';
import {
  type ChatRequest,
  type CompletionRequest,
  type Endpoint,
  type ReadSettings,
  RequestReader,
  type ResponseRequest,
  readRequest,
} from './read-request.ts';

/** Options of the process, passed as JSON in its arguments. */
export interface WorkerOptions {
  /** Folder of tokenizer and chat template. */
  readonly directory: string;
  /** Those of adapters, by their names in the API. */
  readonly adapters?: Readonly<Record<string, string>>;
  readonly chatTemplate?: string;
}

/** A chat template. */
export interface ChatFacts {
  /** Ids that end an answer; undefined if there is no template. */
  readonly stopIds?: readonly number[];
  /** The template, or why there is none. */
  readonly description: string;
}

/** The first message: the chat templates, or an error. */
export type WorkerReady =
  | { readonly chat: ChatFacts; readonly adapterChats: Readonly<Record<string, ChatFacts>> }
  | { readonly failure: { readonly name: string; readonly message: string } };

/** A request to parse. */
export interface ReadTask {
  readonly endpoint: Endpoint;
  readonly body: Uint8Array;
  readonly settings: ReadSettings;
}

/** A parsed request, an error for the client, or an internal error. */
export type ReadResult =
  | { readonly read: CompletionRequest | ChatRequest | ResponseRequest }
  | { readonly refusal: Pick<ApiError, 'status' | 'message' | 'param' | 'code'> }
  | { readonly bug: string };

// Signals to the process group are handled by the server, which ends this process by disconnecting.
const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];
if (process.platform !== 'win32') signals.push('SIGUSR2');
for (const signal of signals) process.on(signal, () => {});
process.once('disconnect', () => process.exit());

const send = (message: WorkerReady | ReadResult) => process.send!(message);

function open(): ReadonlyMap<string | undefined, RequestReader> | undefined {
  const { directory, adapters = {}, chatTemplate } = JSON.parse(process.argv[2]) as WorkerOptions;
  try {
    const openFolder = (directory: string) => {
      const tokenizer = loadTokenizer(directory);
      const { prompts, description } = openChatPrompts(directory, tokenizer, chatTemplate);
      const chat: ChatFacts = { stopIds: prompts?.stopIds, description };
      return { reader: new RequestReader(tokenizer, prompts), chat };
    };
    // Adapters often have the same folder.
    const folders = new Set([directory, ...Object.values(adapters)]);
    const opened = new Map([...folders].map((folder) => [folder, openFolder(folder)]));
    const named = Object.entries(adapters).map(([name, folder]) => [name, opened.get(folder)!] as const);
    send({
      chat: opened.get(directory)!.chat,
      adapterChats: Object.fromEntries(named.map(([name, { chat }]) => [name, chat])),
    });
    return new Map([
      [undefined, opened.get(directory)!.reader],
      ...named.map(([name, { reader }]) => [name, reader] as const),
    ]);
  } catch (error) {
    const { name, message } = error as Error;
    send({ failure: { name, message } });
    return undefined;
  }
}

const readers = open();
process.on('message', async ({ endpoint, body, settings }: ReadTask) => {
  try {
    send({ read: await readRequest(readers!, endpoint, body, settings) });
  } catch (error) {
    if (error instanceof ApiError) {
      const { status, message, param, code } = error;
      send({ refusal: { status, message, param, code } });
    } else send({ bug: (error as Error).stack ?? String(error) });
  }
});
