/**
 * Encodes conversations as samples: token ids with marked answers.
 *
 * An answer consists of the tokens that overlap its text, reasoning and tool calls, up to the special token that ends it.
 * If the template marks answers with `{% generation %}`, those marks define them.
 */
import type { SftSample, SftSegment } from '@meap/sft-duplication';
import { ChatEncoder, type EncodedConversation, withTools } from '@meap/token-dataset';
import { ChatDataError } from './errors.ts';
import type { Conversation, Message } from './formats.ts';

/** Encodes training conversations and prompts with a template and a tokenizer. */
export class ConversationEncoder extends ChatEncoder {
  /**
   * Encodes conversations as samples for `createDuplicator`.
   *
   * @param learnedRoles roles whose messages are trained on
   * @throws TemplateError if the template refuses a conversation, or omits or changes some of it
   * @throws ChatDataError if a message of another role is marked to be trained on
   */
  async encode(
    conversations: readonly Conversation[],
    learnedRoles: readonly Message['role'][],
  ): Promise<SftSample[]> {
    const marked = conversations.map((messages) => withLearned(messages, learnedRoles));
    const encoded = await this.encodeConversations(marked);
    return encoded.map((tokens, i) => {
      const messages = marked[i];
      const isLearned = (message: number) => messages[message].learn === true;
      const segments = segmentsOf(tokens, messages, isLearned);
      const answer = segments.findLastIndex(({ trainable }) => trainable);
      if (this.lacksEnd && answer >= 0) {
        // Ends the sample with EOS after the last answer.
        const { ids } = segments[answer];
        const ended = { ...segments[answer], ids: [...Array.from(ids), this.endOfAnswerId] };
        segments.splice(answer, segments.length, ended);
      }
      return { segments };
    });
  }
}

/** Sets `learn` of every message. */
function withLearned(messages: Conversation, roles: readonly Message['role'][]): Conversation {
  const marked = messages.map((message, i) => {
    const isOfRole = roles.includes(message.role);
    if (message.learn && !isOfRole) {
      throw new ChatDataError(
        `message ${i + 1} of ${messages.length}: got role ${message.role} marked to be learned, expected one of ` +
          `masking.loss_roles (${roles.join(', ')}); add the role there, or remove the mark`,
      );
    }
    return { ...message, learn: isOfRole && message.learn !== false };
  });
  return withTools(marked, messages.tools);
}

/** Groups tokens by message. */
function segmentsOf(
  { ids, starts, ends, spans }: EncodedConversation,
  messages: Conversation,
  isLearned: (message: number) => boolean,
): SftSegment[] {
  const segments: (SftSegment & { ids: number[]; span: number })[] = [];
  let span = 0;
  for (let i = 0; i < ids.length; i++) {
    while (span < spans.length && starts[i] >= spans[span].end) span++;
    const current = spans[span];
    // A token of zero width, such as an added leading space, belongs to the following text.
    const isInside = current !== undefined && (ends[i] > current.start || starts[i] === current.start);
    const owner = isInside ? span : -1;
    const last = segments.at(-1);
    if (last && last.span === owner) {
      last.ids.push(ids[i]);
      continue;
    }
    const message = current?.message ?? messages.length - 1;
    const trainable = isInside && isLearned(message);
    const segment = { ids: [ids[i]], role: messages[message].role, trainable, span: owner };
    const numCharacters = trainable ? numCharactersOf(messages[message]) : undefined;
    segments.push({ ...segment, numCharacters });
  }
  return segments.map(({ span: _, ...segment }) => segment);
}

/** Counts the characters of reasoning, content and tool calls. */
function numCharactersOf(message: Message): number {
  const { content, reasoning_content: reasoning = '', tool_calls: calls } = message;
  return [...content, ...reasoning, ...(calls ? JSON.stringify(calls) : '')].length;
}
