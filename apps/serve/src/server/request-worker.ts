/** The process that parses requests, one at a time; see `request-process.ts`. */
import { openChatPrompts } from '@meap/inference';
import { loadTokenizer } from '@meap/token-dataset';
import { ApiError } from './api-error.ts';
import {
  type ChatRequest,
  type CompletionRequest,
  type ReadSettings,
  RequestReader,
} from './read-request.ts';

/** Options of the process, passed as JSON in its arguments. */
export interface WorkerOptions {
  readonly directory: string;
  readonly chatTemplate?: string;
}

/** The first message: the chat template, or an error. */
export type WorkerReady =
  | { readonly chat: { readonly stopIds?: readonly number[]; readonly description: string } }
  | { readonly failure: { readonly name: string; readonly message: string } };

/** A request to parse. */
export interface ReadTask {
  readonly endpoint: 'completion' | 'chat';
  readonly body: Uint8Array;
  readonly settings: ReadSettings;
}

/** A parsed request, an error for the client, or an internal error. */
export type ReadResult =
  | { readonly read: CompletionRequest | ChatRequest }
  | { readonly refusal: Pick<ApiError, 'status' | 'message' | 'param' | 'code'> }
  | { readonly bug: string };

// Signals to the process group are handled by the server, which ends this process by disconnecting.
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
