import { generate } from '@meap/llama-model';
import * as tf from '@tensorflow/tfjs';
import { Ajv } from 'ajv';
import { afterAll, describe, expect, test } from 'vitest';
import { readTools } from './read-tools.ts';
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
        response: (...request) => requests.response(...request),
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

const schema = {
  type: 'object',
  properties: {
    who: { enum: ['captain', 'sailor'] },
    whales: { type: 'integer', minimum: 0, maximum: 30 },
    names: { type: 'array', items: { type: 'string', maxLength: 2 }, maxItems: 2 },
  },
  required: ['who', 'whales'],
  additionalProperties: false,
};
const format = (of: object) => ({
  type: 'json_schema',
  json_schema: { name: 'answer', strict: true, schema: of },
});
const validate = new Ajv().compile(schema);

describe('response_format', () => {
  test('answers satisfy the schema, in batches and streams, under every sampling option', async () => {
    const client = await serve();
    const options = [
      { temperature: 1, seed: 1, n: 3, frequency_penalty: 1 },
      { temperature: 0, repetition_penalty: 1e300, logit_bias: { 9: 100, 1: 100 } },
    ];
    let numWhole = 0;
    for (const sampling of options) {
      const body = { messages, response_format: format(schema), max_tokens: 60, ...sampling };
      const { status, json } = await client.post(PATH, body);
      expect(status, JSON.stringify(json)).toBe(200);
      const texts: string[] = json.choices.map(
        (choice: { message: { content: string } }) => choice.message.content,
      );
      for (const [i, { finish_reason: finish }] of json.choices.entries()) {
        if (finish === 'length') continue;
        expect(finish).toBe('stop');
        numWhole++;
        expect(validate(JSON.parse(texts[i])), texts[i]).toBe(true);
      }
      const streamed = texts.map(() => '');
      for (const event of (await client.stream(PATH, body)).slice(0, -1)) {
        for (const { index, delta } of event.choices) streamed[index] += delta.content ?? '';
      }
      expect(streamed).toEqual(texts);
    }
    expect(numWhole).toBeGreaterThan(1);
  });

  test('greedy answers equal those of a plain masked model', async () => {
    const values = ['captain', 'cat', 'a sailor', '', 12, 123];
    const allowed = values.map((value) => JSON.stringify(value));
    const texts = await Promise.all(
      Array.from({ length: tinyTokenizer.vocabSize }, (_, id) =>
        tinyTokenizer.decode([id], { skipSpecialTokens: true }),
      ),
    );
    const prompt = [0, 40, 50, 60, 70];
    const ids = [...prompt];
    let text = '';
    for (;;) {
      const logits = tf.tidy(() =>
        tinyModel
          .logits(tf.tensor2d(ids, [1, ids.length], 'int32'))
          .squeeze<tf.Tensor2D>([0])
          .arraySync(),
      );
      const bias = (id: number) => (id === 1 ? 3 : 0);
      const isAllowed = (id: number) =>
        id === 1
          ? allowed.includes(text)
          : texts[id] !== '' && allowed.some((value) => value.startsWith(text + texts[id]));
      const scores = logits
        .at(-1)!
        .map((logit, id) => (isAllowed(id) ? logit + bias(id) : Number.NEGATIVE_INFINITY));
      const best = scores.indexOf(Math.max(...scores));
      if (best === 1) break;
      ids.push(best);
      text += texts[best];
      if (allowed.includes(text) && text !== '12') break;
    }
    const client = await serve();
    const body = {
      prompt,
      response_format: format({ enum: values }),
      temperature: 0,
      logit_bias: { 1: 3 },
      max_tokens: 20,
    };
    const { json } = await client.complete({ ...body, logprobs: 0 });
    expect(json.choices[0]).toMatchObject({ text, finish_reason: 'stop' });
    expect(json.choices[0].logprobs.tokens.slice(0, ids.length - 5).join('')).toBe(text);
    const cut = (await client.complete({ ...body, max_tokens: 1 })).json.choices[0];
    expect(cut).toEqual({ ...cut, text: texts[ids[5]], finish_reason: 'length' });
  });

  test('of other shapes and schemas is refused by name', async () => {
    const client = await serve();
    const refused = async (of: unknown, param: string, message: string) => {
      const { status, json } = await client.post(PATH, { messages, max_tokens: 1, response_format: of });
      expect([status, json.error.param]).toEqual([400, param]);
      expect(json.error.message).toContain(message);
    };
    await refused({ type: 'xml' }, 'response_format.type', "'json_schema'");
    await refused({ type: 'json_schema' }, 'response_format.json_schema', 'expected object');
    await refused(
      format({ properties: { a: { not: {} } } }),
      'response_format.json_schema.schema.properties.a',
      'keyword "not" is not supported',
    );
    for (const type of ['text', 'json_object']) {
      const { status } = await client.post(PATH, { messages, max_tokens: 1, response_format: { type } });
      expect(status).toBe(200);
    }
  });
});

