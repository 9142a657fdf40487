import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { languageModelOf, openRemoteModel } from '@meap/inference';
import { addLora, generate, Llama } from '@meap/llama-model';
import * as tf from '@tensorflow/tfjs';
import { afterAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { closeRequests, serve, tinyModel, tinyTokenizer } from './testing.ts';

afterAll(closeRequests);

const PROMPT = [0, 40, 50, 60, 70];

async function generated(ids: readonly number[], options: object, model = tinyModel): Promise<number[]> {
  const all: number[] = [];
  for await (const id of generate(model, ids, options)) all.push(id);
  return all;
}

const decode = (ids: ArrayLike<number>) => tinyTokenizer.decode(ids, { skipSpecialTokens: true });

/** Log-probabilities at every position of a row, from one forward pass. */
function referenceLogProbabilities(ids: readonly number[]): number[][] {
  return tf.tidy(() => {
    const logits = tinyModel.logits(tf.tensor2d(ids as number[], [1, ids.length], 'int32'));
    return tf.logSoftmax(logits).squeeze<tf.Tensor2D>([0]).arraySync();
  });
}

describe('/v1/completions', () => {
  test('equals greedy generate', async () => {
    const client = await serve();
    const body = { model: 'tiny', prompt: 'The captain', temperature: 0, max_tokens: 9 };
    const { status, json } = await client.complete(body);
    expect(status).toBe(200);
    const ids = [...(await tinyTokenizer.encode('The captain'))];
    expect(ids[0]).toBe(0);
    const expected = await generated(ids, { maxNewTokens: 9 });
    expect(json).toMatchObject({
      id: expect.stringMatching(/^cmpl-/),
      object: 'text_completion',
      model: 'tiny',
      choices: [{ index: 0, logprobs: null, finish_reason: 'length' }],
      usage: { prompt_tokens: ids.length, completion_tokens: 9, total_tokens: ids.length + 9 },
    });
    expect(json.choices[0].text).toBe(await decode(expected));
  });

  test('answers lists of texts, ids and lists of ids in order', async () => {
    const client = await serve();
    const one = async (prompt: unknown) =>
      (await client.complete({ prompt, temperature: 0, max_tokens: 5 })).json.choices;
    const ids = [...(await tinyTokenizer.encode('A whale'))];
    const [text] = await one('A whale');
    expect(await one(ids)).toEqual([text]);
    const [sailor] = await one('a sailor');
    const both = [text, { ...sailor, index: 1 }];
    expect(await one(['A whale', 'a sailor'])).toEqual(both);
    expect(await one([ids, [...(await tinyTokenizer.encode('a sailor'))]])).toEqual(both);
  });

  test('the tokenizer’s BOS is optional and not doubled', async () => {
    const client = await serve();
    const tokens = async (prompt: string, rest = {}) => {
      const body = { prompt, max_tokens: 0, echo: true, logprobs: 0, ...rest };
      return (await client.complete(body)).json.choices[0].logprobs.tokens;
    };
    const [bos, ...ordinary] = await tokens('sees');
    expect(bos).toBe('<s>');
    expect(await tokens('sees', { add_special_tokens: false })).toEqual(ordinary);
    expect(await tokens('<s>sees')).toEqual([bos, ...ordinary]);
    const plain = await serve({ addSpecialTokens: false });
    const body = { prompt: 'sees', max_tokens: 0, echo: true, logprobs: 0 };
    expect((await plain.complete(body)).json.choices[0].logprobs.tokens).toEqual(ordinary);
  });

  test('a seed is reproducible, also in a batch; n answers differ', async () => {
    const client = await serve();
    const body = { prompt: PROMPT, temperature: 1, top_p: 0.9, max_tokens: 12, seed: 7 };
    const expected = await generated(PROMPT, { temperature: 1, topP: 0.9, maxNewTokens: 12, seed: 7 });
    const crowd = Array.from({ length: 6 }, (_, seed) => client.complete({ ...body, seed: seed + 5 }));
    const texts = (await Promise.all(crowd)).map(({ json }) => json.choices[0].text);
    expect(texts[2]).toBe(await decode(expected));
    const { json } = await client.complete({ ...body, n: 3 });
    expect(json.choices.map(({ text }: { text: string }) => text)).toEqual(texts.slice(2, 5));
    expect(new Set(texts).size).toBeGreaterThan(3);
    expect(json.usage.prompt_tokens).toBe(PROMPT.length);
    const negative = { ...body, seed: -1 };
    expect((await client.complete(negative)).json.choices).toEqual(
      (await client.complete(negative)).json.choices,
    );
    const free = await Promise.all(Array.from({ length: 4 }, () => client.complete({ ...body, seed: null })));
    expect(new Set(free.map((answer) => answer.json.choices[0].text)).size).toBeGreaterThan(1);
  });

  test('a stop sequence ends the answer and is omitted, streamed or not', async () => {
    const client = await serve();
    const body = { prompt: PROMPT, temperature: 0, max_tokens: 40 };
    const whole = (await client.complete(body)).json.choices[0].text;
    const stop = whole.slice(9, 12);
    const expected = whole.slice(0, whole.indexOf(stop));
    const stopped = (await client.complete({ ...body, stop })).json;
    expect(stopped.choices[0]).toMatchObject({ text: expected, finish_reason: 'stop' });
    expect(stopped.usage.completion_tokens).toBeLessThan(40);
    const events = await client.stream('/v1/completions', { ...body, stop: ['never there', stop] });
    const text = events.slice(0, -1).map(({ choices }) => choices[0].text);
    expect(text.join('')).toBe(expected);
    expect(events.at(-2).choices[0].finish_reason).toBe('stop');
  });

  test('the model’s EOS ends the answer', async () => {
    const all = await generated(PROMPT, { maxNewTokens: 8 });
    const config = { ...tinyModel.config, eos_token_id: [5, all[3]] };
    const client = await serve({ model: new Llama(config, tinyModel.parameters) });
    const body = { prompt: PROMPT, temperature: 0, max_tokens: 8, logprobs: 0 };
    const { choices, usage } = (await client.complete(body)).json;
    const end = all.indexOf(all[3]);
    expect(choices[0].finish_reason).toBe('stop');
    expect(usage.completion_tokens).toBe(end + 1);
    expect(choices[0].logprobs.tokens).toHaveLength(end + 1);
  });

  test('echo with logprobs equals one forward pass', async () => {
    const client = await serve();
    const ids = Array.from({ length: 100 }, (_, i) => (i * 37 + 11) % 320);
    const log = referenceLogProbabilities(ids);
    const bodies = [
      { max_tokens: 0 },
      { max_tokens: 1, temperature: 0 },
      { max_tokens: 5, temperature: 0.7, seed: 1 },
    ];
    for (const rest of bodies) {
      const body = { prompt: ids, echo: true, logprobs: 3, ...rest };
      const [{ logprobs, text }] = (await client.complete(body)).json.choices;
      expect(logprobs.token_logprobs).toHaveLength(100 + rest.max_tokens);
      expect(logprobs.token_logprobs[0]).toBeNull();
      expect(logprobs.top_logprobs[0]).toBeNull();
      for (let i = 1; i < 100; i++) {
        expect(Math.abs(logprobs.token_logprobs[i] - log[i - 1][ids[i]])).toBeLessThan(1e-4);
        const top = Object.values<number>(logprobs.top_logprobs[i]);
        expect(top.length).toBeLessThanOrEqual(4);
        expect(Math.abs(Math.max(...top) - Math.max(...log[i - 1]))).toBeLessThan(1e-4);
      }
      expect(text.startsWith(await decode(ids))).toBe(true);
    }
  });

  test('text_offset counts code points', async () => {
    const client = await serve();
    const prompt = 'The captain sees 3 whales, é 😀 ü, and';
    const body = { prompt, temperature: 0, max_tokens: 0, echo: true, logprobs: 0 };
    const [{ text, logprobs }] = (await client.complete(body)).json.choices;
    expect(text).toBe(prompt);
    const points = Array.from(prompt);
    let parts = 0;
    for (const [i, token] of logprobs.tokens.entries()) {
      const offset = logprobs.text_offset[i];
      if (token.startsWith('bytes:')) parts++;
      else if (token !== '<s>') expect(points.slice(offset).join('')).toMatch(new RegExp(`^${token}`));
    }
    expect(parts).toBeGreaterThan(1);
    expect(logprobs.text_offset.slice(0, 2)).toEqual([0, 0]);
  });

  test('logprobs of new tokens do not depend on the temperature', async () => {
    const client = await serve();
    const body = { prompt: PROMPT, temperature: 1.5, seed: 3, max_tokens: 6, logprobs: 2 };
    const [{ logprobs }] = (await client.complete(body)).json.choices;
    const ids = await generated(PROMPT, { temperature: 1.5, seed: 3, maxNewTokens: 6 });
    const log = referenceLogProbabilities([...PROMPT, ...ids]);
    for (const [i, id] of ids.entries()) {
      expect(logprobs.token_logprobs[i]).toBeCloseTo(log[PROMPT.length - 1 + i][id], 4);
    }
  });

  test('streams the same text, and the usage if requested', async () => {
    const client = await serve();
    const body = { prompt: ['A whale', 'a sailor'], temperature: 0, max_tokens: 20, echo: true, logprobs: 1 };
    const { choices, usage } = (await client.complete(body)).json;
    const options = { stream_options: { include_usage: true } };
    const events = await client.stream('/v1/completions', { ...body, ...options });
    expect(events.pop()).toBe('[DONE]');
    expect(events.pop()).toMatchObject({ object: 'text_completion', choices: [], usage });
    for (const { index, text, logprobs, finish_reason } of choices) {
      const mine = events.map((event) => event.choices[0]).filter((choice) => choice.index === index);
      expect(mine.map((choice) => choice.text).join('')).toBe(text);
      expect(mine.flatMap((choice) => choice.logprobs.tokens)).toEqual(logprobs.tokens);
      expect(mine.flatMap((choice) => choice.logprobs.text_offset)).toEqual(logprobs.text_offset);
      expect(mine.at(-1).finish_reason).toBe(finish_reason);
    }
    expect(new Set(events.map(({ id }) => id)).size).toBe(1);
  });

  test('a prompt may fill the context; one more token is refused', async () => {
    const client = await serve();
    const ids = Array.from({ length: 128 }, (_, i) => i % 300);
    const scored = await client.complete({ prompt: ids, max_tokens: 0, echo: true, logprobs: 1 });
    expect(scored.json.choices[0].logprobs.token_logprobs).toHaveLength(128);
    expect((await client.complete({ prompt: ids.slice(1) })).json.usage.completion_tokens).toBeLessThan(2);
    const refused = await client.complete({ prompt: ids });
    expect(refused).toMatchObject({
      status: 400,
      json: { error: { code: 'context_length_exceeded', param: 'prompt' } },
    });
    expect(refused.json.error.message).toMatch(/128 tokens and at least 1 new exceed the context of 128/);
    const small = await serve({ limits: { maxContext: 20 } });
    expect((await small.complete({ prompt: ids.slice(0, 15), max_tokens: 6 })).status).toBe(400);
    expect((await small.complete({ prompt: ids.slice(0, 15), max_tokens: 5 })).status).toBe(200);
  });
});

test('/v1/models, /health and unknown paths', async () => {
  const client = await serve({ name: 'org/tiny' });
  const model = {
    id: 'org/tiny',
    object: 'model',
    created: expect.any(Number),
    owned_by: 'meap',
    max_model_len: 128,
  };
  expect((await client.get('/v1/models')).json).toEqual({ object: 'list', data: [model] });
  expect((await client.get('/v1/models/org/tiny')).json).toEqual(model);
  expect((await client.get('/v1/models/org%2Ftiny')).json).toEqual(model);
  expect(await client.get('/v1/models/other')).toMatchObject({
    status: 404,
    json: { error: { code: 'model_not_found' } },
  });
  expect((await client.get('/health')).json).toEqual({ status: 'ok' });
  expect(await client.get('/v1/nothing?key=1')).toMatchObject({
    status: 404,
    json: {
      error: { message: 'GET /v1/nothing: not found', type: 'not_found_error', param: null, code: null },
    },
  });
  expect((await client.complete({ model: 'gpt-4', prompt: 'x' })).json.error).toMatchObject({
    param: 'model',
    message: "model: not found, got 'gpt-4', expected 'org/tiny'",
  });
});

test('/metrics counts', async () => {
  const client = await serve();
  await client.complete({ prompt: PROMPT, max_tokens: 4, temperature: 0 });
  await client.complete({ prompt: 5 });
  const { text, headers } = await client.get('/metrics');
  expect(headers.get('content-type')).toMatch(/^text\/plain/);
  expect(text).toContain('meap_requests_total{path="/v1/completions",status="200"} 1');
  expect(text).toContain('meap_requests_total{path="/v1/completions",status="400"} 1');
  expect(await client.metric('meap_prompt_tokens_total')).toBe(5);
  expect(await client.metric('meap_generated_tokens_total')).toBe(4);
  expect(await client.metric('meap_first_token_seconds_count')).toBe(1);
  expect(await client.metric('meap_request_seconds_sum')).toBeGreaterThan(
    await client.metric('meap_first_token_seconds_sum'),
  );
});

test('an error of the model is reported without details, and the server continues', async () => {
  const client = await serve();
  const log = vi.spyOn(console, 'error').mockImplementation(() => {});
  vi.spyOn(tinyModel, 'hidden').mockImplementationOnce(() => {
    throw new Error('out of memory at 0x1234');
  });
  const { status, text, json } = await client.complete({ prompt: PROMPT, max_tokens: 3 });
  expect(status).toBe(500);
  expect(json.error).toMatchObject({ type: 'server_error', code: 'internal_error' });
  expect(text).not.toContain('0x1234');
  expect(log).toHaveBeenCalledOnce();
  vi.restoreAllMocks();
  expect((await client.complete({ prompt: PROMPT, max_tokens: 3 })).status).toBe(200);
});

test('the client of @meap/inference scores and generates as with the model in memory', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'meap-remote-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  tinyTokenizer.save(folder);
  const { url } = await serve();
  const remote = await openRemoteModel({ endpoint: `${url}/`, model: 'tiny', tokenizer: folder });
  onTestFinished(() => remote.dispose());
  const local = await languageModelOf(tinyModel, tinyTokenizer);
  onTestFinished(() => local.dispose());
  expect(remote).toMatchObject({ name: 'tiny', contextLength: 126 });
  expect(remote.tokenizer.encode('The captain')).toEqual(local.tokenizer.encode('The captain'));

  const ids = (seed: number, length: number) =>
    Array.from({ length }, (_, i) => ((i + 3) * (seed + 7) * 31) % 320);
  const requests = Array.from({ length: 20 }, (_, i) => ({
    context: ids(i, 1 + ((i * 7) % 40)),
    continuation: ids(i + 50, 1 + (i % 5)),
  }));
  requests.push({ context: ids(1, 120), continuation: ids(2, 7) });
  // The most probable continuation too.
  const [{ ids: greedy }] = await local.generate([{ prompt: ids(1, 9), maxNewTokens: 3 }]);
  requests.push({ context: ids(1, 9), continuation: [...greedy] });
  const [got, want] = [await remote.score(requests), await local.score(requests)];
  for (const [i, { logLikelihood, isGreedy }] of want.entries()) {
    expect(got[i].logLikelihood).toBeCloseTo(logLikelihood, 4);
    expect(got[i].isGreedy).toBe(isGreedy);
  }
  expect(got.at(-1)!.isGreedy).toBe(true);

  const texts = Array.from({ length: 10 }, (_, i) => ({
    prompt: ids(i, 5 + i),
    maxNewTokens: 12,
    ...(i % 2 === 1 && { temperature: 0.9, seed: i }),
    ...(i % 3 === 1 && { stop: ['a'] }),
  }));
  const [remotely, locally] = [await remote.generate(texts), await local.generate(texts)];
  for (const [i, { text, finish }] of locally.entries()) expect(remotely[i]).toMatchObject({ text, finish });
});

