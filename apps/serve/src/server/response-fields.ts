/** The body of `/v1/responses`, as a request of `/v1/chat/completions`, which checks the rest. */
import { z } from 'zod';
import { ApiError } from './api-error.ts';
import { readBody } from './read-body.ts';
import {
  type ChatFields,
  chatFields,
  ignored,
  list,
  optional,
  parseFields,
  unsupported,
} from './request-fields.ts';

const MAX_ITEMS = 2048;

/** Checked as the field of a chat. */
const passed = z.unknown().optional();

const part = z.strictObject({
  type: z.enum(['input_text', 'output_text']),
  text: z.string(),
  ...{ annotations: ignored, logprobs: ignored },
});
const content = z.union([
  z.string(),
  list(part, MAX_ITEMS).transform((parts) => parts.map(({ text }) => ({ type: 'text', text }))),
]);

// Items of an earlier answer come back with `id` and `status`.
const answered = { id: ignored, status: ignored, call_id: z.string() };
const message = z.strictObject({
  ...answered,
  type: z.literal('message'),
  role: z.string(),
  content,
  call_id: ignored,
});
const call = z.strictObject({
  ...answered,
  type: z.literal('function_call'),
  name: z.string(),
  arguments: z.string(),
});
const result = z.strictObject({ ...answered, type: z.literal('function_call_output'), output: content });
const item = z.preprocess(
  (value) =>
    typeof value === 'object' && value !== null && !('type' in value) ? { type: 'message', ...value } : value,
  z.discriminatedUnion('type', [message, call, result]),
);

const responseFields = z.strictObject({
  input: z.union([z.string(), list(item, MAX_ITEMS, 1)]),
  instructions: optional(z.string()),
  max_output_tokens: passed,
  model: passed,
  parallel_tool_calls: passed,
  stream: passed,
  stream_options: optional(z.strictObject({ include_obfuscation: unsupported(false, true) })),
  temperature: passed,
  text: optional(
    z.strictObject({
      format: optional(z.looseObject({ type: z.string() })),
      verbosity: unsupported('medium'),
    }),
  ),
  tool_choice: optional(
    z.union([z.string(), z.strictObject({ type: z.literal('function'), name: z.string() })]),
  ),
  tools: optional(list(z.looseObject({ type: z.literal('function') }), 128)),
  top_p: passed,

  background: unsupported(false),
  conversation: unsupported(),
  include: unsupported([]),
  max_tool_calls: unsupported(),
  metadata: ignored,
  previous_response_id: unsupported(),
  prompt: unsupported(),
  prompt_cache_key: ignored,
  prompt_cache_retention: ignored,
  reasoning: unsupported({}, { effort: 'none' }),
  safety_identifier: ignored,
  service_tier: unsupported('auto', 'default'),
  store: unsupported(false),
  top_logprobs: unsupported(0),
  truncation: unsupported('disabled'),
  user: ignored,
});

/** A request, and the fields that its answer repeats. */
export interface ReadResponse {
  readonly fields: ChatFields;
  readonly repeated: Readonly<Record<string, unknown>>;
}

/** Parses a body. @throws ApiError 400, some of which name the fields of a chat */
export function readResponse(body: Uint8Array): ReadResponse {
  const given = readBody(responseFields, body);
  const { instructions = null, parallel_tool_calls, temperature, tools = [], top_p } = given;
  const {
    max_output_tokens = null,
    tool_choice: choice = 'auto',
    text: { format = { type: 'text' } } = {},
  } = given;
  const { type, ...json_schema } = format;
  const fields = parseFields(chatFields, {
    ...{ model: given.model, stream: given.stream, parallel_tool_calls, temperature, top_p },
    messages: messagesOf(given),
    max_completion_tokens: max_output_tokens,
    response_format: type === 'json_schema' ? { type, json_schema } : format,
    tools: tools.map(({ type, ...of }) => ({ type, function: of })),
    tool_choice: typeof choice === 'string' ? choice : { type: 'function', function: { name: choice.name } },
  });
  const repeated = { instructions, max_output_tokens, text: { format }, tool_choice: choice, tools };
  const settings = {
    parallel_tool_calls: parallel_tool_calls ?? true,
    temperature: temperature ?? 1,
    top_p: top_p ?? 1,
  };
  return { fields, repeated: { ...repeated, ...settings } };
}

/** Calls after a text of the assistant, or another call, are of one message. */
function messagesOf({ input, instructions }: z.output<typeof responseFields>): object[] {
  const messages: { role: string; content?: unknown; tool_calls?: object[]; tool_call_id?: string }[] = [];
  if (instructions !== undefined) messages.push({ role: 'system', content: instructions });
  if (typeof input === 'string') return [...messages, { role: 'user', content: input }];
  for (const item of input) {
    if (item.type === 'message') messages.push({ role: item.role, content: item.content });
    else if (item.type === 'function_call_output') {
      messages.push({ role: 'tool', tool_call_id: item.call_id, content: item.output });
    } else {
      if (messages.at(-1)?.role !== 'assistant') messages.push({ role: 'assistant' });
      const called = { name: item.name, arguments: item.arguments };
      const last = messages.at(-1)!;
      last.tool_calls = [
        ...(last.tool_calls ?? []),
        { id: item.call_id, type: 'function', function: called },
      ];
    }
  }
  return messages;
}

const NAMES: readonly (readonly [chat: RegExp, response: string])[] = [
  [/^messages\b.*/, 'input'],
  [/^max_(completion_)?tokens\b/, 'max_output_tokens'],
  [/^response_format(\.json_schema)?\b/, 'text.format'],
  [/^(tools\.\d+|tool_choice)\.function\b/, '$1'],
];

/** An error of a chat with the names of a response's fields. */
export function asResponseError(error: unknown): unknown {
  if (!(error instanceof ApiError) || error.param === null) return error;
  const { status, param, code, message } = error;
  const found = NAMES.find(([chat]) => chat.test(param));
  const named = found ? param.replace(...found) : param;
  return new ApiError(status, message.replace(param, named), { param: named, code });
}
