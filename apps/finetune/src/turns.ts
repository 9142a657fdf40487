/** Implements `masking.turns`. */
import { withTools } from '@meap/token-dataset';
import type { Conversation, Message } from './formats.ts';

/** Splits a conversation into its answers, each with the system messages and the messages since the previous answer. */
export function separateTurns(conversation: Conversation): Conversation[] {
  const systemEnd = conversation.findIndex(({ role }) => role !== 'system');
  const system = conversation.slice(0, Math.max(systemEnd, 0));
  const turns: Conversation[] = [];
  let start = system.length;
  for (let i = start; i < conversation.length; i++) {
    // A tool call, its result and the following answer are one answer.
    const next = conversation[i + 1]?.role;
    if (conversation[i].role !== 'assistant' || next === 'tool' || next === 'assistant') continue;
    turns.push(withTools([...system, ...conversation.slice(start, i + 1)], conversation.tools));
    start = i + 1;
  }
  return turns.length > 0 ? turns : [conversation];
}

/** Excludes all answers but the last from the loss. */
export function lastAnswerOnly(conversation: Conversation): Conversation {
  const last = conversation.findLastIndex(({ role }) => role === 'assistant');
  const messages = conversation.map(
    (message, i): Message =>
      message.role === 'assistant' && i !== last ? { ...message, learn: false } : message,
  );
  return withTools(messages, conversation.tools);
}
