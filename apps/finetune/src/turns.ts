/** Which answers of a conversation are learned, and how much of it they are learned with: `masking.turns`. */
import { withTools } from '@meap/token-dataset';
import type { Conversation, Message } from './formats.ts';

/** Each answer with the opening system messages and what was said since the answer before it. */
export function separateTurns(conversation: Conversation): Conversation[] {
  const systemEnd = conversation.findIndex(({ role }) => role !== 'system');
  const system = conversation.slice(0, Math.max(systemEnd, 0));
  const turns: Conversation[] = [];
  let start = system.length;
  for (let i = start; i < conversation.length; i++) {
    // A call of a tool, its result and what follows from it are one answer.
    const next = conversation[i + 1]?.role;
    if (conversation[i].role !== 'assistant' || next === 'tool' || next === 'assistant') continue;
    turns.push(withTools([...system, ...conversation.slice(start, i + 1)], conversation.tools));
    start = i + 1;
  }
  return turns.length > 0 ? turns : [conversation];
}

/** The whole conversation, of which the last answer is learned; earlier ones are read. */
export function lastAnswerOnly(conversation: Conversation): Conversation {
  const last = conversation.findLastIndex(({ role }) => role === 'assistant');
  const messages = conversation.map(
    (message, i): Message =>
      message.role === 'assistant' && i !== last ? { ...message, learn: false } : message,
  );
  return withTools(messages, conversation.tools);
}
