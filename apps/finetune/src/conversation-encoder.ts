/**
 * Conversations to token ids, with the answers marked: what the chat template writes is parsed for special tokens,
 * what people wrote never is.
 *
 *     text      <s>[INST] Name it. [/INST] Red.</s>
 *     pieces    └─template──┘└─user──┘└─template┘└─assistant─┘└template
 *     tokens    <s>  and  </s>  by their ids; the run in between is encoded as one text, so that ids are those of
 *               transformers' apply_chat_template, and its tokens are told apart by where they stand
 *
 * An answer is every token that overlaps its text or the text up to the special token that ends it.
 */
import type { SftSample, SftSegment } from '@meap/sft-duplication';
import { LiteralEncoder, type SpecialToken, type Tokenizer } from '@meap/token-dataset';
import type { ChatTemplate, Piece } from './chat-template.ts';
import { TemplateError } from './errors.ts';
import type { Conversation, Message } from './formats.ts';

/** How a template ends an answer. */
interface AnswerEnd {
  /** Text behind an answer, up to and with the special token that ends it; empty where there is none. */
  text: string;
  /** The special token that ends it; EOS, which is then added, where the template writes none. */
  id: number;
}

/** A place of a special token or a run of ordinary text in a rendered conversation. */
interface Part {
  start: number;
  end: number;
  /** Id of the special token; absent for a run. */
  id?: number;
}

interface Laid {
  text: string;
  parts: Part[];
  /** Where contents and what ends them stand, in order. */
  spans: { start: number; end: number; message: number }[];
}

/** Encodes conversations under one template and tokenizer. */
export class ConversationEncoder {
  readonly template: ChatTemplate;
  /** Ids that are structure: never masked, never part of an answer's length. */
  readonly specialIds: readonly number[];
  /** Id that ends an answer, at which generation stops. */
  readonly endOfAnswerId: number;
  /** Whether EOS is added behind the last answer because the template ends answers with nothing. */
  readonly addsEos: boolean;
  readonly #literal: LiteralEncoder;
  readonly #end: AnswerEnd;
  readonly #specialByText: ReadonlyMap<string, SpecialToken>;
  readonly #specialPattern: RegExp;

