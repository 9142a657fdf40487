/** The clients that people use, against one server with a random model. */
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { ChatOpenAI } from '@langchain/openai';
import { createLlama } from '@meap/llama-model';
import { generateObject, generateText, stepCountIs, streamText, tool } from 'ai';
import OpenAI from 'openai';
import { zodFunction, zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { RunningServer } from './server.ts';
import { closeRequests, start, tinyModel } from './testing.ts';

const roomy = createLlama({ ...tinyModel.config, max_position_embeddings: 512 }, { seed: 1 });
let server: RunningServer;
beforeAll(async () => {
  server = await start({ model: roomy });
});
afterAll(async () => {
  await server.close();
  await closeRequests();
  roomy.dispose();
});

// Random answers without a seed may be longer than the context.
const seed = 1;
const messages = [{ role: 'user' as const, content: 'Who sees how many whales?' }];
const sighting = z.object({ who: z.enum(['captain', 'sailor']), whales: z.int().min(0).max(99) });

describe('openai', () => {
  const client = () => new OpenAI({ baseURL: server.url, apiKey: 'none', maxRetries: 0 });

  test('chats, streams and lists models', async () => {
    const body = { model: 'tiny', messages, max_tokens: 12, temperature: 0 };
    const whole = await client().chat.completions.create(body);
    const stream = client().chat.completions.stream(body);
    let text = '';
    stream.on('content', (delta) => {
      text += delta;
    });
    expect((await stream.finalChatCompletion()).choices[0].message.content).toBe(text);
    expect(whole.choices[0].message.content).toBe(text);
    const completed = await client().completions.create({ model: 'tiny', prompt: 'A whale', max_tokens: 4 });
    expect(completed.usage!.completion_tokens).toBe(4);
    expect((await client().models.list()).data.map(({ id }) => id)).toEqual(['tiny']);
  });

  test('parses answers of a schema', async () => {
    const { choices } = await client().chat.completions.parse({
      model: 'tiny',
      messages,
      seed,
      response_format: zodResponseFormat(sighting, 'sighting'),
    });
    expect(sighting.safeParse(choices[0].message.parsed).error).toBeUndefined();
  });

  test('calls tools and answers with their results, streamed too', async () => {
    const report = zodFunction({ name: 'report', parameters: sighting });
    const body = { model: 'tiny', messages, seed, tools: [report], parallel_tool_calls: false };
    const required = { ...body, tool_choice: 'required' as const };
    const { choices } = await client().chat.completions.parse(required);
    const { message, finish_reason: reason } = choices[0];
    expect(reason).toBe('tool_calls');
    const [{ id, function: called }] = message.tool_calls!;
    expect(sighting.safeParse(called.parsed_arguments).error).toBeUndefined();
    const again = await client().chat.completions.create({
      ...{ model: 'tiny', tools: [report], max_tokens: 8 },
      messages: [...messages, message, { role: 'tool', tool_call_id: id, content: 'noted' }],
    });
    expect(again.choices).toHaveLength(1);
    const named = { type: 'function' as const, function: { name: 'report' } };
    const stream = client().chat.completions.stream({ ...body, tool_choice: named });
    const streamed = (await stream.finalChatCompletion()).choices[0].message.tool_calls![0].function;
    expect(sighting.safeParse(JSON.parse(streamed.arguments)).error).toBeUndefined();
  });

  test('has responses, streamed too', async () => {
    const body = { model: 'tiny', input: messages[0].content, temperature: 0 };
    const parsed = await client().responses.parse({
      ...body,
      text: { format: zodTextFormat(sighting, 'sighting') },
    });
    expect(sighting.safeParse(parsed.output_parsed).error).toBeUndefined();
    const stream = client().responses.stream({ ...body, max_output_tokens: 8 });
    let text = '';
    stream.on('response.output_text.delta', ({ delta }) => {
      text += delta;
    });
    expect((await stream.finalResponse()).output_text).toBe(text);
  });

  test('gets errors of its own classes, with the field', async () => {
    const refused = client().chat.completions.create({ model: 'tiny', messages, temperature: 3 });
    await expect(refused).rejects.toMatchObject({ status: 400, param: 'temperature' });
    await expect(refused).rejects.toBeInstanceOf(OpenAI.BadRequestError);
    const unknown = client().chat.completions.create({ model: 'other', messages });
    await expect(unknown).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });
});

describe('AI SDK', () => {
  const model = () =>
    createOpenAICompatible({ name: 'meap', baseURL: server.url, supportsStructuredOutputs: true })('tiny');
  const prompt = messages[0].content;

  test('generates objects of a schema, and any object', async () => {
    const { object, finishReason } = await generateObject({ model: model(), schema: sighting, prompt, seed });
    expect(sighting.safeParse(object).error).toBeUndefined();
    expect(finishReason).toBe('stop');
    const free = await generateObject({ model: model(), output: 'no-schema', prompt, seed });
    expect(free.object).toBeTypeOf('object');
  });

  test('calls tools, streamed too', async () => {
    const calls: unknown[] = [];
    const report = tool({
      inputSchema: sighting,
      execute: async (input) => {
        calls.push(input);
        return 'noted';
      },
    });
    const settings = {
      model: model(),
      prompt,
      tools: { report },
      toolChoice: { type: 'tool' as const, toolName: 'report' as const },
    };
    const { toolResults } = await generateText({ ...settings, stopWhen: stepCountIs(2) });
    expect(toolResults.map(({ output }) => output)).toEqual(['noted']);
    const stream = streamText(settings);
    expect((await stream.toolCalls).map(({ toolName }) => toolName)).toEqual(['report']);
    await stream.finishReason;
    expect(calls).toHaveLength(3);
    for (const call of calls) expect(sighting.safeParse(call).error).toBeUndefined();
  });
});

describe('LangChain', () => {
  const model = () =>
    new ChatOpenAI({
      model: 'tiny',
      apiKey: 'none',
      configuration: { baseURL: server.url },
      modelKwargs: { seed },
      maxRetries: 0,
      // Answers would be asked for at /v1/responses otherwise.
      useResponsesApi: false,
    });
  const prompt = messages[0].content;

  test.each(['jsonSchema', 'functionCalling', 'jsonMode'] as const)(
    'has structured output by %s',
    async (method) => {
      const structured = model().withStructuredOutput(sighting, { name: 'report', method, includeRaw: true });
      const { raw, parsed } = await structured.invoke(prompt);
      if (method === 'jsonMode') {
        // Any object.
        expect(JSON.parse(raw.text)).toBeTypeOf('object');
        return;
      }
      expect(sighting.safeParse(parsed).error).toBeUndefined();
    },
  );

  test('streams, and calls tools', async () => {
    const pieces: string[] = [];
    for await (const { text } of await model().stream(prompt)) pieces.push(text);
    expect(pieces.join('')).not.toBe('');
    const tools = [{ name: 'report', description: 'Reports whales.', schema: sighting }];
    const { tool_calls: calls } = await model().bindTools(tools, { tool_choice: 'report' }).invoke(prompt);
    expect(calls!.map(({ name }) => name)).toEqual(['report']);
    expect(sighting.safeParse(calls![0].args).error).toBeUndefined();
  });
});
