import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { afterEach, describe, expect, test } from 'vitest';
import type { Answer, AnswerStore } from './answers.ts';
import { type ChatJudgeOptions, chatJudge, parseScore } from './chat-judge.ts';
import { EndpointError } from './endpoint.ts';
import type { JudgeCase } from './judge.ts';

type Handler = (response: ServerResponse, request: IncomingMessage, body: string, index: number) => void;

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

/** A server on a free port that records its requests. */
async function serve(handle: Handler) {
  const bodies: { model: string; messages: { role: string; content: string }[]; temperature?: number }[] = [];
  const headers: IncomingMessage['headers'][] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    bodies.push(JSON.parse(body));
    headers.push(request.headers);
    handle(response, request, body, bodies.length - 1);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, bodies, headers };
}

function say(response: ServerResponse, content: unknown, usage?: unknown): void {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ choices: [{ message: { role: 'assistant', content } }], usage }));
}

function fail(
  response: ServerResponse,
  status: number,
  body = '{}',
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, headers).end(body);
}

const KEY = 'sk-secret-0123456789';
const judgeCase: JudgeCase = {
  output: 'Rain fell.',
  article: 'It rained in Wales.',
  reference: 'Rain in Wales.',
};
const options = (url: string, more: Partial<ChatJudgeOptions> = {}): ChatJudgeOptions => ({
  url,
  model: 'judge-1',
  apiKey: KEY,
  backoffMs: 1,
  ...more,
});

function memoryStore(): AnswerStore & { entries: Map<string, Answer> } {
  const entries = new Map<string, Answer>();
  return {
    entries,
    get: async (keys) => keys.map((key) => entries.get(key)),
    put: async (added) => {
      for (const { key, answer } of added) entries.set(key, answer);
    },
  };
}

async function errorOf(call: Promise<unknown>): Promise<Error> {
  return call.then(
    () => new Error('no error'),
    (error) => error,
  );
}

describe('a judgement', () => {
  test('sends output and reference with the key, reads the score, counts tokens and cost', async () => {
    const { url, bodies, headers } = await serve((response) =>
      say(response, 'It only says that it rained.\nScore: 1', { prompt_tokens: 100, completion_tokens: 20 }),
    );
    const judge = chatJudge(options(url, { prices: { prompt: 2, completion: 10 } }));
    expect(await judge.judge(judgeCase)).toEqual({
      measured: { hallucination_free: { value: 1 }, unparsed: { value: 0 } },
      explanation: 'It only says that it rained.\nScore: 1',
    });
    expect(headers[0].authorization).toBe(`Bearer ${KEY}`);
    expect(bodies[0]).toMatchObject({ model: 'judge-1', temperature: 0, max_tokens: 512 });
    const [{ content }] = bodies[0].messages;
    expect(content).toContain('Rain fell.');
    expect(content).toContain('Rain in Wales.');
    expect(content).not.toContain('It rained in Wales.');
    expect(judge.usage()).toEqual({
      numRequests: 1,
      numStored: 0,
      promptTokens: 100,
      completionTokens: 20,
      numEstimated: 0,
      cost: (100 * 2 + 20 * 10) / 1e6,
    });
  });

  test('can be against the article; parameters replace the defaults; no key, no header', async () => {
    const { url, bodies, headers } = await serve((response) => say(response, 'Score: 0'));
    const parameters = { max_completion_tokens: 9 };
    const judge = chatJudge(options(url, { against: 'article', parameters, apiKey: undefined }));
    const { measured } = await judge.judge(judgeCase);
    expect(measured.hallucination_free).toEqual({ value: 0 });
    expect(bodies[0].messages[0].content).toContain('It rained in Wales.');
    expect(bodies[0]).not.toHaveProperty('temperature');
    expect(bodies[0]).toMatchObject(parameters);
    expect(headers[0]).not.toHaveProperty('authorization');
    // The server reported no usage.
    expect(judge.usage()).toMatchObject({ numEstimated: 1, completionTokens: 2 });
  });

  test('without a score is requested again, in the same conversation', async () => {
    const { url, bodies } = await serve((response, _request, _body, index) =>
      say(response, index === 0 ? 'I think it is fine.' : 'Score: 1'),
    );
    const { measured } = await chatJudge(options(url)).judge(judgeCase);
    expect(measured).toEqual({ hallucination_free: { value: 1 }, unparsed: { value: 0 } });
    expect(bodies[1].messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'user']);
    expect(bodies[1].messages[1].content).toBe('I think it is fine.');
  });

  test.each([null, 'Score: 0.5', 'no idea'])(
    'of %s, always, counts as unparsed, and is not stored',
    async (reply) => {
      const { url, bodies } = await serve((response) => say(response, reply));
      const store = memoryStore();
      const judge = chatJudge(options(url, { store }));
      expect((await judge.judge(judgeCase)).measured).toEqual({ unparsed: { value: 1 } });
      expect(bodies.length).toBe(3);
      expect(store.entries.size).toBe(0);
    },
  );

  test('is stored: another judge sends nothing; the key is not in the store', async () => {
    const { url, bodies } = await serve((response) => say(response, 'Score: 0'));
    const store = memoryStore();
    const first = await chatJudge(options(url, { store })).judge(judgeCase);
    const again = chatJudge(options(url, { store, apiKey: 'another' }));
    expect(await again.judge(judgeCase)).toEqual(first);
    expect(again.usage()).toMatchObject({ numStored: 1, numRequests: 0 });
    await again.judge({ ...judgeCase, output: 'Snow fell.' });
    await chatJudge(options(url, { store, model: 'judge-2' })).judge(judgeCase);
    expect(bodies.length).toBe(3);
    expect(JSON.stringify([...store.entries])).not.toContain(KEY);
  });
});