  /**
   * @throws TemplateError for a template that ends answers with something that is no special token of the tokenizer:
   *   a model could not learn to stop
   */
  constructor(tokenizer: Tokenizer, template: ChatTemplate) {
    this.template = template;
    this.#literal = new LiteralEncoder(tokenizer);
    const { specialTokens } = this.#literal;
    this.specialIds = specialTokens.map(({ id }) => id);
    this.#specialByText = new Map(specialTokens.map((token) => [token.content, token]));
    const escaped = specialTokens.map(({ content }) => content.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'));
    this.#specialPattern = new RegExp(escaped.join('|') || '(?!)', 'g');
    this.#end = this.#answerEnd(tokenizer);
    this.endOfAnswerId = this.#end.id;
    this.addsEos = this.#end.text === '';
  }

  /**
   * Token ids of conversations as samples for `createDuplicator`.
   *
   * @param learnedRoles whose messages are learned
   * @throws TemplateError where the template refuses a conversation or rewrites a message
   */
  async encode(
    conversations: readonly Conversation[],
    learnedRoles: readonly Message['role'][],
  ): Promise<SftSample[]> {
    const laid = conversations.map((messages) => this.#lay(this.template.pieces(messages)));
    const tokens = await this.#tokens(laid);
    return laid.map((layout, i) => {
      const messages = conversations[i];
      const isLearned = (message: number) =>
        learnedRoles.includes(messages[message].role) && messages[message].learn !== false;
      const segments = segmentsOf(layout, tokens[i], messages, isLearned);
      const answer = segments.findLastIndex(({ trainable }) => trainable);
      if (this.addsEos && answer >= 0) {
        // What follows the last answer is not learned, and EOS has to be what does.
        const { ids } = segments[answer];
        const ended = { ...segments[answer], ids: [...Array.from(ids), this.#end.id] };
        segments.splice(answer, segments.length, ended);
      }
      return { segments };
    });
  }

  /** The ids that a model is to answer: all messages and the header of an answer. */
  async encodePrompt(messages: Conversation): Promise<Int32Array> {
    const pieces = this.template.pieces(messages, { addGenerationPrompt: true });
    const [{ ids }] = await this.#tokens([this.#lay(pieces)]);
    return Int32Array.from(ids);
  }

  /** Finds contents, special tokens of the template, and the runs between them. */
  #lay(pieces: readonly Piece[]): Laid {
    const spans: Laid['spans'] = [];
    const parts: Part[] = [];
    const text = pieces.map((piece) => piece.text).join('');
    let at = 0;
    let runStart = 0;
    const closeRun = (end: number) => {
      if (end > runStart) parts.push({ start: runStart, end });
    };
    for (const piece of pieces) {
      if (piece.message !== undefined) {
        const end = at + piece.text.length;
        const ending = text.startsWith(this.#end.text, end) ? this.#end.text.length : 0;
        spans.push({ start: at, end: end + ending, message: piece.message });
      } else {
        for (const match of piece.text.matchAll(this.#specialPattern)) {
          const token = this.#specialByText.get(match[0])!;
          const start = at + match.index;
          const end = start + match[0].length;
          closeRun(token.lstrip ? runStart + text.slice(runStart, start).trimEnd().length : start);
          parts.push({ start, end, id: token.id });
          runStart = token.rstrip ? text.length - text.slice(end).trimStart().length : end;
        }
      }
      at += piece.text.length;
    }
    closeRun(text.length);
    return { text, parts, spans };
  }

  /** Ids and places of all parts, runs of all conversations encoded together. */
  async #tokens(laid: readonly Laid[]): Promise<Tokens[]> {
    const texts: Record<'opening' | 'continuing', string[]> = { opening: [], continuing: [] };
    for (const { text, parts } of laid) {
      for (const { start, end, id } of parts) {
        if (id === undefined) texts[start > 0 ? 'continuing' : 'opening'].push(text.slice(start, end));
      }
    }
    const opening = (await this.#literal.encode(texts.opening)).values();
    const continuing = (await this.#literal.encode(texts.continuing, { continuing: true })).values();
    return laid.map(({ parts }) => {
      const tokens: Tokens = { ids: [], starts: [], ends: [] };
      for (const { start, end, id } of parts) {
        if (id !== undefined) {
          tokens.ids.push(id);
          tokens.starts.push(start);
          tokens.ends.push(end);
          continue;
        }
        const run = (start > 0 ? continuing : opening).next().value!;
        for (let i = 0; i < run.ids.length; i++) {
          tokens.ids.push(run.ids[i]);
          tokens.starts.push(start + run.starts[i]);
          tokens.ends.push(start + run.ends[i]);
        }
      }
      return tokens;
    });
  }

  /** Renders one exchange to see how its answer ends. */
  #answerEnd(tokenizer: Tokenizer): AnswerEnd {
    const { name } = this.template;
    const pieces = this.template.pieces([
      { role: 'user', content: 'Q' },
      { role: 'assistant', content: 'A' },
    ]);
    const answer = pieces.findIndex(({ message }) => message === 1);
    if (answer < 0 || !pieces.some(({ message }) => message === 0)) {
      throw new TemplateError(
        `chat template ${name}: leaves out what user or assistant say, expected a template for chats`,
      );
    }
    const tail = pieces[answer + 1]?.text ?? '';
    const [match] = tail.matchAll(this.#specialPattern);
    if (match) {
      return {
        text: tail.slice(0, match.index + match[0].length),
        id: this.#specialByText.get(match[0])!.id,
      };
    }
    if (tail.trim() !== '') {
      const known = [...this.#specialByText.keys()].slice(0, 8).join(', ');
      throw new TemplateError(
        `chat template ${name}: answers end with ${JSON.stringify(tail.trim())}, expected a special token of the ` +
          `tokenizer (${known}), or the model could not learn to stop; use the template of this model`,
      );
    }
    if (tokenizer.eosTokenId === undefined) {
      throw new TemplateError(
        `chat template ${name}: nothing ends an answer, expected a special token, or an EOS in the tokenizer`,
      );
    }
    return { text: '', id: tokenizer.eosTokenId };
  }
}

interface Tokens {
  ids: number[];
  starts: number[];
  ends: number[];
}

/** Groups tokens by the message they belong to. */
function segmentsOf(
  { spans }: Laid,
  { ids, starts, ends }: Tokens,
  messages: Conversation,
  isLearned: (message: number) => boolean,
): SftSegment[] {
  const segments: (SftSegment & { ids: number[]; span: number })[] = [];
  let span = 0;
  for (let i = 0; i < ids.length; i++) {
    while (span < spans.length && starts[i] >= spans[span].end) span++;
    const current = spans[span];
    // A token without width, such as a leading space that the tokenizer adds, belongs to what follows it.
    const isInside = current !== undefined && (ends[i] > current.start || starts[i] === current.start);
    const owner = isInside ? span : -1;
    const last = segments.at(-1);
    if (last && last.span === owner) {
      last.ids.push(ids[i]);
      continue;
    }
    const message = current?.message ?? messages.length - 1;
    const trainable = isInside && isLearned(message);
    const segment = { ids: [ids[i]], role: messages[message].role, trainable, span: owner };
    const numCharacters = trainable ? [...messages[message].content].length : undefined;
    segments.push({ ...segment, numCharacters });
  }
  return segments.map(({ span: _, ...segment }) => segment);
}
