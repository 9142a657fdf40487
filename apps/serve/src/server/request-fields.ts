/**
 * Schemas of the request bodies.
 *
 * Fields that are not supported are accepted at their neutral value and refused at any other, so that no request is
 * silently answered differently.
 */
import { z } from 'zod';
import { ApiError, invalidField } from './api-error.ts';

/** An unsupported field, accepted at neutral values. */
export function unsupported(...neutral: readonly unknown[]) {
  const allowed = [null, ...neutral].map((value) => JSON.stringify(value));
  const schema = z.unknown().transform((value, context) => {
    if (value !== undefined && !allowed.includes(JSON.stringify(value))) {
      const expected = allowed.join(' or ');
      context.addIssue(`not supported, got ${brief(value)}, expected ${expected}; omit it`);
    }
    return undefined;
  });
  return schema.optional();
}

/** A field that does not affect the answer. */
export const ignored = z
  .unknown()
  .transform(() => undefined)
  .optional();

/** A field that may be absent or null. */
export function optional<T extends z.ZodType>(schema: T) {
  return schema.nullish().transform((value) => value ?? undefined);
}

/** A list whose length is checked before its items. */
export function list<T extends z.ZodType>(item: T, max: number, min = 0) {
  return z.array(z.unknown()).min(min).max(max).pipe(z.array(item));
}

// The limit of OpenAI's API.
const MAX_MESSAGES = 2048;

// JSON numbers are exact up to 2^53 - 1.
const seed = z.int().transform((value) => (value < 0 ? 2 ** 53 + value : value));
const stopSequence = z.string().min(1).max(1000);

const responseFormat = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('text') }),
  z.strictObject({ type: z.literal('json_object') }),
  z.strictObject({
    type: z.literal('json_schema'),
    json_schema: z.strictObject({
      name: z.string().max(64),
      description: optional(z.string()),
      schema: z.unknown(),
      // An answer always satisfies the schema.
      strict: optional(z.boolean()),
    }),
  }),
]);

const sampling = {
  model: optional(z.string()),
  temperature: optional(z.number().min(0).max(2)),
  top_p: optional(z.number().min(0).max(1)),
  seed: optional(seed),
  n: optional(z.int().min(1).max(128)),
  stop: optional(z.union([stopSequence.transform((text) => [text]), list(stopSequence, 64)])),
  stream: optional(z.boolean()),
  stream_options: optional(
    z.strictObject({ include_usage: optional(z.boolean()), include_obfuscation: unsupported(false, true) }),
  ),

  frequency_penalty: optional(z.number().min(-2).max(2)),
  presence_penalty: optional(z.number().min(-2).max(2)),
  logit_bias: optional(z.record(z.string(), z.number().min(-100).max(100))),
  /** From vLLM; -1 and 0 keep all tokens. */
  top_k: optional(z.int().min(-1)).transform((k) => (k !== undefined && k > 0 ? k : undefined)),
  /** From vLLM. */
  min_p: optional(z.number().min(0).max(1)),
  /** From vLLM. */
  repetition_penalty: optional(z.number().positive()),
  /** Also of `/v1/completions`, as in vLLM. */
  response_format: optional(responseFormat),
  service_tier: unsupported('auto', 'default'),
  store: unsupported(false),
  metadata: ignored,
  prompt_cache_key: ignored,
  prompt_cache_retention: ignored,
  safety_identifier: ignored,
  user: ignored,
};

/** The body of `/v1/completions`. */
export const completionFields = z.strictObject({
  ...sampling,
  prompt: z.unknown().optional(),
  max_tokens: optional(z.int().min(0)),
  echo: optional(z.boolean()),
  logprobs: optional(z.int().min(0).max(20)),
  /** From vLLM: whether a text prompt gets the tokenizer's BOS. */
  add_special_tokens: optional(z.boolean()),
  best_of: optional(z.int()),
  suffix: unsupported(''),
});

const textPart = z.strictObject({ type: z.literal('text'), text: z.string() });

const functionName = z.string().regex(/^[\w-]{1,64}$/, 'expected 1 to 64 letters, digits, _ or -');

/** A call in an earlier answer; its arguments are JSON. */
const toolCall = z.strictObject({
  id: z.string(),
  type: z.literal('function'),
  function: z.strictObject({
    name: functionName,
    arguments: jsonObject(),
    // Of OpenAI's Python client, as `parsed` of a message.
    parsed_arguments: ignored,
  }),
  // Of streams.
  index: ignored,
});

function jsonObject() {
  return z.string().transform((text, context) => {
    try {
      const value: unknown = JSON.parse(text);
      if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
    } catch {
      // Reported below.
    }
    context.addIssue(`got ${brief(text)}, expected the text of a JSON object`);
    return z.NEVER;
  });
}

