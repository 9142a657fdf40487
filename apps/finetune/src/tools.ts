/** Converts tools and tool calls of OpenAI, Hugging Face and LLaMA-Factory for chat templates. */
import type { ToolCall } from '@meap/token-dataset';
import { ChatDataError } from './errors.ts';
import { type DataRecord, isEmpty, parsed, show } from './record-fields.ts';

/** Reads `tools`, or OpenAI's deprecated `functions`; also as JSON text. */
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
 * Reads tool calls: a list, a single call, or either as JSON text.
 *
 * Arguments that are JSON text, as in OpenAI's API, become objects, which templates serialize.
 */
export function toolCallsOf(value: unknown, path: string): ToolCall[] {
  const calls = parsed(value, path);
  return (Array.isArray(calls) ? calls : [calls]).map((call: DataRecord | null, i) => {
    const { name, arguments: given } = (call?.function ?? call ?? {}) as DataRecord;
    const where = Array.isArray(calls) ? `${path}[${i}]` : path;
    if (typeof name !== 'string') {
      throw new ChatDataError(
        `${where}: got ${show(call)}, expected a call with the name and arguments of a function`,
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
