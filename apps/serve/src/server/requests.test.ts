import { afterAll, describe, expect, test } from 'vitest';
import { closeRequests, serve } from './testing.ts';

afterAll(closeRequests);

describe('invalid bodies', () => {
  test.each([
    ['', 400],
    ['{', 400],
    ['null', 400],
    ['[]', 400],
    ['"text"', 400],
    ['{"prompt": "a"', 400],
    ['{"__proto__": {"n": 2}, "prompt": "a"}', 400],
    ['{"prompt": "a", "prompt": 5}', 400],
    [`{"prompt": ${'['.repeat(10_000)}${']'.repeat(10_000)}}`, 400],
    ['['.repeat(300_000), 400],
    ['{"a":'.repeat(50_000), 400],
    ['{"prompt": "]]]]\\"]]", "prompt2": "\\\\"}', 400],
  ])('case %#', async (text, status) => {
    const client = await serve();
    const answer = await client.post('/v1/completions', text);
    expect(answer).toMatchObject({ status, json: { error: { type: 'invalid_request_error' } } });
  });

  test('other content types and bodies beyond the limit are refused', async () => {
    const client = await serve({ limits: { maxBody: 2000 } });
    const text = { headers: { 'content-type': 'text/plain' } };
    expect((await client.post('/v1/completions', '{"prompt":"a"}', text)).status).toBe(415);
    // Clients that continue sending still receive the error.
    for (const length of [2000, 9_000_000]) {
      expect((await client.complete({ prompt: 'a'.repeat(length) })).status).toBe(413);
    }
  });

  test('a prompt of a megabyte is refused for its length', async () => {
    const client = await serve();
    const answer = await client.complete({ prompt: 'The captain sees '.repeat(60_000) });
    expect(answer).toMatchObject({ status: 400, json: { error: { code: 'context_length_exceeded' } } });
  });
});