test('requests choose among adapters that share the weights', async () => {
  const model = tinyModel.share();
  onTestFinished(() => model.dispose());
  const { parameters } = addLora(model, { rank: 2, seed: 0 });
  for (const parameter of parameters.values()) {
    tf.tidy(() => parameter.assign(tf.randomNormal(parameter.shape, 0, 0.7, 'float32', 3) as tf.Variable));
  }
  // The last 200 ids are rows of other models.
  const adapters = new Map([
    ['german', { model, vocabularySize: 320, tokenizer: tinyTokenizer }],
    ['few', { model, vocabularySize: 120, tokenizer: tinyTokenizer }],
  ]);
  const client = await serve({ adapters });
  const body = { prompt: PROMPT, temperature: 0, max_tokens: 9 };
  const [own, adapted, few] = await Promise.all(
    ['tiny', 'german', 'few'].map(
      async (model) => (await client.complete({ ...body, model, logprobs: 1 })).json,
    ),
  );
  expect(own.choices[0].text).toBe(await decode(await generated(PROMPT, { maxNewTokens: 9 })));
  expect(adapted.model).toBe('german');
  expect(adapted.choices[0].text).toBe(await decode(await generated(PROMPT, { maxNewTokens: 9 }, model)));
  expect(adapted.choices[0].text).not.toBe(own.choices[0].text);
  const logitBias = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [120 + i, -100]));
  const wanted = await generated(PROMPT, { maxNewTokens: 9, logitBias }, model);
  expect(few.choices[0].text).toBe(await decode(wanted));
  const first: Record<string, number> = few.choices[0].logprobs.top_logprobs[0];
  expect(Math.max(...Object.values(first))).toBeLessThan(0);
  expect(await client.complete({ ...body, model: 'few', prompt: [0, 200] })).toMatchObject({
    status: 400,
    json: { error: { message: 'prompt: got token id 200, expected ids from 0 to 119' } },
  });

  const { data } = (await client.get('/v1/models')).json;
  expect(data.map(({ id, parent }: { id: string; parent?: string }) => [id, parent])).toEqual([
    ['tiny', undefined],
    ['german', 'tiny'],
    ['few', 'tiny'],
  ]);
  expect((await client.get('/v1/models/german')).json).toEqual(data[1]);
  const message = "model: not found, got 'french', expected 'tiny' or 'german' or 'few'";
  expect(await client.complete({ ...body, model: 'french' })).toMatchObject({
    status: 404,
    json: { error: { message, code: 'model_not_found', param: 'model' } },
  });
});
