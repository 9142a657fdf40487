/**
 * The four shapes in which instruction data are published, each turned into a conversation.
 *
 *     alpaca             { instruction, input?, output, system? }
 *     sharegpt           { conversations: [{ from, value }], system? }
 *     messages           { messages: [{ role, content, weight? }] }, OpenAI's
 *     prompt-completion  { prompt, completion }, or response for completion; texts or lists of messages
 */
import type { Message as PlainMessage } from '@meap/token-dataset';
import { ChatDataError } from './errors.ts';

/** What one party said, and whether to learn it. */
export interface Message extends PlainMessage {
  /** False: an answer to read but not to learn, `"weight": 0` in OpenAI's files. */
  learn?: false;
}

/** Messages in order. */
export type Conversation = readonly Message[];

/** The shape of a record, as in `data.format`. */
export type DataFormat = 'alpaca' | 'sharegpt' | 'messages' | 'prompt-completion';

/** Every {@link DataFormat}. */
export const FORMATS = [
  'alpaca',
  'sharegpt',
  'messages',
  'prompt-completion',
] as const satisfies DataFormat[];

/** One line of a file, parsed. */
export type DataRecord = Readonly<Record<string, unknown>>;

/** Which shape a record has by its fields; undefined where none fits. */
export function recogniseFormat(record: DataRecord): DataFormat | undefined {
  if (Array.isArray(record.messages)) return 'messages';
  if (Array.isArray(record.conversations)) return 'sharegpt';
  if ('instruction' in record && 'output' in record) return 'alpaca';
  if ('prompt' in record && ('completion' in record || 'response' in record)) return 'prompt-completion';
  return undefined;
}

/**
 * The conversation of a record.
 *
 * Alpaca's input follows its instruction on a new line. Of OpenAI's content parts only texts are taken; tools and
 * roles other than system, user and assistant are refused, since leaving them out would change what was said.
 *
 * @throws ChatDataError naming the field, without the place of the record
 */
export function toConversation(record: DataRecord, format: DataFormat): Conversation {
  refuseTools(record, '');
  switch (format) {
    case 'alpaca':
      return alpaca(record);
    case 'sharegpt':
      return [...systemOf(record), ...messageList(record, 'conversations')];
    case 'messages':
      return messageList(record, 'messages');
    case 'prompt-completion':
      return promptCompletion(record);
  }
}

/** A record whose fields have other names: `names` goes from the usual name to the one in the file. */
export function renameFields(record: DataRecord, names: Readonly<Record<string, string>>): DataRecord {
  const renamed: Record<string, unknown> = { ...record };
  for (const [usual, own] of Object.entries(names)) {
    if (!Object.hasOwn(record, own)) {
      throw new ChatDataError(`field ${own} is missing, got ${Object.keys(record).join(', ') || 'none'}`);
    }
    renamed[usual] = record[own];
  }
  return renamed;
}

function alpaca(record: DataRecord): Conversation {
  const instruction = textOf(record, 'instruction');
  const input = record.input == null ? '' : textOf(record, 'input');
  const content = input === '' ? instruction : `${instruction}\n${input}`;
  return [
    ...systemOf(record),
    { role: 'user', content },
    { role: 'assistant', content: textOf(record, 'output') },
  ];
}

function promptCompletion(record: DataRecord): Conversation {
  const answer = 'completion' in record ? 'completion' : 'response';
  const side = (key: string, role: Message['role']): Conversation =>
    Array.isArray(record[key]) ? messageList(record, key) : [{ role, content: textOf(record, key) }];
  return [...systemOf(record), ...side('prompt', 'user'), ...side(answer, 'assistant')];
}

function systemOf(record: DataRecord): Message[] {
  return record.system == null || record.system === ''
    ? []
    : [{ role: 'system', content: textOf(record, 'system') }];
}

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
};

/** What tools say and are told, in OpenAI's and ShareGPT's files. */
const TOOL_ROLES = ['tool', 'function', 'function_call', 'observation'];

function messageList(record: DataRecord, key: string): Message[] {
  const list = record[key];
  if (!Array.isArray(list) || list.length === 0) {
    throw new ChatDataError(`${key}: got ${show(list)}, expected a list of messages`);
  }
  return list.map((entry: unknown, i) => {
    const path = `${key}[${i}]`;
    if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) {
      throw new ChatDataError(`${path}: got ${show(entry)}, expected a message with role and content`);
    }
    const message = entry as DataRecord;
    refuseTools(message, `${path}.`);
    const roleKey = 'role' in message ? 'role' : 'from';
    const given = message[roleKey];
    const role =
      typeof given === 'string' && Object.hasOwn(ROLES, given.toLowerCase())
        ? ROLES[given.toLowerCase()]
        : undefined;
    if (!role) {
      if (TOOL_ROLES.includes(String(given).toLowerCase())) throw toolError(`${path}.${roleKey}`, given);
      throw new ChatDataError(`${path}.${roleKey}: got ${show(given)}, expected system, user or assistant`);
    }
    const contentKey = 'content' in message ? 'content' : 'value';
    const content = contentText(message[contentKey], `${path}.${contentKey}`);
    return message.weight === 0 ? { role, content, learn: false } : { role, content };
  });
}

/** A text, or OpenAI's list of parts of which all are texts. */
function contentText(value: unknown, path: string): string {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) throw new ChatDataError(`${path}: got ${show(value)}, expected text`);
  return value
    .map((part: unknown) => {
      const text = (part as { text?: unknown } | null)?.text;
      if (typeof text === 'string') return text;
      throw new ChatDataError(`${path}: got the part ${show(part)}, expected parts of type text`);
    })
    .join('');
}

/** Keys of tool calling; an empty one means that no tool is used. */
function refuseTools(record: DataRecord, path: string): void {
  for (const key of ['tools', 'functions', 'tool_calls', 'function_call']) {
    const value = record[key];
    if (value == null || (Array.isArray(value) && value.length === 0)) continue;
    throw toolError(`${path}${key}`, value);
  }
}

function toolError(path: string, value: unknown): ChatDataError {
  return new ChatDataError(`${path}: tools are not supported, got ${show(value)}, expected none`);
}

function textOf(record: DataRecord, key: string): string {
  const value = record[key];
  if (typeof value === 'string') return value;
  throw new ChatDataError(`${key}: got ${show(value)}, expected text`);
}

function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? String(inner) : inner));
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