describe('fields', () => {
  const hi = { messages: [{ role: 'user', content: 'Hi' }] };
  test.each<[string, object, string, RegExp]>([
    ['completions', {}, 'prompt', /expected a string, a list/],
    ['completions', { prompt: [] }, 'prompt', /expected a string, a list/],
    ['completions', { prompt: ['a', 5] }, 'prompt', /expected a string, a list/],
    ['completions', { prompt: [[1], []] }, 'prompt', /got no tokens/],
    ['completions', { prompt: [1, 320] }, 'prompt', /token id 320, expected ids from 0 to 319/],
    ['completions', { prompt: [-1] }, 'prompt', /token id -1/],
    ['completions', { prompt: '', add_special_tokens: false }, 'prompt', /got no tokens/],
    ['completions', { prompt: 'a', temperature: -1 }, 'temperature', /^temperature: /],
    ['completions', { prompt: 'a', top_p: 2 }, 'top_p', /^top_p: got 2, expected number to be <=1$/],
    ['completions', { prompt: 'a', n: 0 }, 'n', /^n: /],
    ['completions', { prompt: 'a', n: 1.5 }, 'n', /^n: got 1\.5, expected int$/],
    ['completions', { prompt: 'a', seed: 1e300 }, 'seed', /^seed: /],
    ['completions', { prompt: 'a', max_tokens: -1 }, 'max_tokens', /^max_tokens: /],
    ['completions', { prompt: 'a', logprobs: 21 }, 'logprobs', /^logprobs: /],
    ['completions', { prompt: 'a', stop: '' }, 'stop', /^stop: /],
    ['completions', { prompt: 'a', stop: Array(65).fill('a') }, 'stop', /^stop: .*<=64/],
    ['completions', { prompt: 'a', stop: 'a'.repeat(1001) }, 'stop', /^stop: .*<=1000/],
    ['completions', { prompt: 'a', stop: 5 }, 'stop', /^stop: .*expected/],
    ['completions', { prompt: 'a', stop: ['a', 5] }, 'stop.1', /^stop.1: /],
    ['completions', { prompt: 'a', best_of: 2 }, 'best_of', /not supported, got 2, expected n \(1\)/],
    ['completions', { prompt: 'a', suffix: 'b' }, 'suffix', /not supported, got "b", expected null or ""/],
    [
      'completions',
      { prompt: 'a', logit_bias: { 320: 1 } },
      'logit_bias',
      /token id "320", expected ids from 0 to 319/,
    ],
    ['completions', { prompt: 'a', logit_bias: { a: 1 } }, 'logit_bias', /token id "a"/],
    ['completions', { prompt: 'a', logit_bias: { 5: 101 } }, 'logit_bias.5', /<=100/],
    ['completions', { prompt: 'a', presence_penalty: 2.5 }, 'presence_penalty', /<=2/],
    ['completions', { prompt: 'a', repetition_penalty: 0 }, 'repetition_penalty', />0/],
    ['completions', { prompt: 'a', min_p: 1.1 }, 'min_p', /<=1/],
    ['completions', { prompt: 'a', top_k: -2 }, 'top_k', />=-1/],
    ['completions', { prompt: 'a', typical_p: 1 }, 'typical_p', /unknown field; omit it/],
    ['completions', { prompt: 'a', stream_options: {} }, 'stream_options', /without stream/],
    ['chat/completions', {}, 'messages', /^messages: /],
    ['chat/completions', { messages: [] }, 'messages', /^messages: /],
    ['chat/completions', { messages: Array(2049).fill(hi.messages[0]) }, 'messages', /<=2048/],
    ['chat/completions', { messages: [{ role: 'user' }] }, 'messages.0.content', /content/],
    [
      'chat/completions',
      { messages: [{ role: 'user', content: null }] },
      'messages.0.content',
      /got null, expected a text/,
    ],
    [
      'chat/completions',
      { messages: [{ role: 'critic', content: '' }] },
      'messages.0.role',
      /expected one of/,
    ],
    [
      'chat/completions',
      { messages: [{ role: 'user', content: [{ type: 'image_url' }] }] },
      'messages.0.content.0.type',
      /type/,
    ],
    ['chat/completions', { ...hi, tools: [{ type: 'function' }] }, 'tools.0.function', /expected object/],
    [
      'chat/completions',
      { ...hi, response_format: { type: 'json_schema', json_schema: { name: 'a', schema: { not: {} } } } },
      'response_format.json_schema.schema',
      /keyword "not" is not supported/,
    ],
    ['chat/completions', { ...hi, top_logprobs: 2 }, 'top_logprobs', /without logprobs/],
    [
      'chat/completions',
      { ...hi, max_tokens: 2, max_completion_tokens: 3 },
      'max_tokens',
      /expected only one/,
    ],
    ['chat/completions', { ...hi, prompt: 'a' }, 'prompt', /unknown field/],
  ])('%s %j: %s', async (path, body, param, message) => {
    const { status, json } = await (await serve()).post(`/v1/${path}`, body);
    expect(status).toBe(400);
    expect(json.error).toMatchObject({
      param,
      type: 'invalid_request_error',
      message: expect.stringMatching(message),
    });
  });

  const numbers = [
    'temperature',
    'top_p',
    'n',
    'seed',
    'max_tokens',
    'frequency_penalty',
    'presence_penalty',
    'repetition_penalty',
    'top_k',
    'min_p',
  ];
  test.each([
    ...[...numbers, 'logprobs', 'best_of'].map((field) => ({ path: 'completions', field })),
    ...[...numbers, 'top_logprobs', 'max_completion_tokens'].map((field) => ({
      path: 'chat/completions',
      field,
    })),
  ])(
    '$path $field: every edge is answered, or refused with the name of the field',
    async ({ path, field }) => {
      const client = await serve();
      const body =
        path === 'completions'
          ? '"prompt": "a"'
          : '"messages": [{"role": "user", "content": "a"}], "logprobs": true';
      const limit = field.startsWith('max_') ? '' : ', "max_tokens": 1';
      for (const edge of ['0', '-1', '1.5', '5e-324', '1e308', '1e999', '9007199254740992', 'null', '"1"']) {
        const text = `{${body}${limit}, "${field}": ${edge}}`;
        const { status, json } = await client.post(`/v1/${path}`, text);
        // A text that leaves no room for so many tokens is named instead of their number.
        const named = [field, 'prompt', 'messages'].includes(json.error?.param);
        expect(status === 200 || (status === 400 && named), `${text}: ${status}`).toBe(true);
      }
    },
  );

  test('at the edges of their range', async () => {
    const client = await serve();
    const body = { prompt: 'a', max_tokens: 3, temperature: 1, seed: 1 };
    const text = async (fields: object) => {
      const { status, json } = await client.complete({ ...body, ...fields });
      expect(status).toBe(200);
      return json.choices.map((choice: { text: string }) => choice.text);
    };
    const greedy = await text({ temperature: 0 });
    // Only the most likely token remains.
    expect(await text({ top_p: 0 })).toEqual(greedy);
    expect(await text({ top_p: 1e-323 })).toEqual(greedy);
    expect(await text({ temperature: 1e-323 })).toEqual(greedy);
    // Seeds wrap around, and each answer has its own.
    const all = await text({ seed: Number.MAX_SAFE_INTEGER - 1, n: 4, max_tokens: 20 });
    expect(new Set(all).size).toBe(4);
    expect(await text({ seed: 1, max_tokens: 20 })).toEqual([all[3]]);
  });

  test('with neutral values are accepted', async () => {
    const client = await serve();
    const body = {
      prompt: 'a',
      max_tokens: 1,
      temperature: 0,
      top_p: 1,
      n: 1,
      best_of: 1,
      stream: false,
      stop: null,
      logprobs: null,
      echo: false,
      suffix: null,
      seed: null,
      frequency_penalty: 0,
      presence_penalty: 0.0,
      logit_bias: {},
      top_k: -1,
      min_p: 0,
      repetition_penalty: 1,
      user: 'me',
      metadata: { a: 'b' },
    };
    expect((await client.complete(body)).status).toBe(200);
    const messages = [
      { role: 'user', name: 'me', content: 'Hi' },
      { role: 'assistant', content: null },
      { role: 'user', content: 'Hi' },
    ];
    const answer = await client.post('/v1/chat/completions', { messages, max_tokens: 1 });
    expect(answer.status).toBe(200);
  });

  test('change which tokens are sampled', async () => {
    const client = await serve();
    const ids = async (fields: object) => {
      const body = { prompt: [1, 2, 3], max_tokens: 12, temperature: 0, logprobs: 0, ...fields };
      const { status, json } = await client.complete(body);
      expect(status, JSON.stringify(json)).toBe(200);
      return json.choices[0].logprobs.tokens as string[];
    };
    const greedy = await ids({});
    // The same token again and again, unless it was used.
    expect(new Set(await ids({ logit_bias: { 9: 100 } })).size).toBe(1);
    expect(new Set(await ids({ logit_bias: { 9: 100 }, frequency_penalty: 2 })).size).toBe(1);
    expect(new Set(await ids({ logit_bias: { 9: 2 }, presence_penalty: 2 })).size).toBeGreaterThan(2);
    expect(new Set(await ids({ repetition_penalty: 1e6 })).size).toBe(12);
    // Only the most likely token remains.
    expect(await ids({ temperature: 1, top_k: 1 })).toEqual(greedy);
    expect(await ids({ temperature: 1, min_p: 1 })).toEqual(greedy);
    expect(await ids({ temperature: 1, top_k: 0, seed: 1 })).not.toEqual(greedy);
  });
});
