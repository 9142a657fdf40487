import { reasonOf, TokenizerError } from './errors.ts';
import { nativeTokenizer } from './native-tokenizer.ts';
import type { Tokenizer } from './tokenizer.ts';

/** A special token as `tokenizer.json` describes it. */
export interface SpecialToken {
  readonly id: number;
  readonly content: string;
  /** Whether white space before it is swallowed. */
  readonly lstrip: boolean;
  /** Whether white space after it is swallowed. */
  readonly rstrip: boolean;
}

/** Tokens of a text, and where each stands in it; starts and ends count UTF-16 code units. */
export interface LocatedTokens {
  readonly ids: Int32Array;
  readonly starts: Int32Array;
  readonly ends: Int32Array;
}

/**
 * Encodes text in which the spelling of a special token means nothing: `</s>` typed by a user stays four characters.
 *
 * A text that holds none of them becomes the same ids as with `Tokenizer.encode`. Nothing is put in front or behind.
 */
export class LiteralEncoder {
  /** Special tokens, longest first, as they have to be searched for. */
  readonly specialTokens: readonly SpecialToken[];
  readonly #opening: ReturnType<typeof nativeTokenizer>;
  readonly #continuing: ReturnType<typeof nativeTokenizer>;
  readonly #specialIds: ReadonlySet<number>;

  constructor(tokenizer: Tokenizer) {
    const { json, specialTokens, specialIds } = literalTokenizer(tokenizer.json);
    this.specialTokens = specialTokens;
    this.#specialIds = specialIds;
    this.#opening = nativeTokenizer(json, 'tokenizer');
    const literal = JSON.parse(json);
    const continuing = { ...literal, pre_tokenizer: withoutPrefix(literal.pre_tokenizer) };
    this.#continuing = nativeTokenizer(JSON.stringify(continuing), 'tokenizer');
  }

  /**
   * The tokens of many texts, encoded on all cores.
   *
   * @param continuing whether the texts follow a special token instead of opening a document: newer SentencePiece
   *   tokenizers put their leading space only at the very beginning
   * @throws TokenizerError where the vocabulary itself spells a special token that is in a text
   */
  async encode(texts: readonly string[], { continuing = false } = {}): Promise<LocatedTokens[]> {
    const native = continuing ? this.#continuing : this.#opening;
    let encodings: Awaited<ReturnType<typeof native.encodeBatch>>;
    try {
      encodings = await native.encodeBatch(texts as string[], { addSpecialTokens: false });
    } catch (error) {
      throw new TokenizerError(`tokenizer: cannot encode a text: ${reasonOf(error)}`);
    }
    return encodings.map((encoding, i) => {
      const ids = Int32Array.from(encoding.getIds());
      const special = ids.find((id) => this.#specialIds.has(id));
      if (special !== undefined) {
        throw new TokenizerError(
          `tokenizer: the text ${JSON.stringify(texts[i].slice(0, 60))} became the special token ${special}, ` +
            'expected ordinary ones; take the spelling of special tokens out of the text',
        );
      }
      const offsets = encoding.getOffsets();
      const toUnits = unitsOf(texts[i]);
      return {
        ids,
        starts: Int32Array.from(offsets, ([start]) => toUnits(start)),
        ends: Int32Array.from(offsets, ([, end]) => toUnits(end)),
      };
    });
  }
}

/** A tokenizer to which special tokens are ordinary text. */
interface LiteralTokenizer {
  /** As `tokenizer.json`. */
  json: string;
  /** Longest first, as they have to be searched for. */
  specialTokens: readonly SpecialToken[];
  /** Ids that no text may become. */
  specialIds: ReadonlySet<number>;
}

/** The same tokenizer without special tokens, and without what its template puts in front and behind. */
export function literalTokenizer(json: string): LiteralTokenizer {
  const contents = JSON.parse(json);
  const added: AddedToken[] = contents.added_tokens ?? [];
  const specialTokens = specialTokensOf(added);
  // What no piece spells becomes the unknown token, special or not.
  const unknown = contents.model?.unk_token;
  const specialIds = new Set(specialTokens.filter(({ content }) => content !== unknown).map(({ id }) => id));
  const literal = { ...contents, post_processor: null, added_tokens: withoutSpecial(contents, added) };
  return { json: JSON.stringify(literal), specialTokens, specialIds };
}

/** Finds the special tokens of a `tokenizer.json` in a text; nothing where there are none. */
export function spellingPattern(json: string): RegExp {
  const spelled = specialTokensOf(JSON.parse(json).added_tokens ?? []);
  const escaped = spelled.map(({ content }) => content.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'));
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
  model?: { vocab?: Record<string, number> | unknown[] };
}

/** Special tokens are taken out, or given names that no text has where ids behind them would move up. */
function withoutSpecial({ model }: TokenizerContents, added: readonly AddedToken[]): unknown[] {
  const vocab = model?.vocab ?? {};
  const size = Array.isArray(vocab) ? vocab.length : Object.keys(vocab).length;
  return added
    .filter(({ id, special }) => !special || id >= size)
    .map((token) => (token.special ? { ...token, content: `\u{10FFFE}${token.id}\u{10FFFE}` } : token));
}

/** The same steps, but for the space that Metaspace puts at the beginning of a document only. */
function withoutPrefix(preTokenizer: unknown): unknown {
  if (Array.isArray(preTokenizer)) return preTokenizer.map(withoutPrefix);
  if (typeof preTokenizer !== 'object' || preTokenizer === null) return preTokenizer;
  const step = preTokenizer as Record<string, unknown>;
  if (step.type === 'Metaspace' && step.prepend_scheme === 'first')
    return { ...step, prepend_scheme: 'never' };
  return 'pretokenizers' in step ? { ...step, pretokenizers: withoutPrefix(step.pretokenizers) } : step;
}

/** Turns a number of code points into one of UTF-16 code units. */
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
