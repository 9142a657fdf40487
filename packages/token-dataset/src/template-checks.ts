import { type Conversation, type Message, withTools } from './conversation.ts';

/** What {@link requireAllWritten} asks and tells. */
export interface TemplateProbe {
  /** The text of another conversation; undefined where the template refuses it. */
  render(messages: Conversation): string | undefined;
  /** The error for a field of a message that is not in the text. */
  leavesOut(message: number, field: string): Error;
  /** Throws for another reason. */
  refuse(reason: string): never;
}

/**
 * Checks that a text holds what is no content: tools, calls of tools, names; and that roles are told apart.
 *
 * A part is written if the text without it is another one.
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
      `leaves out tool ${i + 1} of ${tools!.length}, expected all of tools; use a template that writes tools, or take ` +
        'them out of the data',
    );
  }
  for (const [i, { role, content, name, tool_calls: calls }] of messages.entries()) {
    for (const call of calls ?? []) {
      const others = calls!.filter((other) => other !== call);
      const rest = others.length > 0 ? others : undefined;
      if (without(i, { tool_calls: rest }) === text) throw probe.leavesOut(i, 'tool_calls');
    }
    // The name of a tool links its answer to a call, and templates may do without, as they may without ids.
    if (name && role !== 'tool' && without(i, { name: undefined }) === text) {
      throw probe.leavesOut(i, 'name');
    }
    const isOther = (role === 'system' || role === 'tool') && content.trim() !== '';
    if (isOther && without(i, { role: 'assistant' }) === text) {
      probe.refuse(
        `writes message ${i + 1} of ${messages.length} (role ${role}) as it writes an answer, expected roles told ` +
          'apart; use a template that knows this role, or move the message',
      );
    }
  }
}
