/**
 * Converts the four record formats of instruction data into conversations.
 *
 *     alpaca             { instruction, input?, output, history? }
 *     sharegpt           { conversations: [{ from, value }] }
 *     messages           { messages: [{ role, content }] }, OpenAI's
 *     prompt-completion  { prompt, completion }, texts or lists of messages; question and answer, input and output
 *
 * each with `system?` and `tools?`. Fields that other programs use in these formats are either supported or refused, never
 * ignored silently; the README has the table.
 */
import { type Conversation, type Message, withTools } from '@meap/token-dataset';
import { ChatDataError } from './errors.ts';
import { messageList, REFUSED_MEDIA } from './messages.ts';
import {
  chooseField,
  type DataRecord,
  type FieldNames,
  isBlank,
  isEmpty,
  listOf,
  parsed,
  refuseFields,
  renameFields,
  show,
  textOf,
} from './record-fields.ts';
import { toolsOf } from './tools.ts';

export type { Conversation, DataRecord, Message };

/** A record format, as in `data.format`. */
export type DataFormat = 'alpaca' | 'sharegpt' | 'messages' | 'prompt-completion';

/** All record formats. */
export const FORMATS = [
  'alpaca',
  'sharegpt',
  'messages',
  'prompt-completion',
] as const satisfies readonly DataFormat[];

const QUESTIONS = ['prompt', 'question', 'query'];
/** Texts that a question refers to. */
const INPUTS = ['input', 'context'];
const ANSWERS = ['output', 'completion', 'response', 'answer'];
const SYSTEMS = ['system', 'system_prompt', 'system_message'];

/** Standard names of fields of records and messages: the keys of `data.fields`. */
export const FIELD_NAMES = [
  'messages',
  'conversations',
  'instruction',
  ...QUESTIONS,
  ...INPUTS,
  ...ANSWERS,
  ...SYSTEMS,
  ...['history', 'tools', 'role', 'from', 'content', 'value', 'name', 'weight', 'train', 'loss'],
  ...['reasoning_content', 'tool_calls', 'function_call', 'tool_call_id'],
];

const PREFERENCES = 'preferences are not supported';
const REFUSED = {
  ...REFUSED_MEDIA,
  video: REFUSED_MEDIA.videos,
  chosen: PREFERENCES,
  rejected: PREFERENCES,
  preferred_output: PREFERENCES,
  non_preferred_output: PREFERENCES,
  kto_tag: PREFERENCES,
  chat_template_kwargs: 'templates get only messages and tools',
};

/** Throws ChatDataError if a record has an unsupported field. */
export function refuseUnsupported(record: DataRecord): void {
  refuseFields(record, REFUSED);
}

/** Detects the format of a record from its fields; undefined if none fits. */
export function recogniseFormat(record: DataRecord): DataFormat | undefined {
  const has = (names: readonly string[]) => names.some((name) => record[name] !== undefined);
  if (listOf(record.messages)) return 'messages';
  if (listOf(record.conversations)) return 'sharegpt';
  if (!has(ANSWERS)) return undefined;
  if (has(['instruction'])) return 'alpaca';
  return has([...QUESTIONS, 'input']) ? 'prompt-completion' : undefined;
}

/**
 * Converts a record into a conversation.
 *
 * Alpaca's input follows its instruction on a new line. Content in parts must be text. A separate system message is
 * prepended to the system message of the conversation, if any.
 *
 * @param names field names of the file; default: the standard names
 * @throws ChatDataError naming the field, without the position of the record
 */
export function toConversation(record: DataRecord, format: DataFormat, names: FieldNames = {}): Conversation {
  const named = renameFields(record, names);
  refuseUnsupported(named);
  requireNeutral(named);
  const messages = withSystem(named, names, messagesOf(named, format, names));
  return withTools(messages, toolsOf(named));
}

