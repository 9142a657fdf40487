/**
 * Chat templates: Jinja programs that render messages as one text.
 *
 * A template must keep all parts of a conversation: one that omits a message, a tool or reasoning, or writes a system or
 * tool message like an answer, is refused.
 *
 * Templates come with untrusted models. They see messages and special tokens, but nothing of the machine; a rendering
 * is stopped after three seconds, and `range` is limited to a hundred thousand numbers.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createContext, Script } from 'node:vm';
import { Environment, Interpreter, Template } from '@huggingface/jinja';
import { BUILT_IN_TEMPLATES } from './built-in-templates.ts';
import { findContents } from './content-marks.ts';
import { type Conversation, templateMessage, withTools } from './conversation.ts';
import { reasonOf, TemplateError } from './errors.ts';
import { STRIP_FUNCTIONS, strip, usePythonStrip } from './python-strings.ts';
import { requireAllWritten } from './template-checks.ts';
import { fixedStrftime } from './template-date.ts';
import { contentOf, type Tokenizer } from './tokenizer.ts';
import { defaultTemplate } from './tokenizer-files.ts';

/** A part of a rendered conversation: text of the template or the content of a message. */
export interface Piece {
  text: string;
  /** Index of the message whose content this is; absent for text of the template. */
  message?: number;
}

/** Options of {@link ChatTemplate.render}. */
export interface RenderOptions {
  /** Whether to add the header of an answer, from which the model continues. */
  addGenerationPrompt?: boolean;
}

/** Time limit of one rendering; ordinary conversations take less than 1 ms. */
const RENDER_MS = 3000;
/** Limit of the length of a `range`. */
const MAX_RANGE = 100_000;

const GENERATION_START = '\ufdee';
const GENERATION_END = '\ufdef';
const GENERATION_MARKS = /([\ufdee\ufdef])/;

/** Marks the start and end of `{% generation %}` blocks, with the white space control of the tags. */
function withGenerationMarks(source: string): string {
  return source.replace(/\{%(-?)\s*(end)?generation\s*(-?)%\}/g, (_, left, isEnd, right) => {
    const mark = isEnd ? GENERATION_END : GENERATION_START;
    return `{%${left} if true %}{{ '${mark}' }}{% endif ${right}%}`;
  });
}

const sandbox = createContext({}) as { run?: () => unknown };
const call = new Script('run()');

/** Runs a function with a time limit; only a separate script can be interrupted. */
function withinTime<T>(run: () => T): T {
  sandbox.run = run;
  try {
    return call.runInContext(sandbox, { timeout: RENDER_MS }) as T;
  } finally {
    sandbox.run = undefined;
  }
}

/** Jinja's `range` with a limit. */
function range(start: number, stop?: number, step = 1): number[] {
  const [from, to, by] = stop === undefined ? [0, start, 1] : [start, stop, step];
  const length = Math.max(0, Math.ceil((to - from) / by));
  if (!(length <= MAX_RANGE)) throw new Error(`range has ${length} numbers, expected at most ${MAX_RANGE}`);
  return Array.from({ length }, (_, i) => from + i * by);
}

/** A chat template with the special tokens it may write. */
export class ChatTemplate {
  /** Name or path, for messages. */
  readonly name: string;
  /** Jinja, as `chat_template` of tokenizer_config.json. */
  readonly source: string;
  readonly #template: Template;
  /** The template with marks around `{% generation %}` blocks, if it has any. */
  readonly #marked: Template | undefined;
  readonly #context: Readonly<Record<string, unknown>>;

