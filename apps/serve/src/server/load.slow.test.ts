/** Many clients, slow clients, clients that disconnect, and shutdown. */
import * as tf from '@tensorflow/tfjs';
import { afterAll, expect, test } from 'vitest';
import { closeRequests, serve, tinyModel, until } from './testing.ts';

afterAll(closeRequests);

const LONG = { prompt: [0, 40, 50], temperature: 0, max_tokens: 120 };

const LEFT = 'meap_requests_total{path="/v1/completions",status="499"}';

const isBusy = (client: Awaited<ReturnType<typeof serve>>) =>
  client.metric('meap_sequences_running').then((running) => running > 0);

test('200 concurrent clients each get their own answer', async () => {
  const client = await serve();
  const prompts = Array.from({ length: 10 }, (_, i) => [0, 30 + i, 60, 70 + 2 * i]);
  const body = (i: number) => ({ prompt: prompts[i % 10], temperature: 0, max_tokens: 12 });
  const alone: string[] = [];
  for (const i of prompts.keys()) alone.push((await client.complete(body(i))).json.choices[0].text);
  const crowd = Array.from({ length: 200 }, async (_, i) => {
    if (i % 2 === 0) return (await client.complete(body(i))).json.choices[0].text;
    const events = await client.stream('/v1/completions', body(i));
    return events
      .slice(0, -1)
      .map(({ choices }) => choices[0].text)
      .join('');
  });
  const texts = await Promise.all(crowd);
  for (const [i, text] of texts.entries()) expect(text).toBe(alone[i % 10]);
});

test('a request of many prompts does not delay others', async () => {
  const client = await serve({ limits: { maxBatch: 2 } });
  const many = client.complete({ ...LONG, prompt: Array.from({ length: 24 }, () => [0, 40, 50]) });
  let isManyDone = false;
  void many.then(() => {
    isManyDone = true;
  });
  await until(() => isBusy(client));
  expect((await client.complete({ ...LONG, max_tokens: 2 })).status).toBe(200);
  expect(isManyDone).toBe(false);
  expect((await many).json.choices).toHaveLength(24);
});

test('requests are refused while the queue is full', async () => {
  const client = await serve({ limits: { maxBatch: 1, maxQueue: 2 } });
  const taken = Array.from({ length: 3 }, () => client.complete(LONG));
  await until(async () => (await client.metric('meap_sequences_waiting')) === 2);
  const refused = await client.complete(LONG);
  expect(refused).toMatchObject({
    status: 429,
    json: { error: { type: 'rate_limit_error', code: 'queue_full' } },
  });
  expect(refused.headers.get('retry-after')).toBe('1');
  for (const { status } of await Promise.all(taken)) expect(status).toBe(200);
  expect((await client.complete({ ...LONG, n: 3 })).status).toBe(200);
  // A request that can never fit is refused with status 400.
  expect(await client.complete({ ...LONG, n: 4 })).toMatchObject({
    status: 400,
    json: { error: { message: 'n: got 4 answers, expected at most 3; request fewer' } },
  });
});

test('a disconnected client cancels its computation, streamed or not, running or waiting', async () => {
  const client = await serve({ limits: { maxBatch: 1 } });
  const tensors = tf.memory().numTensors;
  for (const stream of [true, false]) {
    const leave = new AbortController();
    const body = { ...LONG, n: 50, stream };
    const answer = client.post('/v1/completions', body, { signal: leave.signal });
    await until(() => isBusy(client));
    leave.abort();
    await expect(answer).rejects.toThrow();
    await until(async () => !(await isBusy(client)));
    expect(await client.metric('meap_sequences_waiting')).toBe(0);
    expect(await client.metric('meap_generated_tokens_total')).toBeLessThan(50 * 120);
  }
  expect(tf.memory().numTensors).toBe(tensors);
  expect(await client.metric(LEFT)).toBe(2);
  expect((await client.complete(LONG)).status).toBe(200);
});

