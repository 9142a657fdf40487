import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';
import { openRemoteModel, type RemoteModelOptions } from './remote-model.ts';
import { tinyModel } from './testing.ts';

const scored = (numTokens: number) => ({
  choices: [
    {
      text: '',
      logprobs: {
        token_logprobs: Array(numTokens).fill(-1),
        top_logprobs: Array(numTokens).fill({ a: -0.5 }),
      },
    },
  ],
});

type Answer = { status?: number; body: unknown };

/** Serves answers in order, the last one again and again; returns what was asked. */
async function serve(...answers: Answer[]) {
  const asked: { url: string; authorization?: string; body?: Record<string, unknown> }[] = [];
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const part of request) text += part;
    const { authorization } = request.headers;
    asked.push({ url: request.url!, authorization, body: text ? JSON.parse(text) : undefined });
    const { status = 200, body } = answers.length > 1 ? answers.shift()! : answers[0];
    response.writeHead(status).end(typeof body === 'string' ? body : JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return { asked, endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1` };
}

async function open(endpoint: string, more: Partial<RemoteModelOptions> = {}) {
  const model = await openRemoteModel({ endpoint, model: 'org/m', tokenizer: tinyModel, ...more });
  onTestFinished(() => model.dispose());
  return model;
}

const request = { context: [1, 2], continuation: [3] };

it('asks for the log-probabilities of ids, with the key, and again after a fault of the server', async () => {
  const fault = { status: 503, body: 'busy' };
  const { asked, endpoint } = await serve({ body: { max_model_len: 64 } }, fault, { body: scored(4) });
  const model = await open(endpoint, { apiKey: 'secret' });
  expect(model.contextLength).toBe(62);
  expect(await model.score([request])).toEqual([{ logLikelihood: -1, isGreedy: false }]);
  const authorization = 'Bearer secret';
  const body = { model: 'org/m', prompt: [1, 2, 3], max_tokens: 1, temperature: 0, echo: true, logprobs: 1 };
  expect(asked).toEqual([
    { url: '/v1/models/org/m', authorization },
    { url: '/v1/completions', authorization, body },
    { url: '/v1/completions', authorization, body },
  ]);
});

it('has another fingerprint at another address or for another model, and a context that is set', async () => {
  const [a, b] = [await serve({ body: {} }), await serve({ body: {} })];
  const models = [await open(a.endpoint), await open(b.endpoint), await open(a.endpoint, { model: 'n' })];
  expect(new Set(models.map(({ fingerprint }) => fingerprint)).size).toBe(3);
  expect((await open(a.endpoint)).fingerprint).toBe(models[0].fingerprint);
  expect(models[0].contextLength).toBe(2046);
  expect((await open(a.endpoint, { contextLength: 100 })).contextLength).toBe(98);
});

it.each<[string, Answer[], RegExp]>([
  [
    'an unknown model',
    [{ status: 404, body: { error: { message: 'no such model' } } }],
    /models\/org\/m: refuses the request: 404 no such model; for a server that only has chat completions, use --endpoint-api chat$/,
  ],
  [
    'a wrong key',
    [{ status: 401, body: 'wrong key: secret, se***t' }],
    /models\/org\/m: refuses the key that was sent \(401\), expected one that may use it$/,
  ],
  ['a page', [{ body: '<html>' }], /models\/org\/m: expected a model, got <html>; correct the address$/],
  [
    'no log-probabilities',
    [{ body: {} }, { body: { choices: [{ text: '' }] } }],
    /returned no log-probabilities of the prompt; scores need `echo` with `logprobs`$/,
  ],
  [
    'other tokens',
    [{ body: {} }, { body: scored(2) }],
    /returned 2 log-probabilities for 3 tokens; give the tokenizer of its model$/,
  ],
  [
    'a request that is refused, without the key that the server repeats',
    [{ body: {} }, { status: 400, body: { error: { message: 'prompt: too long for Bearer secret' } } }],
    /\/v1\/completions: refuses the request: 400 prompt: too long for Bearer \*\*\*$/,
  ],
])('names %s, in one line with the address', async (_, answers, message) => {
  const { endpoint } = await serve(...answers);
  const run = async () => (await open(`${endpoint}?api-version=key`, { apiKey: 'secret' })).score([request]);
  const error = await run().catch((error) => error);
  expect(error).toMatchObject({ name: 'EndpointError', message: expect.stringMatching(message) });
  expect(error.message).toContain(endpoint);
  expect(inspect(error, { depth: 9 })).not.toMatch(/secret|se\*\*\*t|api-version/);
});

it('refuses a server that is not there, and an address that is none', async () => {
  await expect(open('http://127.0.0.1:9/v1')).rejects.toThrow(
    /^http:\/\/127\.0\.0\.1:9\/v1\/models\/org\/m: cannot be reached: bad port; start the server, or correct the address$/,
  );
  await expect(open('127.0.0.1:8000')).rejects.toThrow(
    'endpoint: the address is wrong, expected one like http://127.0.0.1:8000/v1, without name and password',
  );
});