describe('failures that pass', () => {
  test('429 delays every request for the requested time', async () => {
    const times: number[] = [];
    const { url } = await serve((response, _request, _body, index) => {
      times.push(Date.now());
      if (index === 0) fail(response, 429, '{}', { 'retry-after': '0.3' });
      else say(response, 'Score: 1');
    });
    const judge = chatJudge(options(url, { concurrency: 1 }));
    const outputs = ['a', 'b', 'c'];
    await Promise.all(outputs.map((output) => judge.judge({ ...judgeCase, output })));
    expect(times.length).toBe(4);
    for (const time of times.slice(1)) expect(time - times[0]).toBeGreaterThanOrEqual(290);
  });

  test.each<[string, Handler, timeoutMs?: number]>([
    ['500', (response) => fail(response, 500, 'oops')],
    ['503 with a date', (response) => fail(response, 503, '', { 'retry-after': new Date().toUTCString() })],
    ['408', (response) => fail(response, 408)],
    ['malformed JSON', (response) => response.end('{"choices": [')],
    ['JSON of another shape', (response) => response.end('{"error": {"message": "overloaded"}}')],
    ['a disconnect before the answer', (response) => response.destroy()],
    [
      'a disconnect amid the answer',
      (response) => {
        response.writeHead(200, { 'content-length': '1000' });
        response.write('{"choices"', () => response.destroy());
      },
    ],
    ['silence', () => {}, 500],
  ])('%s is tried again', async (_, handle, timeoutMs) => {
    const { url, bodies } = await serve((response, request, body, index) => {
      if (index < 2) handle(response, request, body, index);
      else say(response, 'Score: 1');
    });
    const judge = chatJudge(options(url, { timeoutMs }));
    expect((await judge.judge(judgeCase)).measured.hallucination_free).toEqual({ value: 1 });
    expect(bodies.length).toBeGreaterThanOrEqual(3);
    expect(judge.usage().numRequests).toBe(bodies.length);
  });
});

