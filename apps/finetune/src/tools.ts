/** Tools and calls of them, as OpenAI, Hugging Face and LLaMA-Factory publish them, in the form that templates take. */
import type { ToolCall } from '@meap/token-dataset';
import { ChatDataError } from './errors.ts';
import { type DataRecord, isEmpty, parsed, show } from './record-fields.ts';

/** What the assistant may call: `tools`, or OpenAI's former `functions`; JSON as text too. */
export function toolsOf(record: DataRecord): object[] {
  const tools: object[] = [];
  for (const key of ['tools', 'functions']) {
    if (isEmpty(record[key])) continue;
    const list = parsed(record[key], key);
    for (const [i, tool] of (Array.isArray(list) ? list : [list]).entries()) {
      const described = (tool as DataRecord | null)?.function ?? tool;
      if (typeof (described as DataRecord | null)?.name !== 'string') {
        throw new ChatDataError(
          `${key}[${i}]: got ${show(tool)}, expected a tool with a name and parameters`,
        );
      }
      tools.push(described === tool ? { type: 'function', function: tool } : tool);
    }
  }
  return tools;
}

/**
 * Calls of a message: a list of them, one of them, or either as JSON.
 *
 * Arguments that are JSON as text, as OpenAI's API sends them, become objects: that is what templates write as JSON.
 */
export function toolCallsOf(value: unknown, path: string): ToolCall[] {
  const calls = parsed(value, path);
  return (Array.isArray(calls) ? calls : [calls]).map((call: DataRecord | null, i) => {
    const { name, arguments: given } = (call?.function ?? call ?? {}) as DataRecord;
    const where = Array.isArray(calls) ? `${path}[${i}]` : path;
    if (typeof name !== 'string') {
      throw new ChatDataError(
        `${where}: got ${show(call)}, expected a call with the name of a function and arguments`,
      );
    }
    const args = isEmpty(given) ? {} : parsed(given, `${where}.arguments`);
    const { id, type } = call as { id?: unknown; type?: unknown };
    return {
      ...(typeof id === 'string' && { id }),
      type: typeof type === 'string' ? type : 'function',
      function: { name, arguments: args },
    };
  });
}
