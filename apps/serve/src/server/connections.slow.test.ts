/** Clients that hold connections without sending complete requests. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { Connections } from './connections.ts';
import { type Client, closeRequests, serve, until } from './testing.ts';

afterAll(closeRequests);

const HEAD = 'POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n';
const BODY = JSON.stringify({ prompt: 'a', max_tokens: 2 });

function open(client: Client, text: string): Socket {
  const socket = connect(Number(new URL(client.url).port), '127.0.0.1');
  socket.on('error', () => {});
  socket.write(text);
  onTestFinished(() => void socket.destroy());
  return socket;
}

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
  ['part of a head', HEAD.slice(0, 50)],
  ['part of a body', `${HEAD}content-length: 1000\r\n\r\n{"prompt"`],
  ['part of a chunk', `${HEAD}transfer-encoding: chunked\r\n\r\n100\r\n{"prompt"`],
])('clients that send %s do not block others', async (_, text) => {
  const client = await serve({ limits: { maxBatch: 1, maxQueue: 2 } });
  const sockets = Array.from({ length: 400 }, () => open(client, text));
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  for (let i = 0; i < 3; i++) {
    const answers = await Promise.all([1, 2].map(() => client.complete({ prompt: 'a', max_tokens: 2 })));
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
  }
  // The oldest connections were closed.
  await until(() => sockets.filter(({ destroyed }) => destroyed).length >= 400 - 259);
});

test('stalled clients are disconnected', async () => {
  const client = await serve({ limits: { stallTimeout: 300 } });
  for (const text of [HEAD.slice(0, 50), `${HEAD}content-length: 1000\r\n\r\n{"prompt"`]) {
    await readToEnd(open(client, text));
  }
  // About 15 MB in one answer; load.slow.test.ts tests a streamed one.
  const prompt = Array.from({ length: 128 }, (_, i) => 2 + i);
  const scored = { prompt: Array(200).fill(prompt), max_tokens: 0, echo: true, logprobs: 20 };
  const left = 'meap_requests_total{path="/v1/completions",status="499"}';
  const before = (await client.metric(left)) || 0;
  const response = await client.open('/v1/completions', scored);
  response.pause();
  response.on('error', () => {});
  await until(async () => (await client.metric(left)) > before);
  response.destroy();
  // Their answers have been released.
  expect((await client.complete({ prompt: 'a', max_tokens: 1, n: 128 })).status).toBe(200);
});

test('a connection that waits for its answer stays open and is reused', async () => {
  const server = createServer((_request, response) => {
    setTimeout(() => response.end('late'), 400);
  });
  const connections = new Connections(server, { maxConnections: 1, stallTimeout: 50 });
  server.on('request', ({ socket }, response) => response.once('close', connections.hold(socket)));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  for (let i = 0; i < 2; i++) expect(await (await fetch(`http://127.0.0.1:${port}`)).text()).toBe('late');
});

test.each([
  ['not HTTP', 'hello\r\n\r\n', 400],
  ['headers that are too large', `${HEAD}x: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
  ['two lengths', `${HEAD}content-length: 1\r\ncontent-length: 2\r\n\r\n{}`, 400],
  ['part of a head', HEAD, 408],
  ['an invalid path', 'GET /%zz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n', 400],
  ['an unknown method', 'PURGE /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n', 404],
  [
    'a body without content type',
    HEAD.replace(/content-type.*\r\n/, 'connection: close\r\ncontent-length: 1\r\n\r\n{'),
    415,
  ],
])('errors of every layer have the same format: %s', async (_, text, status) => {
  const client = await serve({ limits: { stallTimeout: 1000 } });
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

test('closing does not wait for incomplete requests', async () => {
  const client = await serve({ limits: { maxBatch: 1 } });
  const incomplete = [HEAD.slice(0, 50), `${HEAD}content-length: 1000\r\n\r\n{"prompt"`, ''].map((text) =>
    open(client, text),
  );
  await Promise.all(incomplete.map((socket) => once(socket, 'connect')));
  const answer = client.complete({ prompt: 'a', max_tokens: 100, n: 2, temperature: 0 });
  await until(async () => (await client.metric('meap_sequences_running')) > 0);
  // Of two requests on one connection, the second arrives after closing.
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