describe('failures that stay', () => {
  test('end after all retries with the last reason', async () => {
    const { url, bodies } = await serve((response) => fail(response, 502, `bad gateway ${KEY}`));
    const error = await errorOf(chatJudge(options(url, { retries: 2 })).judge(judgeCase));
    expect(error).toBeInstanceOf(EndpointError);
    expect(error.message).toBe(`${url}/chat/completions: no answer in 3 attempts: 502 bad gateway ***`);
    expect(bodies.length).toBe(3);
  });

  test('a wrong key is reported without the key, after few requests', async () => {
    const { url, bodies } = await serve((response) =>
      fail(
        response,
        401,
        JSON.stringify({ error: { message: `Incorrect API key provided: ${KEY}, sk-s***789` } }),
      ),
    );
    const judge = chatJudge(options(url, { concurrency: 2 }));
    const outputs = Array.from({ length: 40 }, (_, i) => `${i}`);
    const errors = await Promise.all(outputs.map((output) => errorOf(judge.judge({ ...judgeCase, output }))));
    for (const error of errors) {
      expect(error).toBeInstanceOf(EndpointError);
      expect(error.message).toContain('refuses the key that was sent (401)');
      expect(inspect(error, { depth: 9 })).not.toMatch(/sk-s/);
    }
    expect(bodies.length).toBeLessThanOrEqual(2);
    expect(inspect(judge, { depth: 9, showHidden: true })).not.toContain(KEY);
    expect(JSON.stringify(judge)).not.toContain(KEY);
  });

  test.each<[string, number, string, Record<string, string>, RegExp]>([
    [
      'an unknown model',
      404,
      '{"error": "no model judge-1"}',
      {},
      /refuses the request: 404 .*no model judge-1/,
    ],
    [
      'what OpenAI’s error says',
      400,
      '{"error": {"message": "messages: too\\nlong", "type": "invalid_request_error"}}',
      {},
      /refuses the request: 400 messages: too long$/,
    ],
    ['no credit', 429, '{"error": {"code": "insufficient_quota"}}', {}, /insufficient_quota/],
    ['a long wait', 429, '{}', { 'retry-after': '3600' }, /asks to wait 3600 s, expected at most 600 s/],
  ])('%s is not tried again', async (_, status, body, headers, message) => {
    const { url, bodies } = await serve((response) => fail(response, status, body, headers));
    const error = await errorOf(chatJudge(options(url)).judge(judgeCase));
    expect(error).toBeInstanceOf(EndpointError);
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain('\n');
    expect(bodies.length).toBe(1);
  });

  test('nothing listens', async () => {
    const { url } = await serve(() => {});
    await new Promise((resolve) => servers.splice(0)[0].close(resolve));
    const error = await errorOf(chatJudge(options(url, { retries: 1 })).judge(judgeCase));
    expect(error.message).toMatch(
      /cannot be reached: ECONNREFUSED .*; start the server, or correct the address$/,
    );
  });

  test.each([
    ['no address', { url: 'api.example.com/v1' }],
    ['a file', { url: 'file:///v1' }],
    ['a password in the address', { url: 'http://me:sk-secret@127.0.0.1/v1' }],
    ['a key with a line end inside', { apiKey: 'sk-secret\nsk-secret' }],
  ])('%s is refused at once, without secrets', (_, wrong) => {
    const make = () => chatJudge({ ...options('http://127.0.0.1:1/v1'), ...wrong });
    expect(make).toThrow(EndpointError);
    expect(make).toThrow(/^judge: [^\n]*expected(?!.*sk-secret)/);
  });
});

