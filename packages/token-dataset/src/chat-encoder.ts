/**
 * Encodes conversations: the text of the chat template is parsed for special tokens, the contents of messages are not.
 *
 *     text      <s>[INST] Name it. [/INST] Red.</s>
 *     pieces    └─template──┘└─user──┘└─template┘└─assistant─┘└template
 *     tokens    <s>  and  </s>  by their ids; the run between them is encoded as one text, so that ids equal those of
 *               transformers' apply_chat_template, and the offsets of its tokens tell which piece they belong to
 */
import { answerRanges, type TextRange } from './answer-ranges.ts';
import type { ChatTemplate, Piece, RenderOptions } from './chat-template.ts';
import type { Conversation } from './conversation.ts';
import { TemplateError } from './errors.ts';
import { LiteralEncoder, type LocatedTokens, patternOf, type SpecialToken } from './literal-encoder.ts';
import type { Tokenizer } from './tokenizer.ts';

/** Tokens of a conversation with the ranges of its messages. */
export interface EncodedConversation extends LocatedTokens {
  /** Range of the content of each message, up to and including the special token that ends an answer; in order. */
  readonly spans: readonly Readonly<TextRange>[];
}

/** The end of an answer under a template. */
interface AnswerEnd {
  /** Text after an answer, up to and including the special token that ends it; may be empty. */
  text: string;
  /** The special token that ends it; if the template writes none, EOS, which has to be added. */
  id: number;
}

/** The range of a special token or of a run of ordinary text in a rendered conversation. */
interface Part {
  start: number;
  end: number;
  /** Id of the special token; absent for a run. */
  id?: number;
}

interface Layout {
  text: string;
  parts: Part[];
  spans: TextRange[];
}

/** Encodes conversations and prompts with one template and tokenizer. */
export class ChatEncoder {
  readonly template: ChatTemplate;
  /** Ids of all special tokens. */
  readonly specialIds: readonly number[];
  /** Id that ends an answer and stops generation. */
  readonly endOfAnswerId: number;
  /** Whether the template writes no end of answers, so that EOS has to be added to training text. */
  readonly lacksEnd: boolean;
  readonly #literal: LiteralEncoder;
  readonly #end: AnswerEnd;
  readonly #specialByText: ReadonlyMap<string, SpecialToken>;
  readonly #specialPattern: RegExp;

  /**
   * @throws TemplateError for a template that ends answers with text that is not a special token of the tokenizer: a
   *   model could not learn to stop
   */
  constructor(tokenizer: Tokenizer, template: ChatTemplate) {
    this.template = template;
    this.#literal = new LiteralEncoder(tokenizer);
    const { specialTokens } = this.#literal;
    this.specialIds = specialTokens.map(({ id }) => id);
    this.#specialByText = new Map(specialTokens.map((token) => [token.content, token]));
    this.#specialPattern = patternOf(this.#literal.specialTokens);
    this.#end = this.#answerEnd(tokenizer);
    this.endOfAnswerId = this.#end.id;
    this.lacksEnd = this.#end.text === '';
  }

  /**
   * Encodes whole conversations, on all cores.
   *
   * @throws TemplateError if the template refuses a conversation or rewrites a message
   * @throws TokenizerError if ordinary tokens of the vocabulary spell a special token that is in a message
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
        const { spans, ...layout } = this.#layout(pieces);
        const replaced = new Set(ranges.map(({ message }) => message));
        const kept = spans.filter(({ message }) => !replaced.has(message));
        return { ...layout, spans: [...kept, ...ranges].sort((a, b) => a.start - b.start) };
      }),
    );
  }

  /**
   * Encodes a prompt: all messages and the header of an answer.
   *
   * @throws TemplateError, TokenizerError as {@link encodeConversations}
   */
  async encodePrompt(messages: Conversation): Promise<Int32Array> {
    const pieces = this.#pieces(messages, { addGenerationPrompt: true });
    const [{ ids }] = await this.#encode([this.#layout(pieces)]);
    return ids;
  }

  /** Tools and tool calls become text of the template, so they must not spell special tokens. */
  #pieces(messages: Conversation, options: RenderOptions = {}): Piece[] {
    const calls = messages.map(({ name, tool_call_id, tool_calls }) => [name, tool_call_id, tool_calls]);
    for (const [where, value] of Object.entries({ tools: messages.tools ?? null, 'tool calls': calls })) {
      const [special] = this.#findSpecial(JSON.stringify(value));
      if (!special) continue;
      throw new TemplateError(
        `chat template ${this.template.name}: ${where} spell the special token ${special.content}, expected none in ` +
          'them; remove it from the data',
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
  #layout(pieces: readonly Piece[]): Layout {
    const spans: Layout['spans'] = [];
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

  /** Encodes all parts; the runs of all conversations are encoded together. */
  async #encode(layouts: readonly Layout[]): Promise<EncodedConversation[]> {
    const texts: Record<'opening' | 'continuing', string[]> = { opening: [], continuing: [] };
    for (const { text, parts } of layouts) {
      for (const { start, end, id } of parts) {
        if (id === undefined) texts[start > 0 ? 'continuing' : 'opening'].push(text.slice(start, end));
      }
    }
    const opening = (await this.#literal.encode(texts.opening)).values();
    const continuing = (await this.#literal.encode(texts.continuing, { continuing: true })).values();
    return layouts.map(({ parts, spans }) => {
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

  /** Renders one exchange to find the end of its answer. */
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
          `tokenizer (${known}) that stops generation; use the template of this model`,
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
