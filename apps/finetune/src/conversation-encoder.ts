/**
 * Conversations to samples: token ids with the answers marked.
 *
 * An answer is every token that overlaps its text or the text up to the special token that ends it. Reasoning and calls of
 * tools belong to it; where the template marks answers with `{% generation %}`, they are what it marks.
 */
import type { SftSample, SftSegment } from '@meap/sft-duplication';
import { ChatEncoder, type EncodedConversation, withTools } from '@meap/token-dataset';
import { ChatDataError } from './errors.ts';
import type { Conversation, Message } from './formats.ts';

/** Encodes conversations to learn from, and prompts, under one template and tokenizer. */
export class ConversationEncoder extends ChatEncoder {
  /**
   * Token ids of conversations as samples for `createDuplicator`.
   *
   * @param learnedRoles whose messages are learned
   * @throws TemplateError where the template refuses a conversation, or leaves out or rewrites some of it
   * @throws ChatDataError for a message that says it is to be learned, of a role that is not
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
        // What follows the last answer is not learned, and EOS has to be what does.
        const { ids } = segments[answer];
        const ended = { ...segments[answer], ids: [...Array.from(ids), this.endOfAnswerId] };
        segments.splice(answer, segments.length, ended);
      }
      return { segments };
    });
  }
}

/** Messages that all say whether they are learned. */
function withLearned(messages: Conversation, roles: readonly Message['role'][]): Conversation {
  const marked = messages.map((message, i) => {
    const isOfRole = roles.includes(message.role);
    if (message.learn && !isOfRole) {
      throw new ChatDataError(
        `message ${i + 1} of ${messages.length} (role ${message.role}) is marked to be learned, expected one of ` +
          `masking.loss_roles (${roles.join(', ')}); add its role there, or take the mark away`,
      );
    }
    return { ...message, learn: isOfRole && message.learn !== false };
  });
  return withTools(marked, messages.tools);
}

/** Groups tokens by the message they belong to. */
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
    // A token without width, such as a leading space that the tokenizer adds, belongs to what follows it.
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

/** Of all that an answer says: reasoning, content, calls. */
function numCharactersOf(message: Message): number {
  const { content, reasoning_content: reasoning = '', tool_calls: calls } = message;
  return [...content, ...reasoning, ...(calls ? JSON.stringify(calls) : '')].length;
}
