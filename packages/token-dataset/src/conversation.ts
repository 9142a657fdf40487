/** Conversations as chat templates take them: OpenAI's messages with Hugging Face's additions. */

/** A tool call of the assistant. */
export interface ToolCall {
  readonly id?: string;
  readonly type?: string;
  /** `arguments` is an object, as templates expect, not the JSON text of OpenAI's API. */
  readonly function: { readonly name: string; readonly arguments: unknown };
}

/** One message of a conversation. */
export interface Message {
  role: 'system' | 'user' | 'assistant' | 'tool';
  content: string;
  /** Reasoning of the assistant. Templates also see it as `thinking`, as in `transformers`. */
  reasoning_content?: string;
  tool_calls?: readonly ToolCall[];
  /** In a message of role `tool`: the id of the call that it answers. */
  tool_call_id?: string;
  /** Name of the speaker or the tool. */
  name?: string;
  /** False excludes the message from training. Templates do not see it. */
  learn?: boolean;
}

/** Messages in order, with the JSON schemas of the tools that the assistant may call. */
export interface Conversation extends ReadonlyArray<Message> {
  readonly tools?: readonly object[];
}

/** A conversation of these messages and tools. */
export function withTools(messages: readonly Message[], tools: readonly object[] | undefined): Conversation {
  return tools?.length ? Object.assign([...messages], { tools }) : messages;
}

/** A message as templates see it. */
export function templateMessage({ learn: _, ...message }: Message): Record<string, unknown> {
  const { reasoning_content: thinking } = message;
  return Object.fromEntries(
    Object.entries({ thinking, ...message }).filter(([, value]) => value !== undefined),
  );
}