/** A function that the model may call. */
const tool = z.strictObject({
  type: z.literal('function'),
  function: z.strictObject({
    name: functionName,
    description: z.string().nullish(),
    parameters: z
      .record(z.string(), z.unknown())
      .refine(({ type = 'object' }) => type === 'object', 'expected a JSON Schema of type object')
      .nullish(),
    // Calls that tool_choice requires satisfy the schema; others cannot be promised to.
    strict: unsupported(false, true),
  }),
});

// The limit of OpenAI's API.
const MAX_TOOLS = 128;

const message = z
  .strictObject({
    role: z.enum(['system', 'developer', 'user', 'assistant', 'tool']),
    content: z
      .union([
        z.string(),
        list(textPart, MAX_MESSAGES).transform((parts) => parts.map(({ text }) => text).join('\n')),
      ])
      .nullish(),
    name: ignored,
    // Fields of earlier answers that clients send back.
    refusal: unsupported(),
    annotations: unsupported([]),
    parsed: ignored,
    audio: unsupported(),
    function_call: unsupported(),
    tool_calls: optional(list(toolCall, MAX_TOOLS)),
    tool_call_id: optional(z.string()),
  })
  .refine(({ role, content }) => (content ?? null) !== null || role === 'assistant', {
    path: ['content'],
    message: 'got null, expected a text',
  })
  .refine(({ role, tool_calls: calls = [] }) => calls.length === 0 || role === 'assistant', {
    path: ['tool_calls'],
    message: 'got it in another role, expected it in messages of the assistant; omit it',
  })
  .transform(({ content, ...rest }) => ({ ...rest, content: content ?? '' }));

/** The body of `/v1/chat/completions`. */
export const chatFields = z.strictObject({
  ...sampling,
  messages: list(message, MAX_MESSAGES, 1),
  max_tokens: optional(z.int().min(1)),
  max_completion_tokens: optional(z.int().min(1)),
  logprobs: optional(z.boolean()),
  top_logprobs: optional(z.int().min(0).max(20)),

  audio: unsupported(),
  function_call: unsupported('none', 'auto'),
  functions: unsupported([]),
  modalities: unsupported(['text']),
  parallel_tool_calls: optional(z.boolean()),
  prediction: unsupported(),
  reasoning_effort: unsupported('none'),
  tool_choice: optional(
    z.union([
      z.enum(['none', 'auto', 'required']),
      z.strictObject({ type: z.literal('function'), function: z.strictObject({ name: z.string() }) }),
    ]),
  ),
  tools: optional(list(tool, MAX_TOOLS)),
  verbosity: unsupported('medium'),
  web_search_options: unsupported(),
});

export type CompletionFields = z.output<typeof completionFields>;

export type ChatFields = z.output<typeof chatFields>;

/**
 * Validates a body.
 *
 * @throws ApiError 400 with the name of the invalid field
 */
export function parseFields<T extends z.ZodType>(schema: T, body: unknown): z.output<T> {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const issue = deepest(result.error.issues[0]);
  if (issue.code === 'unrecognized_keys') {
    const param = [...issue.path, issue.keys[0].slice(0, 100)].join('.');
    throw invalidField(param, 'unknown field; omit it', 'unknown_parameter');
  }
  const param = issue.path.join('.') || null;
  throw new ApiError(400, `${param ?? 'body'}: ${problemOf(issue, body)}`, { param });
}

/** The message of an issue, with the value that zod leaves out. */
function problemOf({ code, path, message }: z.core.$ZodIssue, body: unknown): string {
  if (!['invalid_type', 'invalid_value', 'too_big', 'too_small'].includes(code)) return message;
  const step = (inner: unknown, key: PropertyKey) => (inner as Record<PropertyKey, unknown>)?.[key];
  const value = path.reduce(step, body);
  const expected = message.replace(/^[^:]*: /, '').replace(/, received .*$/s, '');
  return `got ${value === undefined ? 'nothing' : brief(value)}, ${expected}`;
}

/** Returns the issue of the union's best match: the deepest, and among equals one other than a wrong type. */
function deepest(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  if (issue.code !== 'invalid_union') return issue;
  const issues = issue.errors.map(([first]) => first).filter((first) => first !== undefined);
  const rank = ({ path, code }: z.core.$ZodIssue) => path.length + (code === 'invalid_type' ? 0 : 0.5);
  const furthest = issues.reduce((a, b) => (rank(b) > rank(a) ? b : a), issues[0]);
  return furthest ? { ...deepest(furthest), path: [...issue.path, ...deepest(furthest).path] } : issue;
}

function brief(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
