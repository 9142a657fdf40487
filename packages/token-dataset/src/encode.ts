import { TokenizerError } from './errors.ts';
import { literalTokenizer, spellingPattern } from './literal-encoder.ts';
import { type NativeTokenizer, nativeTokenizer } from './native-tokenizer.ts';
import type { TokenArray } from './shard.ts';

/** What turns texts into the tokens of a stream; plain data, so that it can go to another process. */
export interface EncodeSettings {
  readonly bosTokenId: number | undefined;
  readonly eosTokenId: number | undefined;
  readonly bytesPerToken: 2 | 4;
  /** Whether text that spells a special token becomes it. */
  readonly parseSpecialTokens: boolean;
}

/** The documents of a batch, end to end. */
export interface EncodedBatch {
  readonly tokens: TokenArray;
  /** Tokens of each document, BOS and EOS included. */
  readonly lengths: Uint32Array;
  /** How often each document spells a special token. */
  readonly spellings: Uint32Array;
}

/** Encodes documents as `BOS text EOS`, without what the tokenizer's own template would add. */
export class DocumentEncoder {
  readonly #settings: EncodeSettings;
  readonly #json: string;
  readonly #native: NativeTokenizer;
  readonly #spelling: RegExp;
  /** Made when a text first needs it: a large vocabulary takes some 250 MB. */
  #literal: { native: NativeTokenizer; specialIds: ReadonlySet<number> } | undefined;

  /** @param where the tokenizer is from, for messages */
  constructor(json: string, where: string, settings: EncodeSettings) {
    this.#settings = settings;
    this.#json = json;
    this.#native = nativeTokenizer(json, where);
    this.#spelling = spellingPattern(json);
  }

  async encode(texts: readonly string[]): Promise<EncodedBatch> {
    const { bosTokenId, eosTokenId, parseSpecialTokens } = this.#settings;
    const spellings = Uint32Array.from(texts, (text) => text.match(this.#spelling)?.length ?? 0);
    // Where nothing is spelled both ways give the same tokens.
    const isLiteral = (i: number) => !parseSpecialTokens && spellings[i] > 0;
    const plain = texts.filter((_, i) => !isLiteral(i));
    const encoded = (await this.#native.encodeBatch(plain, { addSpecialTokens: false })).values();
    const literal = texts.filter((_, i) => isLiteral(i));
    const spelled = literal.length > 0 ? (await this.#encodeLiterally(literal)).values() : [].values();
    const ids = texts.map((_, i) => (isLiteral(i) ? spelled.next().value! : encoded.next().value!.getIds()));
    const extra = Number(bosTokenId !== undefined) + Number(eosTokenId !== undefined);
    const lengths = Uint32Array.from(ids, (document) => document.length + extra);
    const total = lengths.reduce((sum, length) => sum + length, 0);
    const tokens = this.#settings.bytesPerToken === 2 ? new Uint16Array(total) : new Uint32Array(total);
    let at = 0;
    for (const document of ids) {
      if (bosTokenId !== undefined) tokens[at++] = bosTokenId;
      tokens.set(document, at);
      at += document.length;
      if (eosTokenId !== undefined) tokens[at++] = eosTokenId;
    }
    return { tokens, lengths, spellings };
  }

  async #encodeLiterally(texts: string[]): Promise<number[][]> {
    if (!this.#literal) {
      const { json, specialIds } = literalTokenizer(this.#json);
      this.#literal = { native: nativeTokenizer(json, 'tokenizer'), specialIds };
    }
    const { native, specialIds } = this.#literal;
    const encodings = await native.encodeBatch(texts, { addSpecialTokens: false });
    return encodings.map((encoding, i) => {
      const ids = encoding.getIds();
      const special = ids.find((id) => specialIds.has(id));
      if (special === undefined) return ids;
      const at = Math.max(0, texts[i].search(this.#spelling) - 20);
      throw new TokenizerError(
        `tokenizer: the text ${JSON.stringify(texts[i].slice(at, at + 60))} became the special token ${special} by the ` +
          'vocabulary itself, expected ordinary ones; take the spelling of special tokens out of the text',
      );
    });
  }
}
