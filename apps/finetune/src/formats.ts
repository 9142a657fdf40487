/**
 * The four shapes in which instruction data are published, each turned into a conversation.
 *
 *     alpaca             { instruction, input?, output, history? }
 *     sharegpt           { conversations: [{ from, value }] }
 *     messages           { messages: [{ role, content }] }, OpenAI's
 *     prompt-completion  { prompt, completion }, texts or lists of messages; question and answer, input and output
 *
 * each with `system?` and `tools?`. A field that one of the programs knows which read these shapes is honoured or
 * refused, never lost: the table is in the README.
 */
import { type Conversation, type Message, withTools } from '@meap/token-dataset';
import { ChatDataError } from './errors.ts';
import { messageList } from './messages.ts';
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

/** The shape of a record, as in `data.format`. */
export type DataFormat = 'alpaca' | 'sharegpt' | 'messages' | 'prompt-completion';

/** Every {@link DataFormat}. */
export const FORMATS = [
  'alpaca',
  'sharegpt',
  'messages',
  'prompt-completion',
] as const satisfies DataFormat[];

const QUESTIONS = ['prompt', 'question', 'query'];
/** What a question is about. */
const INPUTS = ['input', 'context'];
const ANSWERS = ['output', 'completion', 'response', 'answer'];
const SYSTEMS = ['system', 'system_prompt', 'system_message'];

/** Names that `data.fields` may give to fields of a file: those of records and of messages. */
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

const PREFERENCES = 'answers are learned here, not preferences between them';
const REFUSED = {
  images: 'pictures are not supported',
  image: 'pictures are not supported',
  videos: 'videos are not supported',
  video: 'videos are not supported',
  audios: 'sound is not supported',
  audio: 'sound is not supported',
  chosen: PREFERENCES,
  rejected: PREFERENCES,
  preferred_output: PREFERENCES,
  non_preferred_output: PREFERENCES,
  kto_tag: PREFERENCES,
  chat_template_kwargs: 'templates see messages and tools only',
};

/** @throws ChatDataError for a record with a field that can be neither honoured nor left out without a word */
export function refuseUnsupported(record: DataRecord): void {
  refuseFields(record, REFUSED);
}

/** Which shape a record has by its fields; undefined where none fits. */
export function recogniseFormat(record: DataRecord): DataFormat | undefined {
  const has = (names: readonly string[]) => names.some((name) => record[name] !== undefined);
  if (listOf(record.messages)) return 'messages';
  if (listOf(record.conversations)) return 'sharegpt';
  if (!has(ANSWERS)) return undefined;
  if (has(['instruction'])) return 'alpaca';
  return has([...QUESTIONS, 'input']) ? 'prompt-completion' : undefined;
}

/**
 * The conversation of a record.
 *
 * Alpaca's input follows its instruction on a new line. Of content in parts only texts are taken. A system message
 * beside the messages is joined with the one that they begin with.
 *
 * @param names how the fields of the file are called; without it as usual
 * @throws ChatDataError naming the field, without the place of the record
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

/** A question and its answer, each a text or a list of messages. */
function pair(record: DataRecord, format: DataFormat, names: FieldNames): Message[] {
  const [usualQuestion, usualAnswer] =
    format === 'alpaca' ? ['instruction', 'output'] : ['prompt', 'completion'];
  const chosen = chooseField(record, ['instruction', ...QUESTIONS], names);
  // Where there is no other question, the input is one.
  const isInputAsked = chosen === undefined && record.input !== undefined && format !== 'alpaca';
  const question = isInputAsked ? 'input' : (chosen ?? usualQuestion);
  const input = chooseField(record, isInputAsked ? ['context'] : INPUTS, names);
  const answer = chooseField(record, ANSWERS, names) ?? usualAnswer;
  const about = input === undefined || isBlank(record[input]) ? [] : [textOf(record, input)];
  if (!Array.isArray(record[question])) {
    // Some Alpaca sets have the whole question in the input.
    const asked = textOf(record, question);
    const content = (about.length > 0 && isBlank(asked) ? about : [asked, ...about]).join('\n');
    return [...historyOf(record), { role: 'user', content }, ...answers(record, answer, names)];
  }
  if (about.length > 0) {
    throw new ChatDataError(`${input}: got it beside a list of messages, expected it in the last of them`);
  }
  // As in TRL, what is said before the completion is read, not learned.
  const before = messageList(record, question, names).map((message) =>
    message.role === 'assistant' ? { ...message, learn: message.learn ?? false } : message,
  );
  return [...historyOf(record), ...before, ...answers(record, answer, names)];
}

function answers(record: DataRecord, key: string, names: FieldNames): Message[] {
  if (Array.isArray(record[key])) return messageList(record, key, names);
  return [{ role: 'assistant', content: textOf(record, key) }];
}

/** Earlier turns: pairs of question and answer. */
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

/** Marks of a whole record that would make it worth more, less or nothing. */
function requireNeutral(record: DataRecord): void {
  const { weight, label } = record;
  if (weight != null && weight !== 1 && weight !== 1n) {
    throw new ChatDataError(
      `weight: got ${show(weight)} for a whole record, expected 1 or none; weigh messages, or name it in data.ignore_fields`,
    );
  }
  if (typeof label === 'boolean') {
    throw new ChatDataError(
      `label: got ${label}, expected none, since ${PREFERENCES}; to train without it, name it in data.ignore_fields`,
    );
  }
}
