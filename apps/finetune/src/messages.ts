/** Message lists in the formats of OpenAI, ShareGPT, TRL, axolotl, LLaMA-Factory and ms-swift. */
import type { Message } from '@meap/token-dataset';
import { ChatDataError } from './errors.ts';
import {
  chooseField,
  type DataRecord,
  type FieldNames,
  isBlank,
  isEmpty,
  listOf,
  refuseFields,
  renameFields,
  show,
} from './record-fields.ts';
import { toolCallsOf } from './tools.ts';

const ROLES: Readonly<Record<string, Message['role']>> = {
  system: 'system',
  developer: 'system',
  user: 'user',
  human: 'user',
  assistant: 'assistant',
  gpt: 'assistant',
  chatgpt: 'assistant',
  bing: 'assistant',
  bard: 'assistant',
  model: 'assistant',
  tool: 'tool',
  function: 'tool',
  observation: 'tool',
  tool_response: 'tool',
  // ShareGPT: the text is the call as JSON.
  function_call: 'assistant',
  tool_call: 'assistant',
};
/** Field names of reasoning, as in `transformers`. */
const REASONING = ['reasoning_content', 'thinking', 'reasoning'];
const CALLS = ['function_call', 'tool_call'];

/** Unsupported media of records and messages. */
export const REFUSED_MEDIA = {
  images: 'images are not supported',
  image: 'images are not supported',
  videos: 'videos are not supported',
  audios: 'audio is not supported',
  audio: 'audio is not supported',
};
const REFUSED = {
  ...REFUSED_MEDIA,
  refusal: 'chat templates have no refusals',
  train_detail: 'training on parts of a message is not supported',
  training_detail: 'training on parts of a message is not supported',
  prefix: 'prefixes of answers are not supported',
};

/**
 * Reads the messages at a key of a record.
 *
 * @throws ChatDataError naming message and field
 */
export function messageList(record: DataRecord, key: string, names: FieldNames): Message[] {
  const list = listOf(record[key]);
  if (!list?.length) {
    throw new ChatDataError(`${key}: got ${show(record[key])}, expected a list of messages`);
  }
  return list.map((entry, i) => {
    const path = `${key}[${i}]`;
    if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) {
      throw new ChatDataError(`${path}: got ${show(entry)}, expected a message with role and content`);
    }
    return messageOf(renameFields(entry as DataRecord, names), path, names);
  });
}

function messageOf(record: DataRecord, path: string, names: FieldNames): Message {
  refuseFields(record, REFUSED, `${path}.`);
  const roleKey = 'role' in record ? 'role' : 'from';
  const given = typeof record[roleKey] === 'string' ? record[roleKey].toLowerCase() : '';
  const role = Object.hasOwn(ROLES, given) ? ROLES[given] : undefined;
  if (!role) {
    throw new ChatDataError(
      `${path}.${roleKey}: got ${show(record[roleKey])}, expected system, user, assistant or tool`,
    );
  }
  let contentKey = 'content';
  try {
    contentKey = chooseField(record, ['content', 'value'], names) ?? contentKey;
  } catch (error) {
    throw new ChatDataError(`${path}: ${(error as Error).message}`);
  }
  const extra: Partial<Message> = {};
  if (CALLS.includes(given)) extra.tool_calls = toolCallsOf(record[contentKey], `${path}.${contentKey}`);
  for (const field of ['tool_calls', 'function_call'] as const) {
    if (!isEmpty(record[field])) extra.tool_calls = toolCallsOf(record[field], `${path}.${field}`);
  }
  const reasoning = REASONING.filter((field) => !isBlank(record[field]));
  if (reasoning.length > 1) {
    throw new ChatDataError(
      `${path}: got ${reasoning.join(' and ')}, expected one of them; add the others to data.ignore_fields`,
    );
  }
  for (const field of reasoning) extra.reasoning_content = contentText(record[field], `${path}.${field}`);
  const assistantField = extra.tool_calls ? 'tool_calls' : reasoning[0];
  if (assistantField && role !== 'assistant') {
    throw new ChatDataError(`${path}.${assistantField}: got it from ${given}, expected it from an assistant`);
  }
  for (const field of ['name', 'tool_call_id'] as const) {
    if (!isEmpty(record[field])) extra[field] = contentText(record[field], `${path}.${field}`);
  }
  const learn = learnOf(record, path);
  if (learn !== undefined) extra.learn = learn;
  const hasNoContent = CALLS.includes(given) || (assistantField !== undefined && record[contentKey] == null);
  return {
    role,
    content: hasNoContent ? '' : contentText(record[contentKey], `${path}.${contentKey}`),
    ...extra,
  };
}

/** Reads OpenAI's weight, axolotl's train and ms-swift's loss. */
function learnOf(record: DataRecord, path: string): boolean | undefined {
  const marks = new Map<string, boolean>();
  for (const field of ['weight', 'train', 'training', 'loss']) {
    const value = typeof record[field] === 'bigint' ? Number(record[field]) : record[field];
    if (value == null) continue;
    if (![0, 1, true, false].includes(value as never)) {
      throw new ChatDataError(
        `${path}.${field}: got ${show(value)}, expected 0 or false to exclude the message from the loss, or 1 or true`,
      );
    }
    // A weight of 1 is the default.
    if (field !== 'weight' || Number(value) === 0) marks.set(field, Boolean(value));
  }
  if (new Set(marks.values()).size > 1) {
    throw new ChatDataError(
      `${path}: got ${[...marks.keys()].join(' and ')} that differ, expected one of them`,
    );
  }
  return marks.values().next().value;
}

/** Reads a text, or OpenAI's list of text parts. */
function contentText(value: unknown, path: string): string {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) throw new ChatDataError(`${path}: got ${show(value)}, expected text`);
  return value
    .map((part: unknown) => {
      if (typeof part === 'string') return part;
      const { type = 'text', text } = (part ?? {}) as { type?: unknown; text?: unknown };
      if (typeof text === 'string' && ['text', 'input_text', 'output_text'].includes(type as string))
        return text;
      throw new ChatDataError(`${path}: got the part ${show(part)}, expected parts of type text`);
    })
    .join('');
}
