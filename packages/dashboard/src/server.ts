/** The web server: files of the page, answers about runs, and streams; for this machine only. */
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { readAssets } from './assets.ts';
import { DashboardError } from './errors.ts';
import type { RunStore } from './run-store.ts';
import { MOST_SELECTED } from './shared/protocol.ts';
import { widthFor } from './shared/table.ts';
import { pack } from './shared/wire.ts';
import { Stream } from './stream.ts';

/** Where a dashboard is, and how it ends. */
export interface Dashboard {
  /** To open in a browser. */
  url: string;
  /** Sends what is new, says `reason` to the pages that listen, and ends. They keep what they show. */
  close(reason?: string): Promise<void>;
}

/** The default port; if it is in use, any free port is chosen. */
export const DEFAULT_PORT = 6017;

const HOST = '127.0.0.1';
/** New lines reach the pages so often: drawing them must not take the processor from training. */
const TICK_MS = 1000;
/** Pages that may listen at a time. */
const MOST_STREAMS = 32;

/** Serves a store's runs until closed. */
export async function serve(store: RunStore, port: number | undefined): Promise<Dashboard> {
  const { files, scriptHash } = readAssets();
  const headers = securityHeaders(scriptHash);
  const serverId = randomBytes(4).toString('hex');
  const streams = new Set<Stream>();
  let isClosed = false;
  let underWay: Promise<void> | undefined;

  const server = createServer((request, response) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    answer(request, response).catch((error) => {
      if (response.headersSent) response.destroy();
      else refuse(response, 500, (error as Error).message);
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
      await underWay;
      await update();
      for (const stream of streams) stream.end(reason);
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeIdleConnections();
      // Pages that do not read to the end must not keep anybody waiting.
      const impatience = setTimeout(() => server.closeAllConnections(), 500);
      await closed;
      clearTimeout(impatience);
    },
  };

  /** One at a time: a slow disk makes updates rarer, not more. */
  function tick(): void {
    underWay ??= update().finally(() => {
      underWay = undefined;
    });
  }

  async function update(): Promise<void> {
    // Nobody looks: nothing is read.
    if (streams.size === 0) return;
    // A disk that fails now may answer next time; the pages wait.
    await store.refresh(new Set([...streams].flatMap(({ selected }) => selected))).catch(() => {});
    for (const stream of streams) stream.send(store);
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!isFromHere(request)) return refuse(response, 403, 'open the dashboard as localhost or 127.0.0.1');
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      return refuse(response, 405, 'expected GET');
    }
    const base = 'http://localhost';
    if (!URL.canParse(request.url ?? '/', base)) return refuse(response, 400, 'this is no address');
    const { pathname, searchParams } = new URL(request.url ?? '/', base);
    const file = files.get(pathname);
    if (file) {
      response.setHeader('content-type', file.type);
      response.end(request.method === 'HEAD' ? undefined : file.body);
    } else if (pathname === '/api/stream') openStream(request, response, searchParams);
    else if (pathname.startsWith('/api/')) await answerAbout(pathname.slice(5), searchParams, response);
    else refuse(response, 404, 'there is no such page');
  }

  async function answerAbout(what: string, search: URLSearchParams, response: ServerResponse): Promise<void> {
    const run = store.runs.get(search.get('run') ?? '');
    if (!run) return refuse(response, 404, 'there is no such run');
    const count = (name: string) => {
      const text = search.get(name) ?? '';
      return /^\d{1,15}$/.test(text) ? Number(text) : null;
    };
    if (what === 'samples') json(response, await run.samples(count('step')));
    else if (what === 'config') json(response, await run.config());
    else if (what === 'batch') json(response, await run.batch());
    else if (what === 'curves') {
      const { series } = run;
      const [from, to] = [count('from'), count('to')];
      if (from === null || to === null || from > to)
        return refuse(response, 400, 'expected from ≤ to, counts of steps');
      const generation = `${serverId}-${series?.generation}`;
      if (!series || search.get('generation') !== generation) {
        return refuse(response, 409, 'these curves are of another history of the run');
      }
      const end = Math.min(to, series.length);
      json(response, pack(series.table(Math.min(from, end), end, widthFor(end - from))));
    } else refuse(response, 404, 'there is no such answer');
  }

  function openStream(request: IncomingMessage, response: ServerResponse, search: URLSearchParams): void {
    if (isClosed || streams.size >= MOST_STREAMS) {
      refuse(response, 503, 'too many pages listen');
      return;
    }
    response.setHeader('content-type', 'text/event-stream; charset=utf-8');
    // A browser that lost the connection says what it has in a header, a page that begins anew in its address.
    const last = request.headers['last-event-id'];
    const since = typeof last === 'string' && last !== '' ? last : (search.get('since') ?? '');
    const selected = [...new Set(search.getAll('run'))].slice(0, MOST_SELECTED);
    const stream = new Stream(response, serverId, selected, since);
    streams.add(stream);
    response.on('close', () => streams.delete(stream));
    response.on('error', () => streams.delete(stream));
    tick();
  }
}

/** Whether the request is for this server under its own name: a page elsewhere whose name leads here is not. */
function isFromHere({ headers }: IncomingMessage): boolean {
  const host = /^(.*?)(:\d+)?$/.exec(headers.host ?? '')?.[1];
  // The port may be another's, of a tunnel.
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

function json(response: ServerResponse, value: unknown): void {
  response.setHeader('content-type', 'application/json; charset=utf-8');
  response.end(JSON.stringify(value));
}

function refuse(response: ServerResponse, status: number, message: string): void {
  response.statusCode = status;
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  response.end(`${message}\n`);
}

/** Listens on `port`; without one on the default, or on any. Returns which. */
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
      throw new DashboardError(`dashboard: port ${port} ${why}; name another, or 0 for any that is free`);
    }
  }
  return (server.address() as { port: number }).port;
}