describe('tools', () => {
  const at = { type: 'object', properties: { at: { enum: ['sea', 'sky'] } }, required: ['at'] };
  const tools = ['look', 'sail'].map((name) => ({
    type: 'function',
    function: { name, description: 'd', parameters: at },
  }));
  const hi = [{ role: 'user', content: 'Hi' }];
  const body = { messages: hi, tools, temperature: 1, seed: 3, max_tokens: 90, parallel_tool_calls: false };

  test('required and named calls satisfy the schema, also in streams', async () => {
    const client = await serve();
    const functions = new Set<string>();
    for (const choice of ['required', { type: 'function', function: { name: 'sail' } }]) {
      const { status, json } = await client.post(PATH, { ...body, tool_choice: choice, n: 2 });
      expect(status, JSON.stringify(json)).toBe(200);
      const streamed: string[] = [];
      for (const event of (await client.stream(PATH, { ...body, tool_choice: choice, n: 2 })).slice(0, -1)) {
        for (const { index, delta, finish_reason: finish } of event.choices) {
          expect(delta.content ?? '').toBe('');
          for (const call of delta.tool_calls ?? []) {
            expect(call).toMatchObject({
              index: 0,
              id: expect.stringMatching(/^call_\w+$/),
              type: 'function',
            });
            streamed[index] = `${call.function.name}(${call.function.arguments})`;
          }
          if (finish) streamed[index] += finish;
        }
      }
      for (const { index, message, finish_reason: finish } of json.choices) {
        const [{ function: call }, ...others] = message.tool_calls;
        expect([finish, message.content, others]).toEqual(['tool_calls', null, []]);
        functions.add(`${JSON.stringify(choice)} ${call.name}`);
        expect(['sea', 'sky']).toContain(JSON.parse(call.arguments).at);
        expect(streamed[index]).toBe(`${call.name}(${call.arguments})tool_calls`);
      }
    }
    expect([...functions].filter((of) => of.startsWith('{'))).toEqual([
      '{"type":"function","function":{"name":"sail"}} sail',
    ]);
  });

  test('optional calls leave texts as they are, also with schemas that are not supported', async () => {
    const client = await serve();
    const fields = { messages: hi, temperature: 0, max_tokens: 12, tool_choice: 'auto' };
    const any = { type: 'object', properties: { at: { not: {} } } };
    const withAny = [
      { type: 'function', function: { name: 'look', description: 'd', parameters: any } },
      tools[1],
    ];
    const [plain, ...others] = await Promise.all(
      [tools, withAny, [...withAny].reverse()].map((tools) => client.post(PATH, { ...fields, tools })),
    );
    expect(plain.json.choices[0].message.content).not.toBe('');
    expect(others[0].json.choices).toEqual(plain.json.choices);
    for (const { status, json } of others) expect(status, JSON.stringify(json)).toBe(200);
    const form = { open: '<tool_call>\n', close: '\n</tool_call>', argumentsKey: 'arguments' } as const;
    const read = (given: object[], choice: 'auto' | 'none') =>
      readTools(given as Parameters<typeof readTools>[0], {
        fields: { tool_choice: choice, parallel_tool_calls: undefined },
        format: undefined,
        form,
      });
    const sizes = new Set([tools, withAny].map((given) => read(given, 'auto')?.grammar?.nodes.length));
    expect(sizes.size).toBe(2);
    expect(sizes).not.toContain(undefined);
    expect(read(tools, 'none')).toBeUndefined();
  });

  test('a conversation continues after a call', async () => {
    const client = await serve();
    // With members that clients add.
    const look = { name: 'look', arguments: '{"at":"sea"}', parsed_arguments: { at: 'sea' } };
    const calls = [{ id: 'call_1', index: 0, type: 'function', function: look }];
    const called = [
      ...hi,
      { role: 'assistant', content: null, parsed: null, tool_calls: calls },
      { role: 'tool', tool_call_id: 'call_1', content: '3' },
    ];
    const { status, json } = await client.post(PATH, { messages: called, tools, max_tokens: 1 });
    expect(status, JSON.stringify(json)).toBe(200);
    const text =
      'look sail user: Hi\nassistant: \n<tool_call>\n{"name": "look", "arguments": {"at": "sea"}}\n</tool_call>\ntool: 3\nassistant:';
    expect(json.usage.prompt_tokens).toBe((await tinyTokenizer.encode(text)).length);
    // With tool_choice none the tools are not shown to the model.
    const none = await client.post(PATH, { messages: hi, tools, tool_choice: 'none', max_tokens: 1 });
    expect(none.json.usage.prompt_tokens).toBe((await encodeChat([{ role: 'user', content: 'Hi' }])).length);
  });

  test('are refused by name', async () => {
    const client = await serve();
    const refused = async (fields: object, param: string, message: string) => {
      const { status, json } = await client.post(PATH, { messages: hi, tools, max_tokens: 1, ...fields });
      expect([status, json.error.param]).toEqual([400, param]);
      expect(json.error.message).toContain(message);
    };
    const [tool] = tools;
    const withParameters = (parameters: object) => ({
      tools: [tools[1], { ...tool, function: { name: 'f', parameters } }],
      tool_choice: 'required',
    });
    await refused({ tools: [tool, tool] }, 'tools.1.function.name', 'got look twice');
    await refused({ tools: undefined, tool_choice: 'required' }, 'tool_choice', 'got it without tools');
    await refused(
      { tool_choice: { type: 'function', function: { name: 'f' } } },
      'tool_choice.function.name',
      'expected one of look, sail',
    );
    await refused(
      { response_format: { type: 'json_object' } },
      'response_format',
      'got json_object with tools',
    );
    await refused(
      withParameters({ properties: { a: { not: {} } } }),
      'tools.1.function.parameters.properties.a',
      'keyword "not" is not supported',
    );
    await refused(
      withParameters({ type: 'string' }),
      'tools.1.function.parameters',
      'expected a JSON Schema of type object',
    );
    const call = { id: '1', type: 'function', function: { name: 'look', arguments: '[]' } };
    await refused(
      { messages: [...hi, { role: 'assistant', tool_calls: [call] }] },
      'messages.1.tool_calls.0.function.arguments',
      'expected the text of a JSON object',
    );
    await refused(
      {
        messages: [
          {
            role: 'user',
            content: 'Hi',
            tool_calls: [{ ...call, function: { ...call.function, arguments: '{}' } }],
          },
        ],
      },
      'messages.0.tool_calls',
      'got it in another role',
    );
  });
});
