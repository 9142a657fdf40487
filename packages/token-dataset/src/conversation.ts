/** What is said in a chat, as chat templates take it: OpenAI's messages with Hugging Face's additions. */

/** A call of a tool by the assistant. */
export interface ToolCall {
  readonly id?: string;
  readonly type?: string;
  /** `arguments` are an object here, as templates expect, not the JSON text that OpenAI's API sends. */
  readonly function: { readonly name: string; readonly arguments: unknown };
}

/** What one party said. */
export interface Message {
  role: 'system' | 'user' | 'assistant' | 'tool';
  content: string;
  /** What the assistant thought before it answered. Templates see it as `thinking` too, as in `transformers`. */
  reasoning_content?: string;
  /** Calls that the assistant makes. */
  tool_calls?: readonly ToolCall[];
  /** Of a message of role `tool`: the call that it answers. */
  tool_call_id?: string;
  /** Who speaks, or which tool answers. */
  name?: string;
  /** False: a message to read but not to learn. Templates do not see it. */
  learn?: boolean;
}

/** Messages in order, with the tools that the assistant may call, as JSON schemas. */
export interface Conversation extends ReadonlyArray<Message> {
  readonly tools?: readonly object[];
}

/** The same tools beside other messages. */
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