function messagesOf(record: DataRecord, format: DataFormat, names: FieldNames): Message[] {
  if (format === 'alpaca' || format === 'prompt-completion') return pair(record, format, names);
  const [key, other] = format === 'messages' ? ['messages', 'conversations'] : ['conversations', 'messages'];
  const beside = `the conversation is in ${key}`;
  refuseFields(record, { [other]: beside, history: beside });
  return messageList(record, key, names);
}

/** Converts a question and its answer, each a text or a list of messages. */
function pair(record: DataRecord, format: DataFormat, names: FieldNames): Message[] {
  const [usualQuestion, usualAnswer] =
    format === 'alpaca' ? ['instruction', 'output'] : ['prompt', 'completion'];
  const chosen = chooseField(record, ['instruction', ...QUESTIONS], names);
  // Without another question, the input is the question.
  const isInputQuestion = chosen === undefined && record.input !== undefined && format !== 'alpaca';
  const question = isInputQuestion ? 'input' : (chosen ?? usualQuestion);
  const input = chooseField(record, isInputQuestion ? ['context'] : INPUTS, names);
  const answer = chooseField(record, ANSWERS, names) ?? usualAnswer;
  const inputs = input === undefined || isBlank(record[input]) ? [] : [textOf(record, input)];
  if (!Array.isArray(record[question])) {
    // Some Alpaca sets have the whole question in the input.
    const asked = textOf(record, question);
    const content = (inputs.length > 0 && isBlank(asked) ? inputs : [asked, ...inputs]).join('\n');
    return [...historyOf(record), { role: 'user', content }, ...answers(record, answer, names)];
  }
  if (inputs.length > 0) {
    throw new ChatDataError(`${input}: got it beside a list of messages, expected it in the last of them`);
  }
  // As in TRL, answers in the prompt are not trained on.
  const before = messageList(record, question, names).map((message) =>
    message.role === 'assistant' ? { ...message, learn: message.learn ?? false } : message,
  );
  return [...historyOf(record), ...before, ...answers(record, answer, names)];
}

function answers(record: DataRecord, key: string, names: FieldNames): Message[] {
  if (Array.isArray(record[key])) return messageList(record, key, names);
  return [{ role: 'assistant', content: textOf(record, key) }];
}

/** Converts `history`, pairs of question and answer. */
function historyOf(record: DataRecord): Message[] {
  if (isEmpty(record.history)) return [];
  const history = parsed(record.history, 'history');
  if (!Array.isArray(history)) {
    throw new ChatDataError(`history: got ${show(record.history)}, expected a list of [question, answer]`);
  }
  return history.flatMap((turn: unknown, i): Message[] => {
    const isPair = Array.isArray(turn) && turn.length === 2 && turn.every((text) => typeof text === 'string');
    if (!isPair) {
      throw new ChatDataError(`history[${i}]: got ${show(turn)}, expected two texts, [question, answer]`);
    }
    return [
      { role: 'user', content: turn[0] },
      { role: 'assistant', content: turn[1] },
    ];
  });
}

function withSystem(record: DataRecord, names: FieldNames, messages: Message[]): Message[] {
  const key = chooseField(record, SYSTEMS, names);
  if (key === undefined || isBlank(record[key])) return messages;
  const content = textOf(record, key);
  const [first, ...rest] = messages;
  if (first?.role !== 'system') return [{ role: 'system', content }, ...messages];
  return first.content === content
    ? messages
    : [{ ...first, content: `${content}\n\n${first.content}` }, ...rest];
}

/** Refuses weights and labels of whole records. */
function requireNeutral(record: DataRecord): void {
  const { weight, label } = record;
  if (weight != null && weight !== 1 && weight !== 1n) {
    throw new ChatDataError(
      `weight: got ${show(weight)} for a whole record, expected 1 or none; weight messages, or add it to data.ignore_fields`,
    );
  }
  if (typeof label === 'boolean') {
    throw new ChatDataError(
      `label: got ${label}, expected none, since ${PREFERENCES}; to train without it, add it to data.ignore_fields`,
    );
  }
}
