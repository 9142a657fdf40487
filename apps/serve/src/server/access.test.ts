import { request } from 'node:http';
import { ConfigurationError } from '@meap/recipe-cli';
import { afterAll, expect, test } from 'vitest';
import { isLoopback } from './access.ts';
import { type Client, closeRequests, serve } from './testing.ts';

afterAll(closeRequests);

/** Returns the status of a GET with these headers; fetch does not send a custom Host. */
function statusOf(
  client: Client,
  path: string,
  headers: Record<string, string>,
): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const sent = request(new URL(path, client.url), { headers, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    sent.on('error', reject).end();
  });
}

test('loopback addresses and names', () => {
  for (const host of ['localhost', 'LOCALHOST', '127.0.0.1', '127.8.9.1', '::1', '[::1]']) {
    expect(isLoopback(host), host).toBe(true);
  }
  for (const host of [
    '0.0.0.0',
    '::',
    '192.168.0.1',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    '',
  ]) {
    expect(isLoopback(host), host).toBe(false);
  }
});

test('a public address requires a key', async () => {
  await expect(serve({ host: '0.0.0.0' })).rejects.toThrow(ConfigurationError);
  await expect(serve({ host: '0.0.0.0' })).rejects.toThrow(/expected a loopback address or an API key/);
});

test('foreign Host and Origin headers are refused', async () => {
  const client = await serve();
  const { host, origin } = new URL(client.url);
  const status = (headers: Record<string, string>) => statusOf(client, '/v1/models', headers);
  expect(await status({ host })).toBe(200);
  expect(await status({ host: 'localhost:1' })).toBe(200);
  expect(await status({ host, origin })).toBe(200);
  expect(await status({ host: 'evil.example' })).toBe(403);
  expect(await status({ host: 'evil.example:8000', origin: 'http://evil.example:8000' })).toBe(403);
  expect(await status({ host: '127.0.0.1@evil.example' })).toBe(403);
  expect(await status({ host: 'a b' })).toBe(403);
  expect(await status({ host, origin: 'http://evil.example' })).toBe(403);
  expect(await status({ host, origin: 'null' })).toBe(403);
  expect(await status({ host, origin: 'http://localhost:3000' })).toBe(403);
});

test('with a key, only /health is public', async () => {
  const client = await serve({ apiKey: 'secret key' });
  const status = async (authorization?: string, path = '/v1/models') =>
    (await client.get(path, authorization === undefined ? {} : { authorization })).status;
  expect(await status('Bearer secret key')).toBe(200);
  expect(await status('bearer secret key')).toBe(200);
  expect(await status(undefined, '/health')).toBe(200);
  expect(await status(undefined, '/metrics')).toBe(401);
  for (const wrong of [
    undefined,
    '',
    'Bearer',
    'Bearer ',
    'Bearer secret',
    'Bearer secret key2',
    'Basic secret key',
  ]) {
    expect(await status(wrong), wrong).toBe(401);
  }
  const { json, headers } = await client.get('/v1/models', { authorization: 'Bearer x' });
  expect(headers.get('www-authenticate')).toBe('Bearer');
  expect(json.error).toEqual({
    message: "Authorization: got an invalid API key, expected 'Bearer KEY'",
    type: 'authentication_error',
    param: null,
    code: 'invalid_api_key',
  });
  // Unknown paths require the key too.
  expect(await status(undefined, '/nothing')).toBe(401);
});