test('a client that does not read delays no other and is disconnected', async () => {
  const client = await serve({ limits: { maxBatch: 4, stallTimeout: 300 } });
  // About 15 MB, more than the socket buffers hold.
  const prompt = Array.from({ length: 128 }, (_, i) => 2 + i);
  const scored = {
    prompt: Array.from({ length: 200 }, () => prompt),
    max_tokens: 0,
    echo: true,
    logprobs: 20,
  };
  const response = await client.open('/v1/completions', { ...scored, stream: true });
  const closed = new Promise((resolve) => response.once('close', resolve));
  response.pause();
  response.on('error', () => {});
  expect((await client.complete({ ...LONG, max_tokens: 3 })).status).toBe(200);
  await until(async () => (await client.metric(LEFT)) === 1);
  expect(await isBusy(client)).toBe(false);
  response.resume();
  await closed;
  expect(response.complete).toBe(false);
  expect((await client.complete({ ...LONG, max_tokens: 3 })).status).toBe(200);
});

test('a slow client gets its whole answer', async () => {
  const client = await serve({ limits: { stallTimeout: 2000 } });
  const body = { ...LONG, prompt: Array.from({ length: 20 }, () => [0, 40, 50]), logprobs: 20, stream: true };
  const response = await client.open('/v1/completions', body);
  let text = '';
  for await (const chunk of response) {
    text += chunk;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
  expect(text.match(/"finish_reason":"(length|stop)"/g)).toHaveLength(20);
});

test('a request has a timeout', async () => {
  const client = await serve({ limits: { requestTimeout: 30, maxBatch: 1 } });
  const body = { ...LONG, n: 100 };
  const late = await client.complete(body);
  expect(late).toMatchObject({ status: 504, json: { error: { code: 'timeout', type: 'server_error' } } });
  const events = await client.stream('/v1/completions', body);
  expect(events.at(-1)).toMatchObject({ error: { code: 'timeout' } });
  await until(async () => !(await isBusy(client)));
});

test('closing lets requests finish', async () => {
  const client = await serve({ limits: { maxBatch: 1 } });
  const answers = [client.complete({ ...LONG, n: 4 }), client.stream('/v1/completions', { ...LONG, n: 4 })];
  await until(async () => (await client.metric('meap_sequences_waiting')) >= 6);
  await client.server.close();
  const [whole, events] = await Promise.all(answers);
  expect(whole).toMatchObject({ status: 200 });
  expect((events as unknown[]).at(-1)).toBe('[DONE]');
  await expect(client.get('/health')).rejects.toThrow();
});

test('requests that do not finish in time get an error', async () => {
  const client = await serve({ limits: { maxBatch: 1, shutdownTimeout: 20 } });
  const body = { ...LONG, n: 100 };
  const answers = [client.complete(body), client.stream('/v1/completions', body)] as const;
  await until(async () => (await client.metric('meap_sequences_waiting')) > 150);
  await client.server.close();
  const [whole, events] = await Promise.all(answers);
  expect(whole).toMatchObject({ status: 503, json: { error: { code: 'shutting_down' } } });
  expect(events.at(-1)).toMatchObject({ error: { code: 'shutting_down' } });
});

test('no tensors or handles leak', async () => {
  const mixed = async () => {
    const client = await serve();
    await Promise.all([
      client.complete({ ...LONG, n: 3 }),
      client.complete({ prompt: [1, 2, 3], echo: true, logprobs: 2, max_tokens: 3 }),
      client.complete({ prompt: [1, 2, 3], echo: true, logprobs: 2, max_tokens: 0 }),
      client.stream('/v1/completions', { ...LONG, stop: 'e' }),
      client.complete({ prompt: 'x'.repeat(5000) }),
    ]);
    await client.server.close();
  };
  await mixed();
  const tensors = tf.memory().numTensors;
  const handles = process.getActiveResourcesInfo().length;
  for (let i = 0; i < 3; i++) await mixed();
  expect(tf.memory().numTensors).toBe(tensors);
  await until(() => process.getActiveResourcesInfo().length <= handles);
  expect(tinyModel.parameters.size).toBeGreaterThan(0);
});
