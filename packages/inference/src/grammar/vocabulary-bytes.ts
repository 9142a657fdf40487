/** The bytes of all tokens of a vocabulary. */
import type { Tokenizer } from '@meap/token-dataset';
import { bytesOfName, type TokenTexts } from '../token-texts.ts';

/** Bytes by token id; none for special tokens. */
export interface VocabularyBytes {
  /** Within a text. */
  readonly inside: readonly Uint8Array[];
  /** At the start of a text, where SentencePiece removes a space. */
  readonly first: readonly Uint8Array[];
}

interface Decoder {
  readonly type: string;
  readonly decoders?: readonly Decoder[];
  readonly pattern?: { readonly String?: string };
  readonly content?: string;
}

interface TokenizerContents {
  readonly decoder?: Decoder | null;
  readonly model: { readonly vocab: Readonly<Record<string, number>> };
  readonly added_tokens?: readonly { id: number; content: string; special: boolean }[];
}

/** Tokens that are decoded at once. */
const NUM_DECODED = 4096;

/**
 * Returns the bytes of all tokens: from their names for byte-level BPE and SentencePiece, which takes 0.1 s for a vocabulary
 * of 128,000; for other tokenizers by decoding each.
 */
export async function vocabularyBytes(tokenizer: Tokenizer, texts: TokenTexts): Promise<VocabularyBytes> {
  const { decoder, model, added_tokens = [] } = JSON.parse(tokenizer.json) as TokenizerContents;
  const ofName = bytesFrom(decoder ?? undefined);
  const ids = Array.from({ length: tokenizer.vocabSize }, (_, id) => id);
  if (!ofName || Array.isArray(model.vocab)) {
    for (let at = 0; at < ids.length; at += NUM_DECODED) await texts.load(ids.slice(at, at + NUM_DECODED));
    return {
      inside: ids.map((id) => texts.bytes(id)),
      first: ids.map((id) => texts.bytes(id, { isFirst: true })),
    };
  }
  const encoder = new TextEncoder();
  const inside = ids.map(() => NONE);
  for (const [name, id] of Object.entries(model.vocab)) inside[id] = ofName(name);
  for (const { id, content, special } of added_tokens) inside[id] = special ? NONE : encoder.encode(content);
  const isStripped = decoder?.type === 'Sequence';
  const first = isStripped ? inside.map((bytes) => (bytes[0] === SPACE ? bytes.subarray(1) : bytes)) : inside;
  return { inside, first };
}

const SPACE = 0x20;
const NONE: Uint8Array = new Uint8Array();

/** How a decoder turns the name of a token into bytes; undefined if it is none of the two usual ones. */
function bytesFrom(decoder: Decoder | undefined): ((name: string) => Uint8Array) | undefined {
  if (decoder?.type === 'ByteLevel') return (name) => bytesOfName(name) ?? NONE;
  const steps = decoder?.decoders ?? [];
  const [replace] = steps;
  const isSentencePiece =
    steps.map(({ type }) => type).join() === 'Replace,ByteFallback,Fuse,Strip' &&
    replace.pattern?.String === '▁' &&
    replace.content === ' ';
  if (!isSentencePiece) return undefined;
  const encoder = new TextEncoder();
  return (name) =>
    /^<0x[0-9A-F]{2}>$/.test(name) ? bytesOfName(name)! : encoder.encode(name.replaceAll('▁', ' '));
}
