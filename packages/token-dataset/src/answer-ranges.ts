/** Finds answers in a rendered conversation that are more than their content: reasoning, tool calls, `{% generation %}`. */
import type { ChatTemplate, Piece } from './chat-template.ts';
import { type Conversation, type Message, withTools } from './conversation.ts';
import { TemplateError } from './errors.ts';

/** The range of a message in a rendered conversation. */
export interface TextRange {
  start: number;
  end: number;
  /** Index of the message. */
  message: number;
}

/** Special tokens of a text, in order. */
type FindSpecial = (text: string) => Iterable<{ index: number; end: number; id: number }>;

/** Whether an answer has reasoning or tool calls. */
function isStructured(message: Message): boolean {
  const { role, tool_calls: calls } = message;
  return role === 'assistant' && (!!calls?.length || !!message.reasoning_content?.trim());
}

/**
 * Ranges of answers that are more than their content: those that the template marks with `{% generation %}`, otherwise
 * answers with reasoning or tool calls, from the end of the header to the token that ends them.
 *
 * @param pieces pieces of the whole conversation
 * @param endId id that ends answers; undefined if the template writes none
 * @throws TemplateError if the template does not show where such an answer starts or ends
 */
export function answerRanges(
  template: ChatTemplate,
  messages: Conversation,
  { pieces, findSpecial, endId }: { pieces: readonly Piece[]; findSpecial: FindSpecial; endId?: number },
): TextRange[] {
  const generated = template.generationRanges(messages);
  if (generated) return assignRanges(template, messages, pieces, generated);
  const text = pieces.map((piece) => piece.text).join('');
  const ranges: TextRange[] = [];
  for (const [i, message] of messages.entries()) {
    if (!isStructured(message) || message.learn === false) continue;
    const upTo = (count: number, addGenerationPrompt: boolean) =>
      template.render(withTools(messages.slice(0, count), messages.tools), { addGenerationPrompt });
    const header = upTo(i, true);
    if (!text.startsWith(header)) throw unclear(template, i, 'starts');
    const start = header.length;
    // If an answer is the last message, it ends with the last special token.
    const own = upTo(i + 1, false);
    const ended = endId === undefined ? undefined : [...findSpecial(own.slice(start))].at(-1);
    let end = start + (ended?.end ?? own.slice(start).trimEnd().length);
    if (!own.startsWith(header) || !text.startsWith(own.slice(0, end))) {
      // Templates may write a last answer differently: then the first end token after its content counts.
      const from = Math.max(start, endOfContent(pieces, i));
      const stop = [...findSpecial(text.slice(from))].find(({ id }) => id === endId);
      if (!stop) throw unclear(template, i, 'ends');
      end = from + stop.end;
    }
    ranges.push({ start, end, message: i });
  }
  return ranges;
}

function endOfContent(pieces: readonly Piece[], message: number): number {
  let at = 0;
  let end = 0;
  for (const piece of pieces) {
    at += piece.text.length;
    if (piece.message === message) end = at;
  }
  return end;
}

/** Assigns generated ranges to answers: one to each, or by the content inside a range. */
function assignRanges(
  template: ChatTemplate,
  messages: Conversation,
  pieces: readonly Piece[],
  ranges: readonly Omit<TextRange, 'message'>[],
): TextRange[] {
  const answers = [...messages.keys()].filter((i) => messages[i].role === 'assistant');
  if (ranges.length === answers.length) return ranges.map((range, i) => ({ ...range, message: answers[i] }));
  return ranges
    .filter(({ start, end }) => end > start)
    .map((range) => {
      let at = 0;
      const inside = pieces.find((piece) => {
        const start = at;
        at += piece.text.length;
        return piece.message !== undefined && start >= range.start && at <= range.end;
      });
      if (inside) return { ...range, message: inside.message! };
      throw new TemplateError(
        `chat template ${template.name}: writes ${ranges.length} {% generation %} blocks for ${answers.length} answers, ` +
          'expected one for each; close the block after every answer',
      );
    });
}

function unclear({ name }: ChatTemplate, message: number, what: 'starts' | 'ends'): TemplateError {
  return new TemplateError(
    `chat template ${name}: does not show where the answer of message ${message + 1}, with reasoning or tool calls, ` +
      `${what}, expected the text before it not to change when messages follow; mark answers with {% generation %}, ` +
      'or train on each answer in a conversation that ends with it',
  );
}
