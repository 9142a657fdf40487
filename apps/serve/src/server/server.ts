/** The HTTP server: OpenAI's endpoints over one engine, with limits on all that a client can ask of it. */
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { TokenTexts } from '@meap/inference';
import { contextLengthOf, type Llama, stopIdsOf } from '@meap/llama-model';
import { ConfigurationError, RunError } from '@meap/recipe-cli';
import type { Tokenizer } from '@meap/token-dataset';
import { type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import { isLoopback, keyCheck, requireLocal } from './access.ts';
import { Admission } from './admission.ts';
import { startAnswer, streamedAnswer, wholeAnswer } from './answer.ts';
import { ApiError } from './api-error.ts';
import { CompletionEngine } from './completion-engine.ts';
import { Connections } from './connections.ts';
import { jsonParts } from './json-parts.ts';
import { ServerMetrics } from './metrics.ts';
import type { Plan, Served } from './plan.ts';
import { planChat } from './plan-chat.ts';
import { planCompletion } from './plan-completion.ts';
import type { ReadSettings } from './read-request.ts';
import { refuseConnection, sendError } from './refusals.ts';
import type { RequestProcesses } from './request-process.ts';
import { maxBytesPerToken } from './token-bound.ts';
import { type Upload, Uploads } from './uploads.ts';

/** Options of {@link startServer}. */
export interface ServerOptions {
  model: Llama;
  tokenizer: Tokenizer;
  /** What reads requests, with the same tokenizer; stays the caller's. */
  requests: Pick<RequestProcesses, 'completion' | 'chat' | 'chatStopIds'>;
  /** What clients call the model. */
  name: string;
  /** Address to listen on; any but a loopback one needs `apiKey`. */
  host: string;
  /** 0 takes any that is free. */
  port: number;
  /** What clients must send as `Authorization: Bearer …`, but for `/health`. */
  apiKey?: string;
  /** Whether a prompt that is a text gets the tokenizer's BOS unless the request says otherwise. */
  addSpecialTokens: boolean;
  limits: ServerLimits;
}

/** What the server takes on at once and at most. */
export interface ServerLimits {
  /** Sequences computed at once. */
  maxBatch: number;
  /** Sequences that wait, or are not yet with their clients; a request beyond them gets status 429. */
  maxQueue: number;
  /** Tokens of prompt and answer together, at most the model's context. */
  maxContext: number;
  /** Bytes of a request's body. */
  maxBody: number;
  /** Milliseconds for a whole answer, waiting included. */
  requestTimeout: number;
  /** Milliseconds after which a client that neither sends the rest of its request nor takes its answer is cut off. */
  readerPatience: number;
  /** Milliseconds for which running requests may go on when the server is closed. */
  shutdownGrace: number;
}

/** A server that listens. */
export interface RunningServer {
  /** Of the API, such as `http://127.0.0.1:8000/v1`. */
  readonly url: string;
  /** Listens no more, lets running requests finish for as long as the limits say, and cuts them then. */
  close(): Promise<void>;
}

// Milliseconds for a client to send a request, and its headers: more is no client.
const SEND_TIMEOUT = 60_000;
const HEADERS_TIMEOUT = 10_000;
/** Bytes of bodies held at once; more where `--max-body` allows larger ones. */
const MAX_BODIES = 64 * 2 ** 20;
/** Connections beyond those that wait for an answer. */
const SPARE_CONNECTIONS = 256;

/**
 * Serves a model until it is closed; the model stays the caller's.
 *
 * @throws ConfigurationError for a public address without an API key; RunError for a port or address that it cannot
 *   have
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { model, tokenizer, host, limits } = options;
  const isLocal = isLoopback(host);
  if (!isLocal && options.apiKey === undefined) {
    throw new ConfigurationError([
      `host ${host}: others could reach it, expected a loopback address or an API key; name its variable with --api-key-env`,
    ]);
  }
  const capacity = limits.maxBatch + limits.maxQueue;
  const admission = new Admission(capacity);
  const settings: ReadSettings = {
    name: options.name,
    vocabularySize: model.config.vocab_size,
    contextLength: Math.min(limits.maxContext, contextLengthOf(model.config)),
    maxSequences: admission.mostAtOnce,
    addSpecialTokens: options.addSpecialTokens,
  };
  const served: Served = {
    name: options.name,
    texts: new TokenTexts(tokenizer),
    stopIds: stopIdsOf(model.config),
    chatStopIds: options.requests.chatStopIds ?? [],
  };
  const uploads = new Uploads(Math.max(MAX_BODIES, 2 * limits.maxBody));
  const bodyLimits = bodyLimitsOf(settings, limits, tokenizer);
  const engine = new CompletionEngine(model, limits);
  const metrics = new ServerMetrics(engine);
  const created = Math.floor(Date.now() / 1000);
  /** Requests that are being answered. */
  const jobs = new Set<AbortController>();

  let isClosing = false;

  const app = fastify({
    requestTimeout: SEND_TIMEOUT,
    http: {
      headersTimeout: Math.min(HEADERS_TIMEOUT, limits.readerPatience),
      connectionsCheckingInterval: 1000,
    },
    // Paths of models may be long.
    routerOptions: { maxParamLength: 1000 },
    return503OnClosing: false,
    frameworkErrors: (error, _request, reply) => sendError(reply, error),
    clientErrorHandler: (error, socket) => refuseConnection(error, socket),
  });
  const connections = new Connections(app.server, {
    most: capacity + SPARE_CONNECTIONS,
    patience: limits.readerPatience,
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', async (request: FastifyRequest, body: IncomingMessage) => {
    const announced = Number(request.headers['content-length'] ?? Number.NaN);
    const limit = bodyLimits[request.routeOptions.url as keyof typeof bodyLimits] ?? limits.maxBody;
    return uploads.receive(body, limit, announced);
  });
  app.setErrorHandler((error, _request, reply) => sendError(reply, error));
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0].slice(0, 200);
    return sendError(reply, new ApiError(404, `no ${request.method} ${path} here`));
  });

  const requireKey = options.apiKey === undefined ? undefined : keyCheck(options.apiKey);
  app.addHook('onRequest', async ({ headers, routeOptions }, reply) => {
    // Fastify's own elapsedTime begins with the first hook on a response, of which there is none.
    const start = performance.now();
    reply.raw.once('close', () => {
      // 499, as nginx has it: the client left first.
      const status = reply.raw.writableFinished ? reply.statusCode : 499;
      metrics.responded(routeOptions.url ?? 'other', status, (performance.now() - start) / 1000);
    });
    if (isLocal) requireLocal(headers);
    if (routeOptions.url !== '/health') requireKey?.(headers.authorization);
    if (isClosing) {
      reply.header('connection', 'close');
      throw new ApiError(503, 'the server is shutting down', { code: 'shutting_down' });
    }
    // Before the body is read: a crowd is turned away at the door.
    if (routeOptions.url?.endsWith('/completions')) admission.requireRoom();
  });

  const description = { id: options.name, object: 'model', created, owned_by: 'meap' };
  app.get('/health', async () => ({ status: 'ok' }));
  app.get('/metrics', async (_request, reply) =>
    reply.type(metrics.contentType).send(await metrics.render()),
  );
  app.get('/v1/models', async () => ({ object: 'list', data: [description] }));
  app.get<{ Params: { '*': string } }>('/v1/models/*', async ({ params }) => {
    if (params['*'] === options.name) return description;
    throw new ApiError(404, `model: no '${params['*'].slice(0, 200)}' here, expected '${options.name}'`, {
      code: 'model_not_found',
    });
  });

  type Planner = (body: Buffer, signal: AbortSignal) => Promise<Plan>;
  const answer = (plan: Planner) => async (request: FastifyRequest, reply: FastifyReply) => {
    const start = performance.now();
    const { bytes, release } = (request.body ?? NO_BODY) as Upload;
    const admitted = admission.enter();
    const held = [connections.hold(request.raw.socket), admitted.leave, release];
    const { signal } = openJob(reply, limits, { jobs, held });
    admitted.expect(1);
    const planned = await plan(bytes, signal).finally(release);
    admitted.expect(planned.sequences.length);
    let isFirst = true;
    const events = {
      onPrompt: (count: number) => metrics.prompted(count),
      onNewTokens: (count: number) => {
        if (isFirst) metrics.firstToken((performance.now() - start) / 1000);
        isFirst = false;
        metrics.generated(count);
      },
    };
    const pieces = startAnswer(planned, { engine, served, signal, events });
    if (!planned.isStreamed) {
      const whole = await wholeAnswer(planned, pieces);
      return reply.type('application/json; charset=utf-8').send(Readable.from(jsonParts(whole), BYTES));
    }
    reply.type('text/event-stream').header('cache-control', 'no-store').header('x-accel-buffering', 'no');
    return reply.send(Readable.from(streamedAnswer(planned, pieces), BYTES));
  };
  const { requests } = options;
  app.post(
    '/v1/completions',
    answer(async (body, signal) => planCompletion(await requests.completion(body, settings, signal), served)),
  );
  app.post(
    '/v1/chat/completions',
    answer(async (body, signal) => planChat(await requests.chat(body, settings, signal), served)),
  );

  await app.listen({ host, port: options.port }).catch((error: NodeJS.ErrnoException) => {
    throw portError(error, host, options.port);
  });
  const { port } = app.server.address() as AddressInfo;
  const cut = () => {
    for (const job of jobs)
      job.abort(new ApiError(503, 'the server is shutting down', { code: 'shutting_down' }));
  };
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}/v1`,
    close: async () => {
      isClosing = true;
      connections.closeOthers();
      const timers = [
        setTimeout(cut, limits.shutdownGrace),
        // Clients that do not read that they are cut off.
        setTimeout(() => app.server.closeAllConnections(), limits.shutdownGrace + 2000),
        // Connections that were busy when the server closed stay open behind their answer.
        setInterval(() => app.server.closeIdleConnections(), 50),
      ];
      await app.close();
      for (const timer of timers) clearTimeout(timer);
      await engine.idle();
    },
  };
}

/** Why it cannot listen, for its user where that is who can mend it. */
function portError(error: NodeJS.ErrnoException, host: string, port: number): Error {
  const reason = {
    EADDRINUSE: 'another program listens there; expected a free port: choose one, or 0 for any',
    EACCES: 'not allowed to listen there; expected a port from 1024 on',
    EADDRNOTAVAIL: 'this machine has no such address',
    ENOTFOUND: 'no such address',
  }[error.code ?? ''];
  return reason === undefined ? error : new RunError(`--host ${host} --port ${port}: ${reason}`);
}

/** An abort signal for the time of a request: fires when it takes too long, is cut, or its client has left. */
function openJob(
  { raw }: FastifyReply,
  { requestTimeout, readerPatience }: ServerLimits,
  { jobs, held }: { jobs: Set<AbortController>; held: readonly (() => void)[] },
): AbortController {
  const job = new AbortController();
  const late = () => {
    job.abort(
      new ApiError(504, `no answer within ${requestTimeout / 1000} seconds; ask for less`, {
        code: 'timeout',
      }),
    );
    // A client that reads an answer byte by byte.
    timer = setTimeout(() => raw.destroy(), readerPatience);
  };
  let timer = setTimeout(late, requestTimeout);
  jobs.add(job);
  const end = () => {
    clearTimeout(timer);
    jobs.delete(job);
    job.abort(new ApiError(499, 'the client has left'));
    for (const free of held) free();
  };
  if (raw.destroyed) end();
  else raw.once('close', end);
  return job;
}

const NO_BODY: Upload = { bytes: Buffer.alloc(0), release: () => {} };
const BYTES = { objectMode: false };

/** Bytes that a body can have at most and still be honoured, by path: more need not be read. */
function bodyLimitsOf(
  { contextLength, maxSequences }: ReadSettings,
  { maxBody }: ServerLimits,
  { json }: Tokenizer,
): Record<'/v1/completions' | '/v1/chat/completions', number> {
  // JSON escapes a byte by six characters at most; of a token id with the space around it we take 32 for enough.
  const perToken = Math.max(32, 6 * maxBytesPerToken(json));
  const limit = (numPrompts: number) =>
    Math.min(maxBody, OTHER_FIELDS + numPrompts * contextLength * perToken);
  return { '/v1/completions': limit(maxSequences), '/v1/chat/completions': limit(1) };
}

// Bytes for all that is no prompt.
const OTHER_FIELDS = 512 * 1024;
