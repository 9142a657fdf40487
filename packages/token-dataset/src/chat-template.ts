/**
 * Chat templates: Jinja programs that turn messages into one text.
 *
 * Nothing that a conversation holds may be lost on the way: a template that leaves out a message, a tool or its reasoning,
 * or that writes a system or tool message as if the assistant had said it, is refused.
 *
 * A template comes with a model that somebody else made. It sees messages and special tokens, nothing of the machine;
 * one that runs for longer than three seconds is stopped, and `range` counts no further than a hundred thousand.
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

/** A part of a rendered conversation: text of the template, or the content of a message. */
export interface Piece {
  text: string;
  /** Index of the message whose content this is; absent for text of the template. */
  message?: number;
}

/** Options of {@link ChatTemplate.render}. */
export interface RenderOptions {
  /** Whether the header of an answer follows, for the model to go on from. */
  addGenerationPrompt?: boolean;
}

/** Most time for one rendering, in ms: of what people write it takes less than one. */
const RENDER_MS = 3000;
/** Longest list that `range` makes. */
const MAX_RANGE = 100_000;

const GENERATION_START = '\ufdee';
const GENERATION_END = '\ufdef';
const GENERATION_MARKS = /([\ufdee\ufdef])/;

/** Marks where `{% generation %}` blocks begin and end; white space is cut as around the tags themselves. */
function withGenerationMarks(source: string): string {
  return source.replace(/\{%(-?)\s*(end)?generation\s*(-?)%\}/g, (_, left, isEnd, right) => {
    const mark = isEnd ? GENERATION_END : GENERATION_START;
    return `{%${left} if true %}{{ '${mark}' }}{% endif ${right}%}`;
  });
}

const sandbox = createContext({}) as { run?: () => unknown };
const call = new Script('run()');

/** Runs something that may never end; only a script of its own can be stopped from outside. */
function withinTime<T>(run: () => T): T {
  sandbox.run = run;
  try {
    return call.runInContext(sandbox, { timeout: RENDER_MS }) as T;
  } finally {
    sandbox.run = undefined;
  }
}

/** Jinja's, but for its size. */
function range(start: number, stop?: number, step = 1): number[] {
  const [from, to, by] = stop === undefined ? [0, start, 1] : [start, stop, step];
  const length = Math.max(0, Math.ceil((to - from) / by));
  if (!(length <= MAX_RANGE)) throw new Error(`range has ${length} numbers, expected at most ${MAX_RANGE}`);
  return Array.from({ length }, (_, i) => from + i * by);
}

/** A chat template with the special tokens it may write. */
export class ChatTemplate {
  /** Where it came from, for people. */
  readonly name: string;
  /** Jinja, as `chat_template` of tokenizer_config.json. */
  readonly source: string;
  readonly #template: Template;
  /** The same with marks around `{% generation %}` blocks, where there are any. */
  readonly #marked: Template | undefined;
  readonly #context: Readonly<Record<string, unknown>>;

  /**
   * @param specialTokens texts by name, such as `bos_token`
   * @throws TemplateError for a template that is not Jinja
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
   * The text of a conversation.
   *
   * @throws TemplateError with the template's own words where it refuses the conversation
   */
  render(messages: Conversation, options: RenderOptions = {}): string {
    return this.#run(this.#template, messages, options);
  }

  /**
   * The parts of a rendered conversation; joined they are exactly what `render` returns.
   *
   * Of a conversation to answer, and of messages that are not to be learned, reasoning may be missing: templates leave
   * that of earlier turns out on purpose.
   *
   * @throws TemplateError where the template changes contents beyond trimming them, leaves something out, or writes a
   *   system or tool message like an answer
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
        `chat template ${this.name}: changes the text of messages, expected one that writes them as they are or ` +
          'trimmed; use another template, or take out what it reacts to (such as <think> blocks)',
      );
    }
    const written = new Set(found.map(({ slot }) => slot));
    for (const [i, { message, field }] of slots.entries()) {
      const mayLack =
        field !== 'content' && (options.addGenerationPrompt || messages[message].learn === false);
      if (!written.has(i) && !mayLack) throw this.#leavesOut(messages, message, field);
    }
    requireAllWritten(messages, text, {
      render: (others) => this.#attempt(others, options),
      leavesOut: (message, field) => this.#leavesOut(messages, message, field),
      refuse: (reason) => {
        throw new TemplateError(`chat template ${this.name}: ${reason}`);
      },
    });
    return found.map(({ text: part, slot }) =>
      slot === undefined ? { text: part } : { text: part, message: slots[slot].message },
    );
  }

  /**
   * Where the template says that answers stand, with `{% generation %}`; undefined where it does not say.
   *
   * @returns ranges of what `render` returns, one for each time that such a block is written
   * @throws TemplateError for messages with U+FDEE or U+FDEF in them
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
        `chat template ${this.name}: a message holds the noncharacter U+FDEE or U+FDEF, expected text without`,
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
      // Not the template's own `render`, whose globals are a clock and a `range` without end.
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

  /** What a changed conversation becomes; undefined where the template refuses it. */
  #attempt(messages: Conversation, options: RenderOptions): string | undefined {
    try {
      return this.render(messages, options);
    } catch {
      return undefined;
    }
  }

  #leavesOut(messages: Conversation, message: number, field: string): TemplateError {
    const what = field === 'content' ? '' : `${field} of `;
    const orEnd =
      field === 'reasoning_content' ? ', or learn this answer in a conversation that ends with it' : '';
    return new TemplateError(
      `chat template ${this.name}: leaves out ${what}message ${message + 1} of ${messages.length} (role ` +
        `${messages[message].role}), expected all that is said; use a template that writes it, or take it out of the data${orEnd}`,
    );
  }
}

/** Options of {@link loadChatTemplate}. */
export interface LoadChatTemplateOptions {
  /** Name of a built-in template, or a file; the model's own when absent. */
  choice?: string;
  /** What people set the choice by, for errors: `--chat-template`, a key of a recipe. */
  setting: string;
}

/**
 * The template to use: a built-in one by name, a file, or the model's own.
 *
 * A file is Jinja text, or a tokenizer_config.json. A model's own is in chat_template.jinja, or else in
 * tokenizer_config.json, where several may have names; `default` is then taken.
 *
 * @param specialTokens texts that the template may write, by name: {@link specialTokensOf}
 * @throws TemplateError where there is none
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
    const problem = isFile ? 'holds no chat_template' : 'no such template or file';
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

/** Texts of a tokenizer's special tokens by name, such as `bos_token`, which templates write. */
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
