/**
 * Conversations to token ids: what the chat template writes is parsed for special tokens, what people wrote never is.
 *
 *     text      <s>[INST] Name it. [/INST] Red.</s>
 *     pieces    └─template──┘└─user──┘└─template┘└─assistant─┘└template
 *     tokens    <s>  and  </s>  by their ids; the run in between is encoded as one text, so that ids are those of
 *               transformers' apply_chat_template, and its tokens are told apart by where they stand
 */
import { answerRanges, type TextRange } from './answer-ranges.ts';
import type { ChatTemplate, Piece, RenderOptions } from './chat-template.ts';
import type { Conversation } from './conversation.ts';
import { TemplateError } from './errors.ts';
import { LiteralEncoder, type LocatedTokens, type SpecialToken, spellingPattern } from './literal-encoder.ts';
import type { Tokenizer } from './tokenizer.ts';

/** Tokens of a conversation, and whose they are. */
export interface EncodedConversation extends LocatedTokens {
  /** Where the content of each message stands, with the text up to the special token that ends an answer; in order. */
  readonly spans: readonly Readonly<TextRange>[];
}

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
  spans: TextRange[];
}

/** Encodes conversations and prompts under one template and tokenizer. */
export class ChatEncoder {
  readonly template: ChatTemplate;
  /** Ids of all special tokens. */
  readonly specialIds: readonly number[];
  /** Id that ends an answer, at which generation stops. */
  readonly endOfAnswerId: number;
  /** Whether the template ends answers with nothing, so that EOS does and has to be added to text to learn from. */
  readonly lacksEnd: boolean;
  readonly #literal: LiteralEncoder;
  readonly #end: AnswerEnd;
  readonly #specialByText: ReadonlyMap<string, SpecialToken>;
  readonly #specialPattern: RegExp;

  /**
   * @throws TemplateError for a template that ends answers with something that is no special token of the tokenizer:
   *   a model could neither learn to stop nor be stopped
   */
  constructor(tokenizer: Tokenizer, template: ChatTemplate) {
    this.template = template;
    this.#literal = new LiteralEncoder(tokenizer);
    const { specialTokens } = this.#literal;
    this.specialIds = specialTokens.map(({ id }) => id);
    this.#specialByText = new Map(specialTokens.map((token) => [token.content, token]));
    this.#specialPattern = spellingPattern(tokenizer.json);
    this.#end = this.#answerEnd(tokenizer);
    this.endOfAnswerId = this.#end.id;
    this.lacksEnd = this.#end.text === '';
  }

  /**
   * Tokens of whole conversations, encoded on all cores.
   *
   * @throws TemplateError where the template refuses a conversation or rewrites a message
   * @throws TokenizerError where the vocabulary itself spells a special token that is in a message
   */
  async encodeConversations(conversations: readonly Conversation[]): Promise<EncodedConversation[]> {
    return this.#encode(
      conversations.map((messages) => {
        const pieces = this.#pieces(messages);
        const ranges = answerRanges(this.template, messages, {
          pieces,
          findSpecial: (text) => this.#findSpecial(text),
          endId: this.lacksEnd ? undefined : this.endOfAnswerId,
        });
        const { spans, ...laid } = this.#lay(pieces);
        const replaced = new Set(ranges.map(({ message }) => message));
        const kept = spans.filter(({ message }) => !replaced.has(message));
        return { ...laid, spans: [...kept, ...ranges].sort((a, b) => a.start - b.start) };
      }),
    );
  }

  /**
   * The ids that a model is to answer: all messages and the header of an answer.
   *
   * @throws TemplateError, TokenizerError as {@link encodeConversations}
   */
  async encodePrompt(messages: Conversation): Promise<Int32Array> {
    const pieces = this.#pieces(messages, { addGenerationPrompt: true });
    const [{ ids }] = await this.#encode([this.#lay(pieces)]);
    return ids;
  }

  /** What no piece tells from the template's own text must not spell special tokens. */
  #pieces(messages: Conversation, options: RenderOptions = {}): Piece[] {
    const others = messages.map(({ name, tool_call_id, tool_calls }) => [name, tool_call_id, tool_calls]);
    for (const [where, value] of [
      ['tools', messages.tools ?? null] as const,
      ['calls of tools', others] as const,
    ]) {
      const [special] = this.#findSpecial(JSON.stringify(value));
      if (!special) continue;
      throw new TemplateError(
        `chat template ${this.template.name}: ${where} spell the special token ${special.content}, expected none in ` +
          'them; take it out of the data',
      );
    }
    return this.template.pieces(messages, options);
  }

  *#findSpecial(text: string): Generator<{ index: number; end: number } & SpecialToken> {
    for (const { 0: content, index } of text.matchAll(this.#specialPattern)) {
      yield { ...this.#specialByText.get(content)!, index, end: index + content.length };
    }
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
        for (const token of this.#findSpecial(piece.text)) {
          const start = at + token.index;
          const end = at + token.end;
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
  async #encode(laid: readonly Laid[]): Promise<EncodedConversation[]> {
    const texts: Record<'opening' | 'continuing', string[]> = { opening: [], continuing: [] };
    for (const { text, parts } of laid) {
      for (const { start, end, id } of parts) {
        if (id === undefined) texts[start > 0 ? 'continuing' : 'opening'].push(text.slice(start, end));
      }
    }
    const opening = (await this.#literal.encode(texts.opening)).values();
    const continuing = (await this.#literal.encode(texts.continuing, { continuing: true })).values();
    return laid.map(({ parts, spans }) => {
      const ids: number[] = [];
      const starts: number[] = [];
      const ends: number[] = [];
      for (const { start, end, id } of parts) {
        if (id !== undefined) {
          ids.push(id);
          starts.push(start);
          ends.push(end);
          continue;
        }
        const run = (start > 0 ? continuing : opening).next().value!;
        for (let i = 0; i < run.ids.length; i++) {
          ids.push(run.ids[i]);
          starts.push(start + run.starts[i]);
          ends.push(start + run.ends[i]);
        }
      }
      return {
        ids: Int32Array.from(ids),
        starts: Int32Array.from(starts),
        ends: Int32Array.from(ends),
        spans,
      };
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
    const tail = pieces[answer + 1]?.text ?? '';
    const [ending] = this.#findSpecial(tail);
    if (ending) return { text: tail.slice(0, ending.end), id: ending.id };
    if (tail.trim() !== '') {
      const known = [...this.#specialByText.keys()].slice(0, 8).join(', ');
      throw new TemplateError(
        `chat template ${name}: answers end with ${JSON.stringify(tail.trim())}, expected a special token of the ` +
          `tokenizer (${known}) at which to stop; use the template of this model`,
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
