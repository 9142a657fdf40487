import type { NativeTokenizer } from './native-tokenizer.ts';
import type { TokenArray } from './shard.ts';

/** What turns texts into the tokens of a stream; plain data, so that it can go to another process. */
export interface EncodeSettings {
  readonly bosTokenId: number | undefined;
  readonly eosTokenId: number | undefined;
  readonly bytesPerToken: 2 | 4;
}

/** The documents of a batch, end to end. */
export interface EncodedBatch {
  readonly tokens: TokenArray;
  /** Tokens of each document, BOS and EOS included. */
  readonly lengths: Uint32Array;
}

/** Encodes each text as `BOS text EOS`, without what the tokenizer's own template would add. */
export async function encodeDocuments(
  native: NativeTokenizer,
  texts: string[],
  settings: EncodeSettings,
): Promise<EncodedBatch> {
  const { bosTokenId, eosTokenId } = settings;
  const extra = Number(bosTokenId !== undefined) + Number(eosTokenId !== undefined);
  const encodings = await native.encodeBatch(texts, { addSpecialTokens: false });
  const ids = encodings.map((encoding) => encoding.getIds());
  const lengths = Uint32Array.from(ids, (document) => document.length + extra);
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const tokens = settings.bytesPerToken === 2 ? new Uint16Array(total) : new Uint32Array(total);
  let at = 0;
  for (const document of ids) {
    if (bosTokenId !== undefined) tokens[at++] = bosTokenId;
    tokens.set(document, at);
    at += document.length;
    if (eosTokenId !== undefined) tokens[at++] = eosTokenId;
  }
  return { tokens, lengths };
}
