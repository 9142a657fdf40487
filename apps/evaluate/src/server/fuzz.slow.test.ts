import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Client, serve } from './testing.ts';

test('property: no body makes the server fail', async () => {
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
    role: some(fc.constantFrom('user', 'assistant', 'system')),
    content: some(fc.string()),
  });
  const talk = fc.record({
    ...shared,
    messages: some(fc.array(message)),
    max_tokens: some(fc.nat(5)),
    logprobs: some(fc.boolean()),
  });
  const post = async (path: string, body: unknown, to: Client) => {
    const { status, text } = await to.post(path, body ?? null);
    expect([200, 400, 404], `${JSON.stringify(body)}: ${text}`).toContain(status);
    expect(text).not.toContain('server_error');
  };
  await fc.assert(
    fc.asyncProperty(fc.oneof(completion, anything), (body) => post('/v1/completions', body, client)),
    { numRuns: 300 },
  );
  await fc.assert(
    fc.asyncProperty(fc.oneof(talk, anything), (body) => post('/v1/chat/completions', body, client)),
    { numRuns: 200 },
  );
});
