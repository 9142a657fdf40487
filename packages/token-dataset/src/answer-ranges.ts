/** Where answers stand in a rendered conversation, beyond their contents: reasoning, calls of tools, `{% generation %}`. */
import type { ChatTemplate, Piece } from './chat-template.ts';
import { type Conversation, type Message, withTools } from './conversation.ts';
import { TemplateError } from './errors.ts';

/** A part of the text that is a message's. */
export interface TextRange {
  start: number;
  end: number;
  /** Index of the message. */
  message: number;
}

/** Special tokens of a text, in order. */
type FindSpecial = (text: string) => Iterable<{ index: number; end: number; id: number }>;

/** Whether an answer is more than its content. */
function isStructured(message: Message): boolean {
  const { role, tool_calls: calls } = message;
  return role === 'assistant' && (!!calls?.length || !!message.reasoning_content?.trim());
}

/**
 * Ranges of answers that are not just their content: what the template marks with `{% generation %}`, else answers with
 * reasoning or calls of tools, from behind the header to the token that ends them.
 *
 * @param pieces of the whole conversation
 * @param endId id that ends answers; undefined where the template ends them with nothing
 * @throws TemplateError where the template does not show where such an answer begins or ends
 */
export function answerRanges(
  template: ChatTemplate,
  messages: Conversation,
  { pieces, findSpecial, endId }: { pieces: readonly Piece[]; findSpecial: FindSpecial; endId?: number },
): TextRange[] {
  const generated = template.generationRanges(messages);
  if (generated) return owned(template, messages, pieces, generated);
  const text = pieces.map((piece) => piece.text).join('');
  const ranges: TextRange[] = [];
  for (const [i, message] of messages.entries()) {
    if (!isStructured(message) || message.learn === false) continue;
    const upTo = (count: number, addGenerationPrompt: boolean) =>
      template.render(withTools(messages.slice(0, count), messages.tools), { addGenerationPrompt });
    const header = upTo(i, true);
    if (!text.startsWith(header)) throw unclear(template, i, 'begins');
    const start = header.length;
    // Rendered as the last message, an answer ends with the last special token.
    const own = upTo(i + 1, false);
    const ended = endId === undefined ? undefined : [...findSpecial(own.slice(start))].at(-1);
    let end = start + (ended?.end ?? own.slice(start).trimEnd().length);
    if (!own.startsWith(header) || !text.startsWith(own.slice(0, end))) {
      // Templates may write a last answer otherwise than an earlier one: then the first end behind its content counts.
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

/** Generated ranges by the answer they belong to: one each, or those that hold its content. */
function owned(
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

function unclear({ name }: ChatTemplate, message: number, what: 'begins' | 'ends'): TemplateError {
  return new TemplateError(
    `chat template ${name}: does not show where the answer of message ${message + 1}, with reasoning or calls of tools, ` +
      `${what}, expected the text up to it to stay the same when messages follow; mark answers with {% generation %}, ` +
      'or learn each answer in a conversation that ends with it',
  );
}
