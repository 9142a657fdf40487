import { type Conversation, type Message, withTools } from './conversation.ts';

/** The template under test, as {@link requireAllWritten} uses it. */
export interface TemplateProbe {
  /** The text of another conversation; undefined if the template refuses it. */
  render(messages: Conversation): string | undefined;
  /** The error for a field of a message that is missing from the text. */
  omits(message: number, field: string): Error;
  /** Throws an error for another reason. */
  refuse(reason: string): never;
}

/**
 * Checks that the text contains tools, tool calls and names, and that it distinguishes roles.
 *
 * A part is in the text if the text changes without it.
 */
export function requireAllWritten(messages: Conversation, text: string, probe: TemplateProbe): void {
  const { tools } = messages;
  const without = (index: number, changes: Partial<Message>) =>
    probe.render(
      withTools(
        messages.map((message, i) => (i === index ? { ...message, ...changes } : message)),
        tools,
      ),
    );
  for (const i of tools?.keys() ?? []) {
    const others = tools!.filter((_, other) => other !== i);
    if (probe.render(withTools([...messages], others)) !== text) continue;
    probe.refuse(
      `omits tool ${i + 1} of ${tools!.length}, expected all tools; use a template that writes tools, or remove them ` +
        'from the data',
    );
  }
  for (const [i, { role, content, name, tool_calls: calls }] of messages.entries()) {
    for (const call of calls ?? []) {
      const others = calls!.filter((other) => other !== call);
      const rest = others.length > 0 ? others : undefined;
      if (without(i, { tool_calls: rest }) === text) throw probe.omits(i, 'tool_calls');
    }
    // Templates may omit the name and the id that link the answer of a tool to its call.
    if (name && role !== 'tool' && without(i, { name: undefined }) === text) throw probe.omits(i, 'name');
    const isOther = (role === 'system' || role === 'tool') && content.trim() !== '';
    if (isOther && without(i, { role: 'assistant' }) === text) {
      probe.refuse(
        `writes message ${i + 1} of ${messages.length} (role ${role}) like an answer, expected distinct roles; use a ` +
          'template that supports this role, or move the message',
      );
    }
  }
}
