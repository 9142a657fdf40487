/** The process that reads requests: see `request-process.ts`. One request at a time, as messages. */

import { openChatPrompts } from '@meap/inference';
import { loadTokenizer } from '@meap/token-dataset';
import { ApiError } from './api-error.ts';
import {
  type ChatRequest,
  type CompletionRequest,
  type ReadSettings,
  RequestReader,
} from './read-request.ts';

/** What the process is started with, as JSON in its arguments. */
export interface WorkerOptions {
  /** Folder of the tokenizer. */
  readonly directory: string;
  /** What `--chat-template` says. */
  readonly chatTemplate?: string;
}

/** The first message: what chats are like, or why the process cannot work. */
export type WorkerReady =
  | { readonly chat: { readonly stopIds?: readonly number[]; readonly description: string } }
  | { readonly failure: { readonly name: string; readonly message: string } };

/** A request to read. */
export interface ReadTask {
  readonly endpoint: 'completion' | 'chat';
  readonly body: Uint8Array;
  readonly settings: ReadSettings;
}

/** What it says, or what its client is told. */
export type ReadResult =
  | { readonly read: CompletionRequest | ChatRequest }
  | {
      readonly refusal: Pick<ApiError, 'status' | 'message' | 'param' | 'code'>;
    }
  | { readonly bug: string };

// Signals to a whole group are for the server, which lets this process finish what it is asked, and then lets it go.
const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];
if (process.platform !== 'win32') signals.push('SIGUSR2');
for (const signal of signals) process.on(signal, () => {});
process.once('disconnect', () => process.exit());

const send = (message: WorkerReady | ReadResult) => process.send!(message);

function open(): RequestReader | undefined {
  const { directory, chatTemplate } = JSON.parse(process.argv[2]) as WorkerOptions;
  try {
    const tokenizer = loadTokenizer(directory);
    const { prompts, description } = openChatPrompts(directory, tokenizer, chatTemplate);
    const reader = new RequestReader(tokenizer, prompts);
    send({ chat: { stopIds: prompts?.stopIds, description } });
    return reader;
  } catch (error) {
    const { name, message } = error as Error;
    send({ failure: { name, message } });
    return undefined;
  }
}

const reader = open();
process.on('message', async ({ endpoint, body, settings }: ReadTask) => {
  try {
    send({ read: await reader![endpoint](body, settings) });
  } catch (error) {
    if (error instanceof ApiError) {
      const { status, message, param, code } = error;
      send({ refusal: { status, message, param, code } });
    } else send({ bug: (error as Error).stack ?? String(error) });
  }
});