  /**
   * @param specialTokens texts by name, such as `bos_token`
   * @throws TemplateError for invalid Jinja
   */
  constructor(name: string, source: string, specialTokens: Readonly<Record<string, string>>) {
    this.name = name;
    this.source = source;
    try {
      this.#template = withinTime(() => new Template(source));
      const marked = withGenerationMarks(source);
      this.#marked = marked === source ? undefined : withinTime(() => new Template(marked));
    } catch (error) {
      throw new TemplateError(`chat template ${name}: not a Jinja template: ${reasonOf(error)}`);
    }
    const refuse = (reason: string) => {
      throw new Error(reason);
    };
    const constants = { true: true, True: true, false: false, False: false, none: null, None: null };
    usePythonStrip(this.#template);
    if (this.#marked) usePythonStrip(this.#marked);
    const functions = { ...STRIP_FUNCTIONS, range, strftime_now: fixedStrftime, raise_exception: refuse };
    this.#context = { ...constants, ...functions, bos_token: '', eos_token: '', ...specialTokens };
  }

  /**
   * Renders a conversation.
   *
   * @throws TemplateError with the template's own message if it refuses the conversation
   */
  render(messages: Conversation, options: RenderOptions = {}): string {
    return this.#run(this.#template, messages, options);
  }

  /**
   * The parts of a rendered conversation; joined, they are exactly the result of `render`.
   *
   * Reasoning may be missing from prompts and from messages that are not trained on: templates omit that of earlier
   * turns on purpose.
   *
   * @throws TemplateError if the template changes contents beyond trimming them, omits something, or writes a system or
   *   tool message like an answer
   */
  pieces(messages: Conversation, options: RenderOptions = {}): Piece[] {
    const text = this.render(messages, options);
    const slots = messages.flatMap((message, i) =>
      (['content', 'reasoning_content'] as const)
        .filter((field) => strip(message[field] ?? '') !== '')
        .map((field) => ({ message: i, field })),
    );
    const contents = slots.map(({ message, field }) => messages[message][field]!);
    const groups = slots.map(({ message, field }) => `${messages[message].role} ${field}`);
    const found = findContents(text, { contents, groups }, (others) => {
      const changed = messages.map((message) => ({ ...message }));
      for (const [i, { message, field }] of slots.entries()) changed[message][field] = others[i];
      return this.render(withTools(changed, messages.tools), options);
    });
    if (!found) {
      throw new TemplateError(
        `chat template ${this.name}: changes the text of messages, expected a template that writes them unchanged or ` +
          'trimmed; use another template, or remove what it reacts to (such as <think> blocks)',
      );
    }
    const written = new Set(found.map(({ slot }) => slot));
    for (const [i, { message, field }] of slots.entries()) {
      const mayLack =
        field !== 'content' && (options.addGenerationPrompt || messages[message].learn === false);
      if (!written.has(i) && !mayLack) throw this.#omits(messages, message, field);
    }
    requireAllWritten(messages, text, {
      render: (others) => this.#attempt(others, options),
      omits: (message, field) => this.#omits(messages, message, field),
      refuse: (reason) => {
        throw new TemplateError(`chat template ${this.name}: ${reason}`);
      },
    });
    return found.map(({ text: part, slot }) =>
      slot === undefined ? { text: part } : { text: part, message: slots[slot].message },
    );
  }

  /**
   * Ranges of the `{% generation %}` blocks in the rendered text; undefined if the template has none.
   *
   * @throws TemplateError for messages that contain U+FDEE or U+FDEF
   */
  generationRanges(messages: Conversation): { start: number; end: number }[] | undefined {
    if (!this.#marked) return undefined;
    const marked = this.#run(this.#marked, messages, {});
    const ranges: { start: number; end: number }[] = [];
    let text = '';
    let start = 0;
    for (const part of marked.split(GENERATION_MARKS)) {
      if (part === GENERATION_START) start = text.length;
      else if (part === GENERATION_END) ranges.push({ start, end: text.length });
      else text += part;
    }
    if (text !== this.render(messages)) {
      throw new TemplateError(
        `chat template ${this.name}: a message contains the noncharacter U+FDEE or U+FDEF, expected text without it`,
      );
    }
    return ranges;
  }

  #run(template: Template, messages: Conversation, { addGenerationPrompt = false }: RenderOptions): string {
    try {
      const context = {
        ...this.#context,
        messages: messages.map(templateMessage),
        tools: messages.tools ?? null,
        documents: null,
        add_generation_prompt: addGenerationPrompt,
      };
      // `template.render` would provide a clock and an unlimited `range`.
      const environment = new Environment();
      for (const [name, value] of Object.entries(context)) environment.set(name, value);
      const run = () => new Interpreter(environment).run(template.parsed);
      return (withinTime(run) as { value: string }).value;
    } catch (error) {
      const roles = messages.map(({ role }) => role).join(', ');
      throw new TemplateError(
        `chat template ${this.name}: refuses the roles ${roles}: ${reasonOf(error)}; ` +
          'use the template of the model, or conversations that fit it',
      );
    }
  }

  /** The text of a changed conversation; undefined if the template refuses it. */
  #attempt(messages: Conversation, options: RenderOptions): string | undefined {
    try {
      return this.render(messages, options);
    } catch {
      return undefined;
    }
  }

  #omits(messages: Conversation, message: number, field: string): TemplateError {
    const what = field === 'content' ? '' : `${field} of `;
    const orEnd =
      field === 'reasoning_content' ? ', or train on this answer in a conversation that ends with it' : '';
    return new TemplateError(
      `chat template ${this.name}: omits ${what}message ${message + 1} of ${messages.length} (role ` +
        `${messages[message].role}), expected the whole conversation; use a template that writes it, or remove it from the data${orEnd}`,
    );
  }
}

