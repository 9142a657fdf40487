import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { type Client, closeRequests, serve } from './testing.ts';

afterAll(closeRequests);

/** Response formats with schemas, valid and not. */
function schemas() {
  const keyword = fc.constantFrom(
    ...[
      'type',
      'properties',
      'required',
      'items',
      'enum',
      'anyOf',
      'oneOf',
      '$ref',
      'pattern',
      'format',
      'not',
    ],
    ...[
      'minItems',
      'maxItems',
      'minLength',
      'maxLength',
      'minimum',
      'exclusiveMaximum',
      'additionalProperties',
    ],
  );
  const value = fc.constantFrom(
    'object',
    'string',
    'integer',
    'array',
    '#',
    '#/items',
    '^a+|[^b]{2}$',
    'date',
    '(?!a)',
    '__proto__',
  );
  const { schema } = fc.letrec((tie) => ({
    schema: fc.dictionary(
      keyword,
      fc.oneof(
        { depthSize: 'small' },
        value,
        fc.double(),
        fc.nat(9),
        tie('schema'),
        fc.array(tie('schema')),
        fc.array(value),
      ),
      {
        maxKeys: 4,
      },
    ),
  }));
  return schema.map((of) => ({ type: 'json_schema', json_schema: { name: 'a', schema: of } }));
}

test('property: no body causes a server error', async () => {
  const client = await serve();
  const anything = fc.jsonValue({ maxDepth: 3 });
  const some = (value: fc.Arbitrary<unknown>) =>
    fc.option(fc.oneof({ weight: 3, arbitrary: value }, anything), { nil: undefined });
  const shared = {
    model: some(fc.constant('tiny')),
    temperature: some(fc.double({ min: 0, max: 2 })),
    top_p: some(fc.double({ min: 0, max: 1 })),
    seed: some(fc.maxSafeInteger()),
    n: some(fc.integer({ min: 1, max: 3 })),
    stop: some(fc.array(fc.string())),
    stream: some(fc.boolean()),
    stream_options: some(fc.record({ include_usage: fc.boolean() })),
    logit_bias: some(fc.constant({})),
    response_format: some(fc.oneof(fc.constant({ type: 'json_object' }), schemas())),
  };
  const ids = fc.array(fc.integer({ min: 0, max: 330 }), { maxLength: 20 });
  const completion = fc.record({
    ...shared,
    prompt: some(
      fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.array(fc.string(), { maxLength: 3 }),
        ids,
        fc.array(ids, { maxLength: 3 }),
      ),
    ),
    max_tokens: some(fc.integer({ min: 0, max: 5 })),
    logprobs: some(fc.integer({ min: 0, max: 20 })),
    echo: some(fc.boolean()),
  });
  const message = fc.record({
    role: some(fc.constantFrom('user', 'assistant', 'system', 'tool')),
    tool_calls: some(fc.constant([{ id: '1', type: 'function', function: { name: 'f', arguments: '{}' } }])),
    content: some(fc.string()),
  });
  const tool = fc.record({
    type: fc.constant('function'),
    function: fc.record({
      name: fc.constantFrom('f', 'g'),
      parameters: some(schemas().map((of) => of.json_schema.schema)),
    }),
  });
  const talk = fc.record({
    ...shared,
    messages: some(fc.array(message)),
    max_tokens: some(fc.nat(5)),
    logprobs: some(fc.boolean()),
    tools: some(fc.array(tool, { maxLength: 2 })),
    tool_choice: some(
      fc.oneof(
        fc.constantFrom('none', 'auto', 'required'),
        fc.constant({ type: 'function', function: { name: 'f' } }),
      ),
    ),
  });
  const post = async (path: string, body: unknown, to: Client) => {
    const { status, text } = await to.post(path, body ?? null);
    expect([200, 400, 404], `${JSON.stringify(body)}: ${text}`).toContain(status);
    expect(text).not.toContain('server_error');
  };
  await fc.assert(
    fc.asyncProperty(fc.oneof(completion, anything), (body) => post('/v1/completions', body, client)),
    { numRuns: 150 },
  );
  await fc.assert(
    fc.asyncProperty(fc.oneof(talk, anything), (body) => post('/v1/chat/completions', body, client)),
    { numRuns: 100 },
  );
  const item = fc.oneof(
    fc.record({ role: fc.constantFrom('user', 'assistant', 'robot'), content: some(fc.string()) }),
    fc.record({
      type: fc.constant('function_call'),
      call_id: fc.string(),
      name: fc.constant('f'),
      arguments: some(fc.string()),
    }),
    fc.record({ type: fc.constant('function_call_output'), call_id: fc.string(), output: some(fc.string()) }),
  );
  const response = fc.record({
    input: some(fc.oneof(fc.string(), fc.array(item, { maxLength: 3 }))),
    stream: some(fc.boolean()),
    max_output_tokens: some(fc.nat(5)),
    text: some(
      fc.record({ format: schemas().map(({ json_schema }) => ({ type: 'json_schema', ...json_schema })) }),
    ),
    tools: some(
      fc.array(
        tool.map(({ type, function: of }) => ({ type, ...of })),
        { maxLength: 2 },
      ),
    ),
    tool_choice: some(fc.constantFrom('auto', 'required', { type: 'function', name: 'f' })),
  });
  await fc.assert(
    fc.asyncProperty(fc.oneof(response, anything), (body) => post('/v1/responses', body, client)),
    { numRuns: 30 },
  );
});

