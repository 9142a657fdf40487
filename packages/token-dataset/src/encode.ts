import { LiteralEncoder, spellingPattern } from './literal-encoder.ts';
import { type NativeTokenizer, nativeTokenizer } from './native-tokenizer.ts';
import type { TokenArray } from './shard.ts';

/** How texts become the tokens of a stream; plain data, so that it can be sent to another process. */
export interface EncodeSettings {
  readonly bosTokenId: number | undefined;
  readonly eosTokenId: number | undefined;
  readonly bytesPerToken: 2 | 4;
  /** Whether text that spells a special token becomes that token. */
  readonly parseSpecialTokens: boolean;
}

/** The concatenated documents of a batch. */
export interface EncodedBatch {
  readonly tokens: TokenArray;
  /** Tokens of each document, BOS and EOS included. */
  readonly lengths: Uint32Array;
  /** How often each document spells a special token. */
  readonly spellings: Uint32Array;
}

/** Encodes documents as `BOS text EOS`, without the tokenizer's own template. */
export class DocumentEncoder {
  readonly #settings: EncodeSettings;
  readonly #json: string;
  readonly #native: NativeTokenizer;
  readonly #spelling: RegExp;
  /** Built when a text first needs it. */
  #literal: LiteralEncoder | undefined;

  /** @param where source of the tokenizer, for messages */
  constructor(json: string, where: string, settings: EncodeSettings) {
    this.#settings = settings;
    this.#json = json;
    this.#native = nativeTokenizer(json, where);
    this.#spelling = spellingPattern(json);
  }

  async encode(texts: readonly string[]): Promise<EncodedBatch> {
    const { bosTokenId, eosTokenId, parseSpecialTokens } = this.#settings;
    const spellings = Uint32Array.from(texts, (text) => text.match(this.#spelling)?.length ?? 0);
    // A text that spells no special token has the same tokens either way.
    const isLiteral = (i: number) => !parseSpecialTokens && spellings[i] > 0;
    const plain = texts.filter((_, i) => !isLiteral(i));
    const encoded = (await this.#native.encodeBatch(plain, { addSpecialTokens: false })).values();
    const literal = texts.filter((_, i) => isLiteral(i));
    if (literal.length > 0) this.#literal ??= new LiteralEncoder({ json: this.#json });
    const spelled = ((await this.#literal?.encodeIds(literal)) ?? []).values();
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
}
