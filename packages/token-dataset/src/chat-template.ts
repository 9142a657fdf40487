/**
 * Chat templates: Jinja programs that turn messages into one text.
 *
 * To know which part of the text is whose, contents are rendered a second time between marks that no text has, and
 * the marks are then taken out. The result must be the text rendered without them, so a template that cuts, moves
 * or reads the contents cannot lead to a wrong loss mask or a forged turn: it is noticed.
 *
 * A template comes with a model that somebody else made. It sees messages and special tokens, nothing of the machine;
 * one that runs for longer than three seconds is stopped, and `range` counts no further than a hundred thousand.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createContext, Script } from 'node:vm';
import { Environment, Interpreter, Template } from '@huggingface/jinja';
import { BUILT_IN_TEMPLATES } from './built-in-templates.ts';
import { reasonOf, TemplateError } from './errors.ts';
import { fixedStrftime } from './template-date.ts';
import { contentOf, type Tokenizer } from './tokenizer.ts';
import { defaultTemplate } from './tokenizer-files.ts';

/** What one party said. */
export interface Message {
  role: 'system' | 'user' | 'assistant';
  content: string;
}

/** Messages in order. */
export type Conversation = readonly Message[];

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

// Code points that Unicode keeps for programs' own use inside.
const MARKS = Array.from({ length: 10 }, (_, i) => String.fromCharCode(0xfdd0 + 3 * i));
const next = (mark: string, by: number) => String.fromCharCode(mark.charCodeAt(0) + by);

/** Most time for one rendering, in ms: of what people write it takes less than one. */
const RENDER_MS = 3000;
/** Longest list that `range` makes. */
const MAX_RANGE = 100_000;

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
    } catch (error) {
      throw new TemplateError(`chat template ${name}: not a Jinja template: ${reasonOf(error)}`);
    }
    const refuse = (reason: string) => {
      throw new Error(reason);
    };
    const constants = { true: true, True: true, false: false, False: false, none: null, None: null };
    const functions = { range, strftime_now: fixedStrftime, raise_exception: refuse };
    this.#context = { ...constants, ...functions, bos_token: '', eos_token: '', ...specialTokens };
  }

  /**
   * The text of a conversation.
   *
   * @throws TemplateError with the template's own words where it refuses the conversation
   */
  render(messages: Conversation, { addGenerationPrompt = false }: RenderOptions = {}): string {
    try {
      const context = {
        ...this.#context,
        messages: messages.map(({ role, content }) => ({ role, content })),
        add_generation_prompt: addGenerationPrompt,
      };
      // Not the template's own `render`, whose globals are a clock and a `range` without end.
      const environment = new Environment();
      for (const [name, value] of Object.entries(context)) environment.set(name, value);
      const run = () => new Interpreter(environment).run(this.#template.parsed);
      return (withinTime(run) as { value: string }).value;
    } catch (error) {
      const roles = messages.map(({ role }) => role).join(', ');
      throw new TemplateError(
        `chat template ${this.name}: refuses the roles ${roles}: ${reasonOf(error)}; ` +
          'use the template of the model, or conversations that fit it',
      );
    }
  }

  /**
   * The parts of a rendered conversation; joined they are exactly what `render` returns.
   *
   * @throws TemplateError where the template changes contents beyond trimming them
   */
  pieces(messages: Conversation, options: RenderOptions = {}): Piece[] {
    const text = this.render(messages, options);
    const all = messages.map(({ content }) => content).join('');
    const mark = MARKS.find((start) => [0, 1, 2].every((by) => !all.includes(next(start, by))));
    if (!mark) {
      throw new TemplateError('a message holds all noncharacters U+FDD0 to U+FDED, expected text without');
    }
    // Marks at the very ends of a content keep templates from trimming it; where one does, they go further in.
    for (const wrap of [wrapWhole, wrapTrimmed]) {
      const marked = messages.map((message, i) => ({ ...message, content: wrap(message.content, i, mark) }));
      const pieces = cutAtMarks(this.render(marked, options), mark);
      if (pieces.map((piece) => piece.text).join('') === text) return pieces;
    }
    throw new TemplateError(
      `chat template ${this.name}: changes the text of messages, expected one that writes them as they are or ` +
        'trimmed; use another template, or take out what it reacts to (such as <think> blocks)',
    );
  }
}

function wrapWhole(content: string, index: number, mark: string): string {
  return content.trim() === '' ? content : `${mark}${index}${next(mark, 1)}${content}${next(mark, 2)}`;
}

function wrapTrimmed(content: string, index: number, mark: string): string {
  const core = content.trim();
  if (core === '') return content;
  const at = content.indexOf(core);
  return content.slice(0, at) + wrapWhole(core, index, mark) + content.slice(at + core.length);
}

function cutAtMarks(text: string, mark: string): Piece[] {
  const pieces: Piece[] = [];
  const marked = new RegExp(`${mark}(\\d+)${next(mark, 1)}([^${next(mark, 2)}]*)${next(mark, 2)}`, 'g');
  let at = 0;
  for (const match of text.matchAll(marked)) {
    if (match.index > at) pieces.push({ text: text.slice(at, match.index) });
    pieces.push({ text: match[2], message: Number(match[1]) });
    at = match.index + match[0].length;
  }
  if (at < text.length) pieces.push({ text: text.slice(at) });
  return pieces;
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
