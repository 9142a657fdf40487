import { afterAll, describe, expect, test } from 'vitest';
import { closeRequests, serve } from './testing.ts';

afterAll(closeRequests);

const PATH = '/v1/responses';
// With tools, the context of 128 tokens is short.
const input = 'Who?';
const ask = [{ role: 'user', content: input }];
const seeing = {
  name: 'see',
  parameters: { type: 'object', properties: { who: { enum: ['a', 'b'] } }, required: ['who'] },
};
const tools = [{ type: 'function', ...seeing, strict: true }];

describe('/v1/responses', () => {
  test('answers as a chat does, whole and streamed', async () => {
    const client = await serve();
    const chat = {
      messages: [{ role: 'system', content: 'Be brief.' }, ...ask],
      temperature: 0,
      max_tokens: 8,
    };
    const { choices, usage } = (await client.post('/v1/chat/completions', chat)).json;
    const body = { input, instructions: 'Be brief.', temperature: 0, max_output_tokens: 8 };
    const { json } = await client.post(PATH, body);
    const { prompt_tokens, completion_tokens, total_tokens } = usage;
    expect(json).toMatchObject({
      ...{ object: 'response', status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } },
      ...{
        model: 'tiny',
        store: false,
        instructions: 'Be brief.',
        temperature: 0,
        tools: [],
        tool_choice: 'auto',
      },
      output: [
        {
          type: 'message',
          role: 'assistant',
          content: [{ type: 'output_text', text: choices[0].message.content }],
        },
      ],
      usage: { input_tokens: prompt_tokens, output_tokens: completion_tokens, total_tokens },
    });
    const { text } = await client.post(PATH, { ...body, stream: true });
    const events = text
      .split('\n\n')
      .slice(0, -1)
      .map((event) => {
        const [name, data] = event.split('\n');
        const parsed = JSON.parse(data.replace('data: ', ''));
        expect(name).toBe(`event: ${parsed.type}`);
        return parsed;
      });
    expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, i) => i));
    const types = events.map(({ type }) => type.replace('response.', ''));
    expect(types.filter((type, i) => type !== types[i - 1])).toEqual([
      ...['created', 'in_progress', 'output_item.added', 'content_part.added', 'output_text.delta'],
      ...['output_text.done', 'content_part.done', 'output_item.done', 'incomplete'],
    ]);
    const deltas = events.filter(({ type }) => type.endsWith('text.delta')).map(({ delta }) => delta);
    expect(deltas.join('')).toBe(choices[0].message.content);
    expect(events.at(-1).response.output[0].content[0].text).toBe(choices[0].message.content);
  });

  test('calls functions, and takes their results as a chat does', async () => {
    const client = await serve();
    const choice = { type: 'function', name: 'see' };
    const called = await client.post(PATH, { input, tools, tool_choice: choice, temperature: 0 });
    expect(called.json).toMatchObject({ status: 'completed', tools, tool_choice: choice });
    const [call] = called.json.output;
    expect(call).toMatchObject({
      type: 'function_call',
      name: 'see',
      call_id: expect.stringMatching(/^call_/),
    });
    expect(['a', 'b']).toContain(JSON.parse(call.arguments).who);
    const { call_id: id, arguments: json } = call;
    const result = { type: 'function_call_output', call_id: id, output: 'noted' };
    const next = await client.post(PATH, {
      ...{ tools, temperature: 0, max_output_tokens: 4 },
      input: [{ role: 'user', content: [{ type: 'input_text', text: input }] }, call, result],
    });
    const chat = await client.post('/v1/chat/completions', {
      ...{ temperature: 0, max_tokens: 4, tools: [{ type: 'function', function: seeing }] },
      messages: [
        ...ask,
        {
          role: 'assistant',
          tool_calls: [{ id, type: 'function', function: { name: 'see', arguments: json } }],
        },
        { role: 'tool', tool_call_id: id, content: 'noted' },
      ],
    });
    expect(next.json.usage.input_tokens).toBe(chat.json.usage.prompt_tokens);
    expect(next.json.output[0].content[0].text).toBe(chat.json.choices[0].message.content);
  });

  test('refuses fields by their name', async () => {
    const cases: [object, string, RegExp][] = [
      [{}, 'input', /^input: /],
      [{ input: [] }, 'input', /^input: /],
      [
        { input: [{ type: 'reasoning', summary: [] }] },
        'input.0.type',
        /expected 'message'|'function_call'/i,
      ],
      [{ input: 'a'.repeat(2000) }, 'input', /^input: .* exceed the context/],
      [{ input: [{ role: 'robot', content: 'a' }] }, 'input', /^input: /],
      [{ input, max_output_tokens: 0 }, 'max_output_tokens', /^max_output_tokens: /],
      [{ input, temperature: 3 }, 'temperature', /^temperature: /],
      [{ input, n: 2 }, 'n', /^n: unknown field/],
      [{ input, previous_response_id: 'resp_1' }, 'previous_response_id', /not supported, got "resp_1"/],
      [{ input, store: true }, 'store', /not supported, got true, expected null or false/],
      [{ input, tools: [{ type: 'web_search' }] }, 'tools.0.type', /function/],
      [
        { input, tools, tool_choice: { type: 'function', name: 'x' } },
        'tool_choice.name',
        /expected one of see/,
      ],
      [
        { input, text: { format: { type: 'json_schema', name: 'x', schema: { multipleOf: 2 } } } },
        'text.format.schema',
        /^text\.format\.schema: keyword "multipleOf" is not supported/,
      ],
    ];
    const client = await serve();
    for (const [body, param, message] of cases) {
      const { status, json } = await client.post(PATH, body);
      expect({ status, param: json.error.param }, param).toEqual({ status: 400, param });
      expect(json.error.message).toMatch(message);
    }
  });
});
