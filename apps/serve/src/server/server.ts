/** The HTTP server: OpenAI's endpoints with limits on everything a client can request. */
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { ConstrainedTexts, TokenTexts } from '@meap/inference';
import { contextLengthOf, type Llama, stopIdsOf } from '@meap/llama-model';
import { ConfigurationError, RunError } from '@meap/recipe-cli';
import type { Tokenizer } from '@meap/token-dataset';
import { type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import { isLoopback, keyCheck, requireLocal } from './access.ts';
import { Admission } from './admission.ts';
import { completeAnswer, startAnswer, streamedAnswer } from './answer.ts';
import { ApiError, modelNotFound, shuttingDown } from './api-error.ts';
import { CompletionEngine, type DecodedModel } from './completion-engine.ts';
import { Connections } from './connections.ts';
import { jsonParts } from './json-parts.ts';
import { ServerMetrics } from './metrics.ts';
import type { Plan, ServedModel } from './plan.ts';
import { planChat } from './plan-chat.ts';
import { planCompletion } from './plan-completion.ts';
import type { ChatRequest, CompletionRequest, ReadSettings, ResponseRequest } from './read-request.ts';
import { refuseConnection, sendError } from './refusals.ts';
import type { RequestProcesses } from './request-process.ts';
import { completeResponse, streamedResponse } from './response-answer.ts';
import { maxBytesPerToken } from './token-bound.ts';
import { type Upload, Uploads } from './uploads.ts';

/** Options of {@link startServer}. */
export interface ServerOptions {
  model: Llama;
  tokenizer: Tokenizer;
  /** Parses requests with the same tokenizer; owned by the caller. */
  requests: Pick<RequestProcesses, 'completion' | 'chat' | 'response' | 'chatStopIds'> &
    Partial<Pick<RequestProcesses, 'adapterChats'>>;
  /** The name of the model in the API. */
  name: string;
  /** Number of ids of the model; all rows of its tables by default. */
  vocabularySize?: number;
  /** Models on the same weights, by their names in the API; owned by the caller. */
  adapters?: ReadonlyMap<string, DecodedModel & { tokenizer: Tokenizer }>;
  /** Address to listen on; requires `apiKey` unless it is a loopback address. */
  host: string;
  /** 0 for any free port. */
  port: number;
  /** Key that clients must send as `Authorization: Bearer KEY`, except to `/health`. */
  apiKey?: string;
  /** Whether text prompts get the tokenizer's BOS by default. */
  addSpecialTokens: boolean;
  limits: ServerLimits;
}

export interface ServerLimits {
  maxBatch: number;
  /** Sequences that are waiting or not yet delivered; further requests get status 429. */
  maxQueue: number;
  /** Tokens of prompt and answer together, at most the model's context. */
  maxContext: number;
  maxBody: number;
  /** Milliseconds for an answer, including waiting. */
  requestTimeout: number;
  /** Milliseconds without progress in a request or response after which the client is disconnected. */
  stallTimeout: number;
  /** Milliseconds for requests in progress to finish when the server is closed. */
  shutdownTimeout: number;
}

export interface RunningServer {
  /** Base URL of the API, such as `http://127.0.0.1:8000/v1`. */
  readonly url: string;
  /** Stops listening, lets requests finish until the shutdown timeout, then aborts them. */
  close(): Promise<void>;
}

// Milliseconds for a client to send a request and its headers.
const SEND_TIMEOUT = 60_000;
const HEADERS_TIMEOUT = 10_000;
/** Bytes of bodies in memory; more if `--max-body` requires it. */
const MAX_BODIES = 64 * 2 ** 20;
/** Connections in addition to those that wait for an answer. */
const SPARE_CONNECTIONS = 256;

/**
 * Serves a model until closed; the model is owned by the caller.
 *
 * @throws ConfigurationError for a public address without an API key; RunError for an unavailable port or address
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { model, tokenizer, host, limits, name, adapters = new Map() } = options;
  const { vocabularySize = model.config.vocab_size } = options;
  const isLocal = isLoopback(host);
  if (!isLocal && options.apiKey === undefined) {
    throw new ConfigurationError([
      `host ${host}: is reachable from other machines, expected a loopback address or an API key; set --api-key-env`,
    ]);
  }
  const capacity = limits.maxBatch + limits.maxQueue;
  const admission = new Admission(capacity);
  const settings: ReadSettings = {
    name,
    vocabularySize,
    adapters: Object.fromEntries([...adapters].map(([name, adapter]) => [name, adapter.vocabularySize])),
    contextLength: Math.min(limits.maxContext, contextLengthOf(model.config)),
    maxSequences: admission.maxPerRequest,
    addSpecialTokens: options.addSpecialTokens,
  };
  const { requests } = options;
  const served = new Map<string, ServedModel>();
  for (const [id, own] of [[name, { model, vocabularySize, tokenizer }], ...adapters] as const) {
    const chatStopIds = id === name ? requests.chatStopIds : requests.adapterChats?.[id]?.stopIds;
    const { model, vocabularySize, tokenizer } = own;
    const texts = new TokenTexts(tokenizer);
    served.set(id, {
      ...{ name: id, model, vocabularySize, texts, constrained: new ConstrainedTexts(tokenizer, texts) },
      ...{ stopIds: stopIdsOf(model.config), chatStopIds: chatStopIds ?? [] },
    });
  }
  const servedBy = ({ fields: { model = name } }: CompletionRequest | ChatRequest) => served.get(model)!;
  const uploads = new Uploads(Math.max(MAX_BODIES, 2 * limits.maxBody));
  const tokenizers = [tokenizer, ...[...adapters.values()].map(({ tokenizer }) => tokenizer)];
  const bodyLimits = bodyLimitsOf(settings, limits, tokenizers);
  const engine = new CompletionEngine(limits);
  const metrics = new ServerMetrics(engine);
  const created = Math.floor(Date.now() / 1000);
  const jobs = new Set<AbortController>();

  let isClosing = false;

  const app = fastify({
    requestTimeout: SEND_TIMEOUT,
    http: {
      headersTimeout: Math.min(HEADERS_TIMEOUT, limits.stallTimeout),
      connectionsCheckingInterval: 1000,
    },
    // Model names may be long.
    routerOptions: { maxParamLength: 1000 },
    return503OnClosing: false,
    frameworkErrors: (error, _request, reply) => sendError(reply, error),
    clientErrorHandler: (error, socket) => refuseConnection(error, socket),
  });
  const connections = new Connections(app.server, {
    maxConnections: capacity + SPARE_CONNECTIONS,
    stallTimeout: limits.stallTimeout,
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', async (request: FastifyRequest, body: IncomingMessage) => {
    const contentLength = Number(request.headers['content-length'] ?? Number.NaN);
    const limit = bodyLimits[request.routeOptions.url as keyof typeof bodyLimits] ?? limits.maxBody;
    return uploads.receive(body, limit, contentLength);
  });
  app.setErrorHandler((error, _request, reply) => sendError(reply, error));
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0].slice(0, 200);
    return sendError(reply, new ApiError(404, `${request.method} ${path}: not found`));
  });

  const requireKey = options.apiKey === undefined ? undefined : keyCheck(options.apiKey);
  app.addHook('onRequest', async ({ headers, routeOptions }, reply) => {
    // Fastify's elapsedTime requires a hook on the response.
    const start = performance.now();
    reply.raw.once('close', () => {
      // 499 as in nginx: the client closed the connection.
      const status = reply.raw.writableFinished ? reply.statusCode : 499;
      metrics.responded(routeOptions.url ?? 'other', status, (performance.now() - start) / 1000);
    });
    if (isLocal) requireLocal(headers);
    if (routeOptions.url !== '/health') requireKey?.(headers.authorization);
    if (isClosing) {
      reply.header('connection', 'close');
      throw shuttingDown();
    }
    // Checked before the body is read.
    if (routeOptions.url !== undefined && Object.hasOwn(bodyLimits, routeOptions.url))
      admission.requireCapacity();
  });

  // The context and the base of an adapter have vLLM's names.
  const { contextLength: max_model_len } = settings;
  const descriptions = [...served.keys()].map((id) => {
    const described = { id, object: 'model', created, owned_by: 'meap', max_model_len };
    return id === name ? described : { ...described, parent: name };
  });
  app.get('/health', async () => ({ status: 'ok' }));
  app.get('/metrics', async (_request, reply) =>
    reply.type(metrics.contentType).send(await metrics.render()),
  );
  app.get('/v1/models', async () => ({ object: 'list', data: descriptions }));
  app.get<{ Params: { '*': string } }>('/v1/models/*', async ({ params }) => {
    const found = descriptions.find(({ id }) => id === params['*']);
    if (found) return found;
    throw modelNotFound(params['*'], [...served.keys()]);
  });

  interface Planned {
    readonly plan: Plan;
    readonly served: ServedModel;
    /** The request of a response, whose answers have another form. */
    readonly request?: ResponseRequest;
  }
  type Planner = (body: Buffer, signal: AbortSignal) => Promise<Planned>;
  const answer = (planner: Planner) => async (request: FastifyRequest, reply: FastifyReply) => {
    const start = performance.now();
    const { bytes, release } = (request.body ?? NO_BODY) as Upload;
    const reservation = admission.reserve();
    const releases = [connections.hold(request.raw.socket), reservation.release, release];
    const { signal } = startJob(reply, limits, { jobs, releases });
    reservation.resize(1);
    const { plan: planned, served, request: responded } = await planner(bytes, signal).finally(release);
    reservation.resize(planned.sequences.length);
    let isFirst = true;
    const counters = {
      onPrompt: (count: number) => metrics.prompted(count),
      onNewTokens: (count: number) => {
        if (isFirst) metrics.firstToken((performance.now() - start) / 1000);
        isFirst = false;
        metrics.generated(count);
      },
    };
    const pieces = startAnswer(planned, { engine, served, signal, events: counters });
    const response = responded && { request: responded, plan: planned, model: served.name, pieces };
    if (!planned.isStreamed) {
      const body = await (response ? completeResponse(response) : completeAnswer(planned, pieces));
      return reply.type('application/json; charset=utf-8').send(Readable.from(jsonParts(body), BYTES));
    }
    reply.type('text/event-stream').header('cache-control', 'no-store').header('x-accel-buffering', 'no');
    const events = response ? streamedResponse(response) : streamedAnswer(planned, pieces);
    return reply.send(Readable.from(events, BYTES));
  };
  app.post(
    '/v1/completions',
    answer(async (body, signal) => {
      const request = await requests.completion(body, settings, signal);
      const served = servedBy(request);
      return { plan: await planCompletion(request, served), served };
    }),
  );
  app.post(
    '/v1/chat/completions',
    answer(async (body, signal) => {
      const request = await requests.chat(body, settings, signal);
      const served = servedBy(request);
      return { plan: await planChat(request, served), served };
    }),
  );

  app.post(
    '/v1/responses',
    answer(async (body, signal) => {
      const request = await requests.response(body, settings, signal);
      const served = servedBy(request);
      return { plan: await planChat(request, served), served, request };
    }),
  );

  await app.listen({ host, port: options.port }).catch((error: NodeJS.ErrnoException) => {
    throw listenError(error, host, options.port);
  });
  const { port } = app.server.address() as AddressInfo;
  const abortAll = () => {
    for (const job of jobs) job.abort(shuttingDown());
  };
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}/v1`,
    close: async () => {
      isClosing = true;
      connections.closeOthers();
      const timers = [
        setTimeout(abortAll, limits.shutdownTimeout),
        // For clients that do not read the error.
        setTimeout(() => app.server.closeAllConnections(), limits.shutdownTimeout + 2000),
        // Connections that were busy at first become idle after their answer.
        setInterval(() => app.server.closeIdleConnections(), 50),
      ];
      await app.close();
      for (const timer of timers) clearTimeout(timer);
      await engine.idle();
    },
  };
}

/** Converts an error of listening; errors that the user can fix become a RunError. */
function listenError(error: NodeJS.ErrnoException, host: string, port: number): Error {
  const reason = {
    EADDRINUSE: 'port is in use, expected a free port; choose another, or 0 for any free port',
    EACCES: 'permission denied, expected a port of at least 1024',
    EADDRNOTAVAIL: 'not an address of this machine',
    ENOTFOUND: 'unknown address',
  }[error.code ?? ''];
  return reason === undefined ? error : new RunError(`--host ${host} --port ${port}: ${reason}`);
}

/** Returns an abort controller for a request, aborted on timeout, shutdown or disconnection. */
function startJob(
  { raw }: FastifyReply,
  { requestTimeout, stallTimeout }: ServerLimits,
  { jobs, releases }: { jobs: Set<AbortController>; releases: readonly (() => void)[] },
): AbortController {
  const job = new AbortController();
  const onTimeout = () => {
    job.abort(
      new ApiError(504, `no answer within ${requestTimeout / 1000} seconds; request less`, {
        code: 'timeout',
      }),
    );
    // For clients that read very slowly.
    timer = setTimeout(() => raw.destroy(), stallTimeout);
  };
  let timer = setTimeout(onTimeout, requestTimeout);
  jobs.add(job);
  const end = () => {
    clearTimeout(timer);
    jobs.delete(job);
    job.abort(new ApiError(499, 'the client has disconnected'));
    for (const free of releases) free();
  };
  if (raw.destroyed) end();
  else raw.once('close', end);
  return job;
}

const NO_BODY: Upload = { bytes: Buffer.alloc(0), release: () => {} };
const BYTES = { objectMode: false };

/** Returns the maximum size of a valid body by path. */
function bodyLimitsOf(
  { contextLength, maxSequences }: ReadSettings,
  { maxBody }: ServerLimits,
  tokenizers: readonly Tokenizer[],
): Record<'/v1/completions' | '/v1/chat/completions' | '/v1/responses', number> {
  // JSON escapes a byte with up to six characters; 32 are enough for a token id with white space.
  const perToken = Math.max(32, ...tokenizers.map(({ json }) => 6 * maxBytesPerToken(json)));
  const limit = (numPrompts: number) =>
    Math.min(maxBody, OTHER_FIELDS + numPrompts * contextLength * perToken);
  return {
    '/v1/completions': limit(maxSequences),
    '/v1/chat/completions': limit(1),
    '/v1/responses': limit(1),
  };
}

// Bytes of all fields except prompts.
const OTHER_FIELDS = 512 * 1024;
