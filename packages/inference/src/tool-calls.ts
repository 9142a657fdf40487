/** Tool calls as chat templates write them and models generate them. */
import type { Conversation } from '@meap/token-dataset';

/**
 * The text of a tool call: `open`, then `{"name": …, KEY: …}`, then `close`.
 *
 * Qwen2.5 and Hermes write `<tool_call>` around it and several in one answer; in Llama 3.1 a call is the whole answer.
 */
export interface ToolCallForm {
  readonly open: string;
  readonly close: string;
  readonly argumentsKey: 'arguments' | 'parameters';
}

/** A call that a model has generated. */
export interface GeneratedCall {
  readonly name: string;
  /** A JSON object. */
  readonly arguments: string;
}

/** A part of an answer: text and calls, in order. */
export interface AnswerPart {
  readonly text: string;
  readonly calls: readonly GeneratedCall[];
}

const NAME = 'probe_function';

/**
 * Finds the form of a chat template's tool calls; undefined if it is not known.
 *
 * @param render the template; may throw for conversations with tools
 */
export function toolCallFormOf(render: (messages: Conversation) => string): ToolCallForm | undefined {
  const conversation: Conversation = [
    { role: 'user', content: 'Q' },
    {
      role: 'assistant',
      content: '',
      tool_calls: [
        { id: 'call12345', type: 'function', function: { name: NAME, arguments: { key: 'value' } } },
      ],
    },
  ];
  let text: string;
  try {
    text = render(conversation);
  } catch {
    return undefined;
  }
  const pattern =
    /(<tool_call>\s*)?\{\s*"name": "probe_function", "(arguments|parameters)": \{"key": "value"\}\s*\}(\s*<\/tool_call>)?/;
  const [whole, open = '', key, close = ''] = pattern.exec(text) ?? [];
  if (whole === undefined || (open === '') !== (close === '')) return undefined;
  return { open, close, argumentsKey: key as ToolCallForm['argumentsKey'] };
}

/** Separates the text of an answer from its tool calls while it is generated; what is no valid call stays text. */
export class ToolCallScanner {
  readonly #form: ToolCallForm;
  readonly #names: ReadonlySet<string>;
  readonly #maxCalls: number;
  readonly #open: string;
  readonly #close: string;
  /** Text that is not decided: the start of a tag, white space before it, or a call. */
  #held = '';
  /** Whether `#held` starts with a call. */
  #isCall = false;
  #hasStarted = false;
  #numCalls = 0;

  /** @param options `names`: functions that may be called; `maxCalls`: further calls are omitted */
  constructor(form: ToolCallForm, { names, maxCalls }: { names: readonly string[]; maxCalls: number }) {
    this.#form = form;
    this.#names = new Set(names);
    this.#maxCalls = maxCalls;
    this.#open = form.open.trim();
    this.#close = form.close.trim();
  }

  /** Adds text; returns what is decided. */
  push(text: string): AnswerPart {
    this.#held += text;
    return this.#open === '' ? this.#scanWhole() : this.#scanTags(text.length);
  }

  /** Ends the answer; returns the rest. */
  end(): AnswerPart {
    const held = this.#held;
    this.#held = '';
    if (!this.#isCall) return { text: this.#numCalls > 0 && held.trim() === '' ? '' : held, calls: [] };
    // A model may end its answer instead of closing its last call.
    const call = this.#parse(held.slice(this.#open.length));
    return { text: call ? '' : held, calls: call && this.#numCalls < this.#maxCalls ? [call] : [] };
  }

  /** An answer that starts with a brace may be a call as a whole. */
  #scanWhole(): AnswerPart {
    if (!this.#hasStarted && this.#held.trimStart() === '') return { text: '', calls: [] };
    if (!this.#hasStarted) this.#isCall = this.#held.trimStart().startsWith('{');
    this.#hasStarted = true;
    if (this.#isCall) return { text: '', calls: [] };
    const text = this.#held;
    this.#held = '';
    return { text, calls: [] };
  }

  #scanTags(numNew: number): AnswerPart {
    let text = '';
    const calls: GeneratedCall[] = [];
    // Earlier text contains no whole tag.
    let from = Math.max(0, this.#held.length - numNew - Math.max(this.#open.length, this.#close.length));
    for (;;) {
      if (this.#isCall) {
        const end = this.#held.indexOf(this.#close, Math.max(from, this.#open.length));
        if (end < 0) break;
        const call = this.#parse(this.#held.slice(this.#open.length, end));
        const after = end + this.#close.length;
        if (!call) text += this.#held.slice(0, after);
        else if (this.#numCalls++ < this.#maxCalls) calls.push(call);
        this.#held = this.#held.slice(after);
        this.#isCall = false;
      } else {
        const start = this.#held.indexOf(this.#open, from);
        const final = start < 0 ? this.#held.length - this.#undecided() : start;
        const before = this.#held.slice(0, final);
        text += start < 0 ? before : before.trimEnd();
        this.#held = this.#held.slice(final);
        if (start < 0) break;
        this.#isCall = true;
      }
      from = 0;
    }
    return { text, calls };
  }

  /** Length of the end of the text that may be the start of a tag, with white space before. */
  #undecided(): number {
    const held = this.#held;
    let length = Math.min(held.length, this.#open.length - 1);
    while (length > 0 && !this.#open.startsWith(held.slice(held.length - length))) length--;
    return held.length - held.slice(0, held.length - length).trimEnd().length;
  }

  /** The call in a text; undefined if it is none of a known function. */
  #parse(text: string): GeneratedCall | undefined {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return undefined;
    }
    const { name, [this.#form.argumentsKey]: given = {} } = (value ?? {}) as Record<string, unknown>;
    const isObject = typeof given === 'object' && given !== null && !Array.isArray(given);
    if (typeof name !== 'string' || !this.#names.has(name) || !isObject) return undefined;
    return { name, arguments: JSON.stringify(given) };
  }
}
