/**
 * The bodies that the endpoints take, as schemas.
 *
 * Clients send many fields. Those that do nothing here are taken at the value that says so, and refused by name at any
 * other: an answer is never other than asked for without a word.
 */
import { z } from 'zod';
import { ApiError } from './api-error.ts';

/** A field that this server has no use for, at the values that ask for nothing. */
function unused(...neutral: readonly unknown[]) {
  const allowed = [null, ...neutral].map((value) => JSON.stringify(value));
  const schema = z.unknown().transform((value, context) => {
    if (value !== undefined && !allowed.includes(JSON.stringify(value))) {
      const expected = allowed.join(' or ');
      context.addIssue(`is not supported, got ${brief(value)}, expected ${expected}; leave it out`);
    }
    return undefined;
  });
  return schema.optional();
}

/** A field that says something about the request and nothing about the answer. */
const label = z
  .unknown()
  .transform(() => undefined)
  .optional();

/** A field that may also be null, which is the same as absent. */
function optional<T extends z.ZodType>(schema: T) {
  return schema.nullish().transform((value) => value ?? undefined);
}

/** A list that is refused for its length before its items are looked at. */
function list<T extends z.ZodType>(item: T, most: number, least = 0) {
  return z.array(z.unknown()).min(least).max(most).pipe(z.array(item));
}

// OpenAI's.
const MAX_MESSAGES = 2048;

// Beyond 2^53 - 1 JSON numbers are not exact.
const seed = z.int().transform((value) => (value < 0 ? 2 ** 53 + value : value));
const stopText = z.string().min(1).max(1000);

const sampling = {
  model: optional(z.string()),
  temperature: optional(z.number().min(0).max(2)),
  // OpenAI's 0 leaves the most likely token alone, as does the smallest positive number.
  top_p: optional(
    z
      .number()
      .min(0)
      .max(1)
      .transform((value) => Math.max(value, Number.MIN_VALUE)),
  ),
  seed: optional(seed),
  n: optional(z.int().min(1).max(128)),
  stop: optional(z.union([stopText.transform((text) => [text]), list(stopText, 64)])),
  stream: optional(z.boolean()),
  stream_options: optional(
    z.strictObject({ include_usage: optional(z.boolean()), include_obfuscation: unused(false, true) }),
  ),

  frequency_penalty: unused(0),
  presence_penalty: unused(0),
  logit_bias: unused({}),
  service_tier: unused('auto', 'default'),
  store: unused(false),
  metadata: label,
  prompt_cache_key: label,
  prompt_cache_retention: label,
  safety_identifier: label,
  user: label,
};

/** Body of `/v1/completions`. */
export const completionFields = z.strictObject({
  ...sampling,
  prompt: z.unknown().optional(),
  max_tokens: optional(z.int().min(0)),
  echo: optional(z.boolean()),
  logprobs: optional(z.int().min(0).max(20)),
  /** vLLM's: whether a prompt given as text gets the tokenizer's BOS. */
  add_special_tokens: optional(z.boolean()),
  best_of: optional(z.int()),
  suffix: unused(''),
});

const textPart = z.strictObject({ type: z.literal('text'), text: z.string() });

const message = z.strictObject({
  role: z.enum(['system', 'developer', 'user', 'assistant']),
  content: z.union([
    z.string(),
    list(textPart, MAX_MESSAGES).transform((parts) => parts.map(({ text }) => text).join('\n')),
  ]),
  name: unused(),
  // What clients send back of an earlier answer.
  refusal: unused(),
  annotations: unused([]),
  audio: unused(),
  function_call: unused(),
  tool_calls: unused([]),
});

/** Body of `/v1/chat/completions`. */
export const chatFields = z.strictObject({
  ...sampling,
  messages: list(message, MAX_MESSAGES, 1),
  max_tokens: optional(z.int().min(1)),
  max_completion_tokens: optional(z.int().min(1)),
  logprobs: optional(z.boolean()),
  top_logprobs: optional(z.int().min(0).max(20)),

  audio: unused(),
  function_call: unused('none', 'auto'),
  functions: unused([]),
  modalities: unused(['text']),
  parallel_tool_calls: unused(true, false),
  prediction: unused(),
  reasoning_effort: unused('none'),
  response_format: unused({ type: 'text' }),
  tool_choice: unused('none', 'auto'),
  tools: unused([]),
  verbosity: unused('medium'),
  web_search_options: unused(),
});

/** Fields of a completion, checked. */
export type CompletionFields = z.output<typeof completionFields>;

/** Fields of a chat completion, checked. */
export type ChatFields = z.output<typeof chatFields>;

/**
 * Checks a body.
 *
 * @throws ApiError 400 naming the field
 */
export function parseFields<T extends z.ZodType>(schema: T, body: unknown): z.output<T> {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const issue = deepest(result.error.issues[0]);
  if (issue.code === 'unrecognized_keys') {
    const param = [...issue.path, issue.keys[0].slice(0, 100)].join('.');
    throw new ApiError(400, `${param}: no field of this endpoint; leave it out`, {
      param,
      code: 'unknown_parameter',
    });
  }
  const param = issue.path.join('.') || null;
  throw new ApiError(400, `${param ?? 'body'}: ${issue.message}`, { param });
}

/** Of a union's refusals that which came furthest is about what was meant; of equals, that of the right type. */
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