describe('a signal', () => {
  test('aborts running and waiting calls with its reason', async () => {
    const controller = new AbortController();
    const reason = new Error('stopped by the user');
    const { url, bodies } = await serve(() => controller.abort(reason));
    const judge = chatJudge(options(url, { concurrency: 1, signal: controller.signal }));
    const calls = ['a', 'b', 'c'].map((output) => errorOf(judge.judge({ ...judgeCase, output })));
    expect(await Promise.all(calls)).toEqual([reason, reason, reason]);
    expect(bodies.length).toBe(1);
  });

  test('aborts the wait that an endpoint requested', async () => {
    const controller = new AbortController();
    const { url, bodies } = await serve((response) => {
      fail(response, 429, '{}', { 'retry-after': '60' });
      setTimeout(() => controller.abort('stopped'), 50);
    });
    const judge = chatJudge(options(url, { signal: controller.signal }));
    await expect(judge.judge(judgeCase)).rejects.toBe('stopped');
    expect(bodies.length).toBe(1);
  });
});

test('concurrent requests are limited', async () => {
  let [open, most] = [0, 0];
  const { url } = await serve((response) => {
    most = Math.max(most, ++open);
    setTimeout(() => {
      open--;
      say(response, 'Score: 1');
    }, 10);
  });
  const judge = chatJudge(options(url, { concurrency: 3 }));
  const outputs = Array.from({ length: 12 }, (_, i) => `${i}`);
  await Promise.all(outputs.map((output) => judge.judge({ ...judgeCase, output })));
  expect(most).toBe(3);
});

test('requests per minute are limited', async () => {
  const { url, bodies } = await serve((response) => say(response, 'Score: 1'));
  const controller = new AbortController();
  const judge = chatJudge(options(url, { requestsPerMinute: 2, signal: controller.signal }));
  const calls = ['a', 'b', 'c'].map((output) => judge.judge({ ...judgeCase, output }));
  await Promise.all(calls.slice(0, 2));
  controller.abort(new Error('enough'));
  await expect(calls[2]).rejects.toThrow('enough');
  expect(bodies.length).toBe(2);
});

test('a plan lists the requests without sending them', async () => {
  const { url, bodies } = await serve((response) => say(response, 'Score: 1'));
  const store = memoryStore();
  const judge = chatJudge(options(url, { store, prices: { prompt: 1, completion: 1 } }));
  await judge.judge(judgeCase);
  const other = { ...judgeCase, output: 'Snow fell.' };
  const { address, requests, usage } = await judge.plan([judgeCase, other]);
  expect(address).toBe(`${url}/chat/completions`);
  expect(usage).toMatchObject({ numStored: 1, numRequests: 1, completionTokens: 512 });
  expect(usage.cost).toBeCloseTo((usage.promptTokens + 512) / 1e6, 12);
  expect(JSON.stringify(requests)).not.toContain(KEY);
  expect(bodies.length).toBe(1);
  await judge.judge(other);
  expect(requests).toEqual([bodies[1]]);
  const { content } = bodies[1].messages[0];
  expect(usage.promptTokens).toBe(Math.ceil(content.length / 4));
});

describe('parseScore', () => {
  test.each([
    ['Score: 1', 1],
    ['score: 0', 0],
    ['All of it is there.\n\n**Score:** 1', 1],
    ['**Score**: 0\n', 0],
    ['Score: **1**.', 1],
    ['Score: [0]', 0],
    ['SCORE = 1', 1],
    ['Score：1', 1],
    ['Score: 1 (no hallucination)', 1],
    ['Score: 0. The year is invented.', 0],
    ['Score: 1\n\nFinal score: 1', 1],
    ['<think>Score: 0? No.</think>Score: 1', 1],
  ] as const)('%j is %i', (reply, score) => expect(parseScore(reply)).toBe(score));

  test.each([
    '',
    '1',
    'Score',
    'Score: ',
    'Score: 0|1',
    'Score: 0 | 1',
    'Score: 0/1',
    'Score: 1 or 0',
    'Score: 0 out of 1',
    'Score: 0.5',
    'Score: 10',
    'Score: 2',
    'Score: -1',
    'Score: .1',
    'Score: 1%',
    'Score: high',
    'Score: 0\nScore: 1',
    'Score: 0.5, so Score: 1',
    'Underscore: 1',
  ])('%j is none', (reply) => expect(parseScore(reply)).toBeUndefined());
});
