import { randomUUID } from 'node:crypto';
import { ToolCallScanner } from '@meap/inference';
import type { ToolUse } from './read-tools.ts';
import type { FinishReason } from './token-stream.ts';

/** Text and tool calls of a choice. */
export class AnswerParts {
  readonly #scanner: ToolCallScanner | undefined;
  #numCalls = 0;

  constructor(tools: ToolUse | undefined) {
    this.#scanner = tools && new ToolCallScanner(tools.form, tools);
  }

  /** Adds a piece of the answer; the last one has `finish`. */
  add(piece: string, finish: FinishReason | undefined) {
    const numBefore = this.#numCalls;
    const parts = this.#scanner ? [this.#scanner.push(piece)] : [{ text: piece, calls: [] }];
    if (this.#scanner && finish) parts.push(this.#scanner.end());
    const calls = parts
      .flatMap((part) => part.calls)
      .map(({ name, arguments: json }) => ({
        id: `call_${randomUUID().replaceAll('-', '')}`,
        type: 'function',
        function: { name, arguments: json },
      }));
    this.#numCalls += calls.length;
    const text = parts.map((part) => part.text).join('');
    return {
      content: text === '' ? undefined : text,
      calls,
      numBefore,
      finishReason: finish === 'stop' && this.#numCalls > 0 ? ('tool_calls' as const) : finish,
    };
  }
}
