/** Clients that hold connections without asking anything, in every way there is. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { Connections } from './connections.ts';
import { type Client, serve, until } from './testing.ts';

const HEAD = 'POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n';
const BODY = JSON.stringify({ prompt: 'a', max_tokens: 2 });

/** A connection with something written to it. */
function open(client: Client, text: string): Socket {
  const socket = connect(Number(new URL(client.url).port), '127.0.0.1');
  socket.on('error', () => {});
  socket.write(text);
  onTestFinished(() => void socket.destroy());
  return socket;
}

/** All that comes until the server ends the connection. */
async function readToEnd(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', (data) => {
    text += data;
  });
  await once(socket, 'close');
  return text;
}

const bodyOf = (response: string) => JSON.parse(response.slice(response.indexOf('\r\n\r\n')));

test.each([
  ['nothing', ''],
  ['half a head', HEAD.slice(0, 50)],
  ['half a body', `${HEAD}content-length: 1000\r\n\r\n{"prompt"`],
  ['half a chunk', `${HEAD}transfer-encoding: chunked\r\n\r\n100\r\n{"prompt"`],
])('those who send %s lock nobody out', async (_, text) => {
  const client = await serve({ limits: { maxBatch: 1, maxQueue: 2 } });
  const sockets = Array.from({ length: 400 }, () => open(client, text));
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  for (let i = 0; i < 3; i++) {
    const answers = await Promise.all([1, 2].map(() => client.complete({ prompt: 'a', max_tokens: 2 })));
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
  }
  // The oldest gave way.
  await until(() => sockets.filter(({ destroyed }) => destroyed).length >= 400 - 259);
});

test('who neither sends on nor takes an answer is cut off', async () => {
  const client = await serve({ limits: { readerPatience: 300 } });
  for (const text of [HEAD.slice(0, 50), `${HEAD}content-length: 1000\r\n\r\n{"prompt"`]) {
    await readToEnd(open(client, text));
  }
  // Some 15 MB in one answer; one that is streamed is in load.slow.test.ts.
  const prompt = Array.from({ length: 128 }, (_, i) => 2 + i);
  const scored = { prompt: Array(200).fill(prompt), max_tokens: 0, echo: true, logprobs: 20 };
  const left = 'meap_requests_total{path="/v1/completions",status="499"}';
  const before = (await client.metric(left)) || 0;
  const response = await client.open('/v1/completions', scored);
  response.pause();
  response.on('error', () => {});
  await until(async () => (await client.metric(left)) > before);
  response.destroy();
  // Nothing is held for them any more.
  expect((await client.complete({ prompt: 'a', max_tokens: 1, n: 128 })).status).toBe(200);
});

test('a connection that waits for its answer is not cut off, and goes on to be used', async () => {
  const server = createServer((_request, response) => {
    setTimeout(() => response.end('late'), 400);
  });
  const connections = new Connections(server, { most: 1, patience: 50 });
  server.on('request', ({ socket }, response) => response.once('close', connections.hold(socket)));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  for (let i = 0; i < 2; i++) expect(await (await fetch(`http://127.0.0.1:${port}`)).text()).toBe('late');
});

test.each([
  ['no HTTP', 'hello\r\n\r\n', 400],
  ['headers beyond the limit', `${HEAD}x: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
  ['two lengths', `${HEAD}content-length: 1\r\ncontent-length: 2\r\n\r\n{}`, 400],
  ['half a head', HEAD, 408],
  ['a path that is none', 'GET /%zz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n', 400],
  ['a method nobody knows', 'PURGE /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n', 404],
  [
    'a body of no kind',
    HEAD.replace(/content-type.*\r\n/, 'connection: close\r\ncontent-length: 1\r\n\r\n{'),
    415,
  ],
])('refusals of every layer have one shape: %s', async (_, text, status) => {
  const client = await serve({ limits: { readerPatience: 1000 } });
  const response = await readToEnd(open(client, text));
  expect(response).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  expect(bodyOf(response)).toEqual({
    error: {
      message: expect.any(String),
      type: status === 404 ? 'not_found_error' : 'invalid_request_error',
      param: null,
      code: status === 404 ? null : expect.any(String),
    },
  });
});

test('a server that is closed waits for nobody who has not asked', async () => {
  const client = await serve({ limits: { maxBatch: 1 } });
  const half = [HEAD.slice(0, 50), `${HEAD}content-length: 1000\r\n\r\n{"prompt"`, ''].map((text) =>
    open(client, text),
  );
  await Promise.all(half.map((socket) => once(socket, 'connect')));
  const answer = client.complete({ prompt: 'a', max_tokens: 100, n: 2, temperature: 0 });
  await until(async () => (await client.metric('meap_sequences_running')) > 0);
  // Two requests on one connection: the second comes too late.
  const pipelined = open(client, `${HEAD}content-length: ${BODY.length}\r\n\r\n${BODY}`);
  await until(async () => (await client.metric('meap_sequences_waiting')) > 1);
  const response = readToEnd(pipelined);
  const closed = client.server.close();
  pipelined.write(`${HEAD}content-length: ${BODY.length}\r\n\r\n${BODY}`);
  expect((await answer).status).toBe(200);
  await closed;
  const text = await response;
  expect(text).toMatch(/^HTTP\/1.1 200 OK/);
  expect(text).not.toMatch(/HTTP\/1.1 500/);
  if (text.includes('HTTP/1.1 503')) expect(text).toMatch(/"code":"shutting_down"/);
});
