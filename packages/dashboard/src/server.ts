/** The web server, for this machine only: the page's files, requests about runs, and event streams. */
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { readAssets } from './assets.ts';
import { DashboardError } from './errors.ts';
import type { RunStore } from './run-store.ts';
import { MAX_SELECTED } from './shared/protocol.ts';
import { widthFor } from './shared/table.ts';
import { pack } from './shared/wire.ts';
import { Stream } from './stream.ts';

/** A running dashboard. */
export interface Dashboard {
  url: string;
  /** Sends the last changes and `reason` to the open pages, which keep their contents, then stops. */
  close(reason?: string): Promise<void>;
}

/** The default port; if it is in use, any free port is chosen. */
export const DEFAULT_PORT = 6017;

const HOST = '127.0.0.1';
/** Interval between updates of the pages; drawing must not slow down training. */
const TICK_MS = 1000;
/** Maximum number of open pages. */
const MAX_STREAMS = 32;

export async function serve(store: RunStore, port: number | undefined): Promise<Dashboard> {
  const { files, scriptHash } = readAssets();
  const headers = securityHeaders(scriptHash);
  const serverId = randomBytes(4).toString('hex');
  const streams = new Set<Stream>();
  let isClosed = false;
  let pending: Promise<void> | undefined;

  const server = createServer((request, response) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    answer(request, response).catch((error) => {
      if (response.headersSent) response.destroy();
      else sendError(response, 500, (error as Error).message);
    });
  });
  server.maxConnections = 256;
  const url = `http://${HOST}:${await listen(server, port)}/`;
  const timer = setInterval(tick, TICK_MS);
  return {
    url,
    close: async (reason = 'the dashboard was closed') => {
      if (isClosed) return;
      isClosed = true;
      clearInterval(timer);
      await pending;
      await update();
      for (const stream of streams) stream.end(reason);
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeIdleConnections();
      // Pages that do not read to the end are disconnected.
      const timeout = setTimeout(() => server.closeAllConnections(), 500);
      await closed;
      clearTimeout(timeout);
    },
  };

  /** Starts an update unless one is in progress. */
  function tick(): void {
    pending ??= update().finally(() => {
      pending = undefined;
    });
  }

  async function update(): Promise<void> {
    // Nothing is read without an open page.
    if (streams.size === 0) return;
    // A read that fails is repeated with the next update.
    await store.refresh(new Set([...streams].flatMap(({ selected }) => selected))).catch(() => {});
    for (const stream of streams) stream.send(store);
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!isSameHost(request))
      return sendError(response, 403, 'host is not allowed, open the dashboard as localhost or 127.0.0.1');
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      return sendError(response, 405, 'expected GET');
    }
    const base = 'http://localhost';
    if (!URL.canParse(request.url ?? '/', base)) return sendError(response, 400, 'invalid URL');
    const { pathname, searchParams } = new URL(request.url ?? '/', base);
    const file = files.get(pathname);
    if (file) {
      response.setHeader('content-type', file.type);
      response.end(request.method === 'HEAD' ? undefined : file.body);
    } else if (pathname === '/api/stream') openStream(request, response, searchParams);
    else if (pathname.startsWith('/api/')) await answerApi(pathname.slice(5), searchParams, response);
    else sendError(response, 404, 'page not found');
  }

  async function answerApi(what: string, search: URLSearchParams, response: ServerResponse): Promise<void> {
    const run = store.runs.get(search.get('run') ?? '');
    if (!run) return sendError(response, 404, 'run not found');
    const count = (name: string) => {
      const text = search.get(name) ?? '';
      return /^\d{1,15}$/.test(text) ? Number(text) : null;
    };
    if (what === 'samples') sendJson(response, await run.samples(count('step')));
    else if (what === 'config') sendJson(response, await run.config());
    else if (what === 'batch') sendJson(response, await run.batch());
    else if (what === 'curves') {
      const { series } = run;
      const [from, to] = [count('from'), count('to')];
      if (from === null || to === null || from > to)
        return sendError(response, 400, 'expected indices of steps with from ≤ to');
      const generation = `${serverId}-${series?.generation}`;
      if (!series || search.get('generation') !== generation) {
        return sendError(response, 409, 'the log was rewritten, these curves are outdated');
      }
      const end = Math.min(to, series.length);
      sendJson(response, pack(series.table(Math.min(from, end), end, widthFor(end - from))));
    } else sendError(response, 404, 'unknown API path');
  }

  function openStream(request: IncomingMessage, response: ServerResponse, search: URLSearchParams): void {
    if (isClosed || streams.size >= MAX_STREAMS) {
      sendError(response, 503, 'too many open pages');
      return;
    }
    response.setHeader('content-type', 'text/event-stream; charset=utf-8');
    // The last event id: in a header when the browser reconnects, in the URL when the page does.
    const last = request.headers['last-event-id'];
    const since = typeof last === 'string' && last !== '' ? last : (search.get('since') ?? '');
    const selected = [...new Set(search.getAll('run'))].slice(0, MAX_SELECTED);
    const stream = new Stream(response, serverId, selected, since);
    streams.add(stream);
    response.on('close', () => streams.delete(stream));
    response.on('error', () => streams.delete(stream));
    tick();
  }
}

/** Whether the request names this host, and so was not made by another site (DNS rebinding). */
function isSameHost({ headers }: IncomingMessage): boolean {
  const host = /^(.*?)(:\d+)?$/.exec(headers.host ?? '')?.[1];
  // Through a tunnel the port may differ.
  if (host !== 'localhost' && host !== HOST && host !== '[::1]') return false;
  const site = headers['sec-fetch-site'];
  return site !== 'cross-site' || headers['sec-fetch-mode'] === 'navigate';
}

function securityHeaders(scriptHash: string): Record<string, string> {
  return {
    'content-security-policy': [
      "default-src 'none'",
      `script-src 'self' 'sha256-${scriptHash}'`,
      "style-src 'self'",
      "connect-src 'self'",
      'img-src data:',
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
      "require-trusted-types-for 'script'",
      "trusted-types 'none'",
    ].join('; '),
    'cache-control': 'no-store',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
  };
}

function sendJson(response: ServerResponse, value: unknown): void {
  response.setHeader('content-type', 'application/json; charset=utf-8');
  response.end(JSON.stringify(value));
}

function sendError(response: ServerResponse, status: number, message: string): void {
  response.statusCode = status;
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  response.end(`${message}\n`);
}

/** Listens on `port`, or on the default or any free port, and returns it. */
async function listen(server: Server, port: number | undefined): Promise<number> {
  const open = (at: number) =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(at, HOST, () => {
        server.off('error', reject);
        resolve();
      });
    });
  try {
    await open(port ?? DEFAULT_PORT);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (port === undefined) await open(0);
    else {
      const why = code === 'EADDRINUSE' ? 'is in use' : `cannot be used: ${message}`;
      throw new DashboardError(`dashboard: port ${port} ${why}; choose another, or 0 for any free port`);
    }
  }
  return (server.address() as { port: number }).port;
}