test('property: numbers at the edges of their range are accepted, or refused with the name of the field', async () => {
  const client = await serve();
  const edge = fc.oneof(
    fc.constantFrom(
      ...[0, -0, 1, -1, 2, 0.5, 1.5, 20, 21, 127, 128, 129, 319, 320],
      ...[5e-324, 1e-308, -1e-308, 1e-9, 0.1 + 0.2, 1 - 2 ** -53, 1 + 2 ** -52, 2 + 2 ** -51],
      ...[
        2 ** 31 - 1,
        2 ** 31,
        -(2 ** 31),
        2 ** 32,
        2 ** 53 - 1,
        2 ** 53,
        -(2 ** 53) + 1,
        -(2 ** 53),
        1e300,
        -1e300,
      ],
    ),
    fc.constantFrom<unknown>(null, true, '1', [], [1], {}, '', '1e999', 'NaN'),
    fc.double({ noDefaultInfinity: true, noNaN: true }),
    fc.maxSafeInteger(),
  );
  const numeric = [
    'temperature',
    'top_p',
    'top_k',
    'min_p',
    'seed',
    'n',
    'max_tokens',
    'logprobs',
    'frequency_penalty',
  ];
  const more = [
    'presence_penalty',
    'repetition_penalty',
    'best_of',
    'top_logprobs',
    'max_completion_tokens',
    'stop',
  ];
  const other = [
    'logit_bias',
    'stream',
    'stream_options',
    'echo',
    'suffix',
    'add_special_tokens',
    'length_penalty',
  ];
  const fields = fc.dictionary(fc.constantFrom(...numeric, ...more, ...other), edge, { maxKeys: 3 });
  const ids = fc.array(edge, { maxLength: 4 });
  const prompts = fc.oneof(
    { weight: 4, arbitrary: fc.constant('a') },
    ids,
    fc.array(ids, { maxLength: 3 }),
    edge,
  );
  const messages = fc.constant([{ role: 'user', content: 'a' }]);
  const bodies = fc.oneof(
    fc.tuple(
      fc.constant('/v1/completions'),
      fc.record({ max_tokens: fc.constant(2), prompt: prompts }),
      fields,
    ),
    fc.tuple(
      fc.constant('/v1/chat/completions'),
      fc.record({ max_tokens: fc.constant(2), messages }),
      fields,
    ),
  );
  await fc.assert(
    fc.asyncProperty(bodies, async ([path, base, rest]) => {
      // JSON can contain numbers beyond the range of doubles.
      const text = JSON.stringify({ ...base, ...rest }).replaceAll('"1e999"', '1e999');
      const answer = await client.post(path, text);
      expect([200, 400], `${text}: ${answer.text}`).toContain(answer.status);
      expect(answer.text, text).not.toContain('server_error');
      if (answer.status === 400) {
        expect(answer.json.error, text).toMatchObject({
          type: 'invalid_request_error',
          param: expect.any(String),
        });
      }
    }),
    { numRuns: 400 },
  );
});
