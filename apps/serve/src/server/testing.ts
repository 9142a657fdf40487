/** Test helpers of the server; not part of the build. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLlama, type Llama, loadLlama, parseConfig } from '@meap/llama-model';
import { setBackend } from '@meap/tensor-kernels';
import { type Conversation, loadTokenizer, type Tokenizer, trainBpeTokenizer } from '@meap/token-dataset';
import { onTestFinished } from 'vitest';
import { RequestProcesses } from './request-process.ts';
import { type RunningServer, type ServerLimits, type ServerOptions, startServer } from './server.ts';

await setBackend('native').catch(() => setBackend('cpu'));

const documents = Array.from(
  { length: 30 },
  (_, i) => `The captain sees ${i} whales, é ü 😀, and a sailor follows.`,
);

/** A byte-level BPE tokenizer with 320 tokens: `<s>` 0, `</s>` 1. */
export const tinyTokenizer: Tokenizer = await trainBpeTokenizer({ documents, vocabSize: 320 });

/** A random model of two layers, with large weights so that its outputs vary. */
export const tinyModel: Llama = createLlama(
  parseConfig({
    vocab_size: tinyTokenizer.vocabSize,
    hidden_size: 16,
    intermediate_size: 32,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    max_position_embeddings: 128,
    initializer_range: 0.5,
    bos_token_id: tinyTokenizer.bosTokenId ?? null,
    eos_token_id: tinyTokenizer.eosTokenId ?? null,
  }),
  { seed: 1 },
);

/** Renders `role: content` lines after the names of tools, and tool calls as Qwen2.5 does; roles must alternate. */
const TEMPLATE =
  "{{ bos_token }}{% for tool in tools or [] %}{{ tool.function.name + ' ' }}{% endfor %}{% for message in messages %}" +
  "{% if not loop.first and loop.previtem['role'] == message['role'] %}" +
  "{{ raise_exception('roles must alternate') }}{% endif %}" +
  "{{ message['role'] + ': ' + message['content'] }}{% for call in message.tool_calls or [] %}" +
  `{{ '\n<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' + call.function.arguments | tojson }}` +
  "{{ '}\n</tool_call>' }}{% endfor %}{{ '\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}";

/** Renders and encodes messages like the template. */
export function encodeChat(messages: Conversation): Promise<Int32Array> {
  const lines = messages.map(({ role, content }) => `${role}: ${content}\n`);
  return tinyTokenizer.encode(`${lines.join('')}assistant:`);
}

const closings: (() => Promise<void>)[] = [];

/**
 * Opens request processes at their first use in a test file, for a folder with the tiny tokenizer and a chat template.
 * Files that use them, or {@link serve}, end with {@link closeRequests}.
 */
function requestsWith(template?: string): () => Promise<RequestProcesses> {
  let opened: Promise<RequestProcesses> | undefined;
  return () => {
    if (opened) return opened;
    const folder = mkdtempSync(join(tmpdir(), 'serve-test-'));
    tinyTokenizer.save(folder);
    if (template !== undefined) writeFileSync(join(folder, 'chat_template.jinja'), template);
    const opening = RequestProcesses.open({ directory: folder });
    opened = opening;
    closings.push(async () => {
      opened = undefined;
      (await opening).close();
      rmSync(folder, { recursive: true, force: true });
    });
    return opening;
  };
}

export const tinyRequests = requestsWith(TEMPLATE);
export const plainRequests = requestsWith();

/** Closes the request processes that the tests of a file opened. */
export async function closeRequests(): Promise<void> {
  await Promise.all(closings.splice(0).map((close) => close()));
}

const stories = `${process.env.MEAP_DATA}/models/stories260K`;
export const hasStories = existsSync(stories);

/** Loads a trained model. */
export async function loadStories(): Promise<Pick<ServerOptions, 'model' | 'tokenizer' | 'requests'>> {
  const requests = await RequestProcesses.open({ directory: stories });
  onTestFinished(() => requests.close());
  const model = await loadLlama(stories);
  onTestFinished(() => model.dispose());
  return { model, tokenizer: loadTokenizer(stories), requests };
}

const limits: ServerLimits = {
  maxBatch: 8,
  maxQueue: 256,
  maxContext: 512,
  maxBody: 4 * 1024 * 1024,
  requestTimeout: 60_000,
  stallTimeout: 30_000,
  shutdownTimeout: 10_000,
};

type Changes = Partial<Omit<ServerOptions, 'limits'>> & { limits?: Partial<ServerLimits> };

/** Serves the tiny model, or another one, until the end of the test. */
export async function serve(changes: Changes = {}): Promise<Client> {
  const server = await start(changes);
  onTestFinished(() => server.close());
  return new Client(server);
}

/** Serves the tiny model, or another one. */
export async function start(changes: Changes = {}): Promise<RunningServer> {
  return startServer({
    model: tinyModel,
    tokenizer: tinyTokenizer,
    requests: changes.requests ?? (await tinyRequests()),
    name: 'tiny',
    host: '127.0.0.1',
    port: 0,
    addSpecialTokens: true,
    ...changes,
    limits: { ...limits, ...changes.limits },
  });
}

// biome-ignore lint/suspicious/noExplicitAny: answers of any shape.
type Json = any;

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  json: Json;
}

export class Client {
  readonly server: RunningServer;
  readonly url: string;

  constructor(server: RunningServer) {
    this.server = server;
    this.url = server.url;
  }

  async get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
    return answerOf(await fetch(new URL(path, this.url), { headers }));
  }

  /** Posts a body, serialized to JSON unless it is a string. */
  async post(path: string, body: unknown, init: RequestInit = {}): Promise<Answer> {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const headers = { 'content-type': 'application/json', ...init.headers };
    return answerOf(await fetch(new URL(path, this.url), { method: 'POST', body: text, ...init, headers }));
  }

  complete(body: object): Promise<Answer> {
    return this.post('/v1/completions', body);
  }

  /** Returns the parsed events of a streamed answer and `[DONE]`. */
  async stream(path: string, body: object): Promise<Json[]> {
    const { text } = await this.post(path, { ...body, stream: true });
    return text
      .split('\n\n')
      .filter((event) => event !== '')
      .map((event) => {
        const data = event.replace(/^data: /, '');
        return data === '[DONE]' ? data : JSON.parse(data);
      });
  }

  /** Sends a request without reading its response. */
  open(path: string, body: object, headers: Record<string, string> = {}): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const options = {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        agent: false,
      };
      const sent = request(new URL(path, this.url), options, resolve);
      sent.on('error', reject);
      sent.end(JSON.stringify(body));
    });
  }

  /** Returns a value of `/metrics`. */
  async metric(name: string): Promise<number> {
    const { text } = await this.get('/metrics');
    return Number(
      text
        .split('\n')
        .find((line) => line.startsWith(`${name} `))
        ?.split(' ')
        .at(-1),
    );
  }
}

async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.startsWith('application/json');
  return {
    status: response.status,
    headers: response.headers,
    text,
    json: isJson ? JSON.parse(text) : undefined,
  };
}

/** Waits until a condition holds. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}