/** Options of {@link loadChatTemplate}. */
export interface LoadChatTemplateOptions {
  /** Name of a built-in template, or a file; by default the model's own. */
  choice?: string;
  /** The option that sets the choice, for errors: `--chat-template`, a recipe key. */
  setting: string;
}

/**
 * Loads a chat template: a built-in one by name, a file, or the model's own.
 *
 * A file is Jinja or a tokenizer_config.json. A model's own template is in chat_template.jinja, else in
 * tokenizer_config.json; of several, the one named `default` is used.
 *
 * @param specialTokens texts that the template may write, by name: {@link specialTokensOf}
 * @throws TemplateError if there is none
 */
export function loadChatTemplate(
  modelDirectory: string,
  specialTokens: Readonly<Record<string, string>>,
  { choice, setting }: LoadChatTemplateOptions,
): ChatTemplate {
  const names = Object.keys(BUILT_IN_TEMPLATES).join(', ');
  if (choice !== undefined) {
    if (Object.hasOwn(BUILT_IN_TEMPLATES, choice)) {
      return new ChatTemplate(choice, BUILT_IN_TEMPLATES[choice], specialTokens);
    }
    const path = resolve(choice);
    const isFile = statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
    const source = isFile ? templateInFile(path) : undefined;
    if (source !== undefined) return new ChatTemplate(path, source, specialTokens);
    const problem = isFile ? 'contains no chat_template' : 'no such template or file';
    throw new TemplateError(`${setting} ${choice}: ${problem}, expected one of ${names}, or a file`);
  }
  for (const name of ['chat_template.jinja', 'tokenizer_config.json']) {
    const path = join(modelDirectory, name);
    const source = existsSync(path) ? templateInFile(path) : undefined;
    if (source !== undefined) return new ChatTemplate(path, source, specialTokens);
  }
  throw new TemplateError(
    `${modelDirectory}: the model has no chat template, expected chat_template.jinja or chat_template in ` +
      `tokenizer_config.json; set ${setting} to one of ${names}, or to a file`,
  );
}

/** Texts of a tokenizer's special tokens by name, such as `bos_token`, for templates. */
export function specialTokensOf({ config }: Tokenizer): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const [key, value] of Object.entries(config)) {
    const content = contentOf(value);
    if (key.endsWith('_token') && content !== undefined) texts[key] = content;
  }
  return texts;
}

function templateInFile(path: string): string | undefined {
  const content = readFileSync(path, 'utf8');
  if (!path.endsWith('.json')) return content;
  let template: unknown;
  try {
    template = JSON.parse(content).chat_template;
  } catch (error) {
    throw new TemplateError(`${path}: not JSON: ${reasonOf(error)}`);
  }
  return defaultTemplate(template);
}
