/**
 * Conversations to samples: token ids with the answers marked.
 *
 * An answer is every token that overlaps its text or the text up to the special token that ends it.
 */
import type { SftSample, SftSegment } from '@meap/sft-duplication';
import { ChatEncoder, type EncodedConversation } from '@meap/token-dataset';
import type { Conversation, Message } from './formats.ts';

/** Encodes conversations to learn from, and prompts, under one template and tokenizer. */
export class ConversationEncoder extends ChatEncoder {
  /**
   * Token ids of conversations as samples for `createDuplicator`.
   *
   * @param learnedRoles whose messages are learned
   * @throws TemplateError where the template refuses a conversation or rewrites a message
   */
  async encode(
    conversations: readonly Conversation[],
    learnedRoles: readonly Message['role'][],
  ): Promise<SftSample[]> {
    const encoded = await this.encodeConversations(conversations);
    return encoded.map((tokens, i) => {
      const messages = conversations[i];
      const isLearned = (message: number) =>
        learnedRoles.includes(messages[message].role) && messages[message].learn !== false;
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
    const numCharacters = trainable ? [...messages[message].content].length : undefined;
    segments.push({ ...segment, numCharacters });
  }
  return segments.map(({ span: _, ...segment }) => segment);
}
