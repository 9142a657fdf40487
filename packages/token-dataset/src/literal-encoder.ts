import { reasonOf, TokenizerError } from './errors.ts';
import { type NativeTokenizer, nativeTokenizer } from './native-tokenizer.ts';

/** A special token as `tokenizer.json` describes it. */
export interface SpecialToken {
  readonly id: number;
  readonly content: string;
  /** Whether white space before it is swallowed. */
  readonly lstrip: boolean;
  /** Whether white space after it is swallowed. */
  readonly rstrip: boolean;
}

/** Tokens of a text with their positions in it; starts and ends count UTF-16 code units. */
export interface LocatedTokens {
  readonly ids: Int32Array;
  readonly starts: Int32Array;
  readonly ends: Int32Array;
}

/**
 * Encodes text without parsing special tokens: `</s>` typed by a user stays four characters.
 *
 * Text without special tokens has the same ids as with `Tokenizer.encode`. No BOS or EOS is added.
 */
export class LiteralEncoder {
  /** Special tokens, longest first: the order in which to search for them. */
  readonly specialTokens: readonly SpecialToken[];
  /** Ids that no text may become. */
  readonly #specialIds: ReadonlySet<number>;
  readonly #spelling: RegExp;
  readonly #literal: TokenizerContents;
  readonly #opening: NativeTokenizer;
  /** Built on first use, unless texts begin as they continue: a large vocabulary takes some 250 MB. */
  #continuing: NativeTokenizer | undefined;

  /** @param tokenizer its `tokenizer.json`, as text */
  constructor({ json }: { readonly json: string }) {
    const contents: TokenizerContents = JSON.parse(json);
    const { added_tokens: added = [], model } = contents;
    this.specialTokens = specialTokensOf(added);
    // Text that no piece spells becomes the unknown token, special or not.
    const special = this.specialTokens.filter(({ content }) => content !== model?.unk_token);
    this.#specialIds = new Set(special.map(({ id }) => id));
    this.#spelling = patternOf(this.specialTokens);
    this.#literal = { ...contents, post_processor: null, added_tokens: withoutSpecial(contents, added) };
    this.#opening = nativeTokenizer(JSON.stringify(this.#literal), 'tokenizer');
  }

  /** Ids alone of many texts, each encoded as the start of a document. */
  async encodeIds(texts: readonly string[]): Promise<number[][]> {
    return (await this.#encode(this.#opening, texts)).map(({ ids }) => ids);
  }

  /**
   * Encodes many texts, on all cores.
   *
   * @param continuing whether the texts follow a special token instead of starting a document: newer SentencePiece
   *   tokenizers add their leading space only at the start
   * @throws TokenizerError if ordinary tokens of the vocabulary spell a special token that is in a text
   */
  async encode(texts: readonly string[], { continuing = false } = {}): Promise<LocatedTokens[]> {
    const encodings = await this.#encode(continuing ? this.#continuingTokenizer() : this.#opening, texts);
    return encodings.map(({ ids, offsets }, i) => {
      const toUnits = unitsOf(texts[i]);
      const spans = offsets();
      return {
        ids: Int32Array.from(ids),
        starts: Int32Array.from(spans, ([start]) => toUnits(start)),
        ends: Int32Array.from(spans, ([, end]) => toUnits(end)),
      };
    });
  }

  async #encode(native: NativeTokenizer, texts: readonly string[]) {
    let encodings: Awaited<ReturnType<typeof native.encodeBatch>>;
    try {
      encodings = await native.encodeBatch(texts as string[], { addSpecialTokens: false });
    } catch (error) {
      throw new TokenizerError(`tokenizer: cannot encode a text: ${reasonOf(error)}`);
    }
    return encodings.map((encoding, i) => {
      const ids = encoding.getIds();
      const special = ids.find((id) => this.#specialIds.has(id));
      if (special === undefined) return { ids, offsets: () => encoding.getOffsets() };
      const at = Math.max(0, texts[i].search(this.#spelling) - 20);
      throw new TokenizerError(
        `tokenizer: the text ${JSON.stringify(texts[i].slice(at, at + 60))} became the special token ${special}, ` +
          'expected ordinary tokens; remove the spelling of special tokens from the text',
      );
    });
  }

  #continuingTokenizer(): NativeTokenizer {
    if (!this.#continuing) {
      const { pre_tokenizer } = this.#literal;
      const continuing = { ...this.#literal, pre_tokenizer: withoutPrefix(pre_tokenizer) };
      const isSame = JSON.stringify(continuing.pre_tokenizer) === JSON.stringify(pre_tokenizer);
      this.#continuing = isSame ? this.#opening : nativeTokenizer(JSON.stringify(continuing), 'tokenizer');
    }
    return this.#continuing;
  }
}

/** A pattern that finds the special tokens of a `tokenizer.json` in a text; without special tokens it never matches. */
export function spellingPattern(json: string): RegExp {
  return patternOf(specialTokensOf(JSON.parse(json).added_tokens ?? []));
}

/** The same for special tokens that are known. */
export function patternOf(tokens: readonly SpecialToken[]): RegExp {
  const escaped = tokens.map(({ content }) => content.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'));
  return new RegExp(escaped.join('|') || '(?!)', 'g');
}

type AddedToken = SpecialToken & { special: boolean };

function specialTokensOf(added: readonly AddedToken[]): SpecialToken[] {
  return added
    .filter(({ special, content }) => special && content !== '')
    .map(({ id, content, lstrip, rstrip }) => ({ id, content, lstrip, rstrip }))
    .sort((a, b) => b.content.length - a.content.length);
}

interface TokenizerContents {
  [key: string]: unknown;
  added_tokens?: AddedToken[];
  model?: { vocab?: Record<string, number> | unknown[]; unk_token?: string };
  pre_tokenizer?: unknown;
}

/** Without special tokens; those whose removal would shift later ids get names that occur in no text instead. */
function withoutSpecial({ model }: TokenizerContents, added: readonly AddedToken[]): AddedToken[] {
  const vocab = model?.vocab ?? {};
  const size = Array.isArray(vocab) ? vocab.length : Object.keys(vocab).length;
  return added
    .filter(({ id, special }) => !special || id >= size)
    .map((token) => (token.special ? { ...token, content: `\u{10FFFE}${token.id}\u{10FFFE}` } : token));
}

/** The same steps without the space that Metaspace adds only at the start of a document. */
function withoutPrefix(preTokenizer: unknown): unknown {
  if (Array.isArray(preTokenizer)) return preTokenizer.map(withoutPrefix);
  if (typeof preTokenizer !== 'object' || preTokenizer === null) return preTokenizer;
  const step = preTokenizer as Record<string, unknown>;
  if (step.type === 'Metaspace' && step.prepend_scheme === 'first')
    return { ...step, prepend_scheme: 'never' };
  return 'pretokenizers' in step ? { ...step, pretokenizers: withoutPrefix(step.pretokenizers) } : step;
}

/** Converts an offset in code points to one in UTF-16 code units. */
function unitsOf(text: string): (points: number) => number {
  const first = text.search(/[\u{10000}-\u{10FFFF}]/u);
  if (first < 0) return (points) => points;
  const units: number[] = [];
  let unit = 0;
  for (const character of text) {
    units.push(unit);
    unit += character.length;
  }
  units.push(unit);
  return (points) => units[points] ?? unit;
}
