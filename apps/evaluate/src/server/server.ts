/** The HTTP server: OpenAI's endpoints over one engine, with limits on all that a client can ask of it. */
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { contextLengthOf, type Llama } from '@meap/llama-model';
import { ConfigurationError, RunError } from '@meap/recipe-cli';
import type { Tokenizer } from '@meap/token-dataset';
import { type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import { TokenTexts } from '../token-texts.ts';
import { isLoopback, keyCheck, requireLocal } from './access.ts';
import { asApiError, impatiently, startAnswer, streamedAnswer, wholeAnswer } from './answer.ts';
import { ApiError } from './api-error.ts';
import { CompletionEngine } from './completion-engine.ts';
import { ServerMetrics } from './metrics.ts';
import type { ChatPrompts, Plan, Served } from './plan.ts';
import { planChat } from './plan-chat.ts';
import { planCompletion } from './plan-completion.ts';

/** Options of {@link startServer}. */
export interface ServerOptions {
  model: Llama;
  tokenizer: Tokenizer;
  /** Absent: `/v1/chat/completions` is refused. */
  chat?: ChatPrompts;
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
  /** Sequences that wait; a request beyond them gets status 429. */
  maxQueue: number;
  /** Tokens of prompt and answer together, at most the model's context. */
  maxContext: number;
  /** Bytes of a request's body. */
  maxBody: number;
  /** Milliseconds for a whole answer, waiting included. */
  requestTimeout: number;
  /** Milliseconds after which a reader that takes nothing is cut off. */
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

// Milliseconds for a client to send a request: more is no client.
const SEND_TIMEOUT = 60_000;

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
  const eos = model.config.eos_token_id;
  const served: Served = {
    ...options,
    texts: new TokenTexts(tokenizer),
    vocabularySize: model.config.vocab_size,
    contextLength: Math.min(limits.maxContext, contextLengthOf(model.config)),
    maxSequences: limits.maxBatch + limits.maxQueue,
    stopIds: typeof eos === 'number' ? [eos] : (eos ?? []),
  };
  const engine = new CompletionEngine(model, limits);
  const metrics = new ServerMetrics(engine);
  const created = Math.floor(Date.now() / 1000);
  /** Requests that are being answered. */
  const jobs = new Set<AbortController>();

  const app = fastify({
    bodyLimit: limits.maxBody,
    requestTimeout: SEND_TIMEOUT,
    // Paths of models may be long.
    routerOptions: { maxParamLength: 1000 },
  });
  app.removeContentTypeParser('text/plain');
  app.setErrorHandler((error, _request, reply) => sendError(reply, clientError(error) ?? asApiError(error)));
  app.setNotFoundHandler((request, reply) => {
    return sendError(reply, new ApiError(404, `no ${request.method} ${request.url.split('?')[0]} here`));
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
    // Before the body is read: a crowd is turned away at the door.
    if (routeOptions.url?.endsWith('/completions') && engine.room < 1) {
      throw new ApiError(429, 'queue full: try again later', { code: 'queue_full' });
    }
  });

  const description = { id: options.name, object: 'model', created, owned_by: 'meap' };
  app.get('/health', async () => ({ status: 'ok' }));
  app.get('/metrics', async (_request, reply) =>
    reply.type(metrics.contentType).send(await metrics.render()),
  );
  app.get('/v1/models', async () => ({ object: 'list', data: [description] }));
  app.get<{ Params: { '*': string } }>('/v1/models/*', async ({ params }) => {
    if (params['*'] === options.name) return description;
    throw new ApiError(404, `model: no '${params['*']}' here, expected '${options.name}'`, {
      code: 'model_not_found',
    });
  });

  const answer = (plan: (body: unknown, served: Served) => Promise<Plan>) => {
    return async (request: FastifyRequest, reply: FastifyReply) => {
      const start = performance.now();
      const { signal } = openJob(reply, jobs, limits.requestTimeout);
      const planned = await plan(request.body, served);
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
      if (!planned.isStreamed) return wholeAnswer(planned, pieces);
      reply.type('text/event-stream').header('cache-control', 'no-store').header('x-accel-buffering', 'no');
      // Gives the connection up, and with its end the answer.
      const cutOff = () => void reply.raw.destroy();
      const text = impatiently(streamedAnswer(planned, pieces), limits.readerPatience, cutOff);
      return reply.send(Readable.from(text, { objectMode: false }));
    };
  };
  app.post('/v1/completions', answer(planCompletion));
  app.post('/v1/chat/completions', answer(planChat));

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
      const timers = [
        setTimeout(cut, limits.shutdownGrace),
        // Whoever does not even take that they are cut off.
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
function openJob(reply: FastifyReply, jobs: Set<AbortController>, timeout: number): AbortController {
  const job = new AbortController();
  const late = () => {
    job.abort(
      new ApiError(504, `no answer within ${timeout / 1000} seconds; ask for less`, { code: 'timeout' }),
    );
  };
  const timer = setTimeout(late, timeout);
  jobs.add(job);
  const end = () => {
    clearTimeout(timer);
    jobs.delete(job);
    job.abort(new ApiError(499, 'the client has left'));
  };
  if (reply.raw.destroyed) end();
  else reply.raw.once('close', end);
  return job;
}

function sendError(reply: FastifyReply, error: ApiError): FastifyReply {
  if (error.status === 401) reply.header('www-authenticate', 'Bearer');
  if (error.status === 429 || error.status === 503) reply.header('retry-after', '1');
  return reply.code(error.status).send(error.body);
}

/** Fastify's own refusals: a body that is no JSON, or too large. */
function clientError(error: unknown): ApiError | undefined {
  const { statusCode, code, message } = error as { statusCode?: number; code?: string; message?: string };
  if (error instanceof ApiError || statusCode === undefined || statusCode >= 500) return undefined;
  return new ApiError(statusCode, `${message}`, { code: code?.replace(/^FST_ERR_/, '').toLowerCase() });
}
