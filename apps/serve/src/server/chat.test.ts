import { generate } from '@meap/llama-model';
import { afterAll, expect, test } from 'vitest';
import {
  closeRequests,
  encodeChat,
  plainRequests,
  serve,
  tinyModel,
  tinyRequests,
  tinyTokenizer,
} from './testing.ts';

afterAll(closeRequests);

const messages = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: 'Who sees the whale?' },
] as const;
const PATH = '/v1/chat/completions';

async function expectedIds(maxNewTokens: number): Promise<number[]> {
  const ids: number[] = [];
  const prompt = await encodeChat([...messages]);
  const stopIds = [1];
  for await (const id of generate(tinyModel, prompt, { maxNewTokens, stopIds })) ids.push(id);
  return ids;
}

const decode = (ids: number[]) => tinyTokenizer.decode(ids, { skipSpecialTokens: true });

test('answers messages', async () => {
  const client = await serve();
  const { status, json } = await client.post(PATH, {
    model: 'tiny',
    messages,
    temperature: 0,
    max_tokens: 8,
  });
  expect(status).toBe(200);
  const ids = await expectedIds(8);
  const numPromptTokens = (await encodeChat([...messages])).length;
  expect(json).toEqual({
    id: expect.stringMatching(/^chatcmpl-/),
    object: 'chat.completion',
    created: expect.any(Number),
    model: 'tiny',
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: await decode(ids), refusal: null },
        logprobs: null,
        finish_reason: 'length',
      },
    ],
    usage: { prompt_tokens: numPromptTokens, completion_tokens: 8, total_tokens: numPromptTokens + 8 },
  });
});

test('stop ids end an answer, which is otherwise limited by the context only', async () => {
  const [, , , fourth] = await expectedIds(4);
  const requests = await tinyRequests();
  const stoppedBy = (chatStopIds: number[]) =>
    serve({
      requests: {
        chatStopIds,
        completion: (...request) => requests.completion(...request),
        chat: (...request) => requests.chat(...request),
      },
    });
  const client = await stoppedBy([fourth]);
  const { json } = await client.post(PATH, { messages, temperature: 0, logprobs: true });
  expect(json.choices[0].finish_reason).toBe('stop');
  expect(json.usage.completion_tokens).toBeLessThanOrEqual(4);
  // The stop id is not part of the answer.
  expect(json.choices[0].logprobs.content).toHaveLength(json.usage.completion_tokens - 1);
  const endless = await stoppedBy([]);
  const full = (await endless.post(PATH, { messages, temperature: 0 })).json;
  if (full.choices[0].finish_reason === 'length') expect(full.usage.total_tokens).toBe(128);
});

test('accepts contents in parts, the developer role and earlier answers', async () => {
  const client = await serve();
  const ask = async (conversation: unknown) => {
    const body = { messages: conversation, temperature: 0, max_tokens: 6 };
    return (await client.post(PATH, body)).json.choices[0].message;
  };
  const answer = await ask(messages);
  const parts = [{ role: 'developer', content: [{ type: 'text', text: 'Be brief.' }] }, messages[1]];
  expect(await ask(parts)).toEqual(answer);
  const earlier = { ...answer, annotations: [], audio: null, function_call: null, tool_calls: null };
  expect(await ask([...messages, earlier, { role: 'user', content: 'Why?' }])).toMatchObject({
    role: 'assistant',
  });
  const refused = await client.post(PATH, { messages: [messages[1], messages[1]] });
  expect(refused).toMatchObject({
    status: 400,
    json: {
      error: { message: expect.stringMatching(/^messages: .*roles must alternate/), param: 'messages' },
    },
  });
});

test('log-probabilities with bytes', async () => {
  const client = await serve();
  const body = { messages, temperature: 0, max_tokens: 6, logprobs: true, top_logprobs: 2 };
  const [{ message, logprobs }] = (await client.post(PATH, body)).json.choices;
  expect(logprobs.content).toHaveLength(6);
  const bytes = logprobs.content.flatMap((token: { bytes: number[] }) => token.bytes);
  expect(new TextDecoder().decode(Uint8Array.from(bytes))).toBe(message.content);
  for (const { token, logprob, top_logprobs } of logprobs.content) {
    expect(top_logprobs).toHaveLength(2);
    expect(top_logprobs[0]).toMatchObject({ token, logprob });
    expect(top_logprobs[1].logprob).toBeLessThanOrEqual(logprob);
  }
  const plain = { ...body, top_logprobs: undefined };
  const [first] = (await client.post(PATH, plain)).json.choices[0].logprobs.content;
  expect(first).toEqual({ ...logprobs.content[0], top_logprobs: [] });
});

test('streams', async () => {
  const client = await serve();
  const body = { messages, temperature: 1, seed: 5, n: 2, max_completion_tokens: 12 };
  const { choices, usage } = (await client.post(PATH, body)).json;
  const events = await client.stream(PATH, { ...body, stream_options: { include_usage: true } });
  expect(events.pop()).toBe('[DONE]');
  expect(events.pop()).toMatchObject({ object: 'chat.completion.chunk', choices: [], usage });
  expect(events.every((event) => event.usage === null)).toBe(true);
  for (const { index, message, finish_reason } of choices) {
    const mine = events.map((event) => event.choices[0]).filter((choice) => choice.index === index);
    expect(mine[0].delta).toEqual({ role: 'assistant', content: '' });
    expect(mine.map(({ delta }) => delta.content ?? '').join('')).toBe(message.content);
    expect(mine.at(-1)).toMatchObject({ delta: expect.any(Object), finish_reason });
  }
});

test('reports a missing chat template', async () => {
  const { status, json } = await (await serve({ requests: await plainRequests() })).post(PATH, { messages });
  expect(status).toBe(400);
  expect(json.error.message).toMatch(/has no chat template; use \/v1\/completions/);
});
