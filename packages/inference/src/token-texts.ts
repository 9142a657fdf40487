import type { Tokenizer } from '@meap/token-dataset';

interface TokenText {
  /** Bytes of the token within a text. */
  readonly inside: Uint8Array;
  /** Bytes of the token at the start of a text, where SentencePiece removes a space. */
  readonly first: Uint8Array;
  /** Displayed text, also for special tokens and incomplete characters. */
  readonly shown: string;
}

/**
 * The bytes of each token, with which text can be decoded token by token; a character may span tokens.
 *
 * Requires that decoding a token does not depend on its neighbours, as for LLaMA, Mistral, Qwen, SmolLM and OLMo 2. Computed on demand
 * and cached.
 */
export class TokenTexts {
  readonly #tokenizer: Tokenizer;
  readonly #texts = new Map<number, TokenText>();
  /** An ordinary token that precedes others when they are decoded, and its text. */
  #anchor: Promise<{ id: number; text: string }> | undefined;

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** Loads tokens, which the other methods require. */
  async load(ids: Iterable<number>): Promise<void> {
    const missing = [...new Set(ids)].filter((id) => !this.#texts.has(id));
    if (missing.length === 0) return;
    this.#anchor ??= this.#findAnchor();
    const anchor = await this.#anchor;
    const load = async (id: number) => this.#texts.set(id, await this.#textOf(id, anchor));
    await Promise.all(missing.map(load));
  }

  /** Returns the bytes of a token; none for a special token. */
  bytes(id: number, { isFirst = false } = {}): Uint8Array {
    const { inside, first } = this.#texts.get(id)!;
    return isFirst ? first : inside;
  }

  /** Returns the displayed text of a token: `</s>`, ` was`, `bytes:\xe2\x96` for part of a character. */
  shown(id: number): string {
    return this.#texts.get(id)!.shown;
  }

  /** Returns the text of each token; a character that spans tokens belongs to the last, special tokens have their name. */
  async split(ids: readonly number[]): Promise<string[]> {
    await this.load(ids);
    const decoder = new TextDecoder();
    return ids.map((id) => {
      const bytes = this.bytes(id);
      return bytes.length === 0 ? this.shown(id) : decoder.decode(bytes, { stream: true });
    });
  }

  async #findAnchor(): Promise<{ id: number; text: string }> {
    const ids = await this.#tokenizer.encode('a', { addSpecialTokens: false });
    return { id: ids[ids.length - 1], text: await this.#tokenizer.decode(ids.slice(-1)) };
  }

  async #textOf(id: number, anchor: { id: number; text: string }): Promise<TokenText> {
    const ordinary = { skipSpecialTokens: true };
    const [pair, alone, spelled] = await Promise.all([
      this.#tokenizer.decode([anchor.id, id], ordinary),
      this.#tokenizer.decode([id], ordinary),
      this.#tokenizer.decode([id]),
    ]);
    const text = pair.startsWith(anchor.text) ? pair.slice(anchor.text.length) : alone;
    const part = text.includes('\u{fffd}') ? bytesOfName(this.#tokenizer.idToToken(id) ?? '') : undefined;
    if (part) {
      const isCharacter = !new TextDecoder().decode(part).includes('\u{fffd}');
      const escapes = Array.from(part, (byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('');
      return { inside: part, first: part, shown: isCharacter ? text : `bytes:${escapes}` };
    }
    return { inside: encode(text), first: encode(alone), shown: text === '' ? spelled : text };
  }
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Parses the bytes in a token's name: `<0xE2>` in SentencePiece, or the alphabet of byte-level BPE. */
export function bytesOfName(name: string): Uint8Array | undefined {
  const [, hex] = /^<0x([0-9A-F]{2})>$/.exec(name) ?? [];
  if (hex) return Uint8Array.of(Number.parseInt(hex, 16));
  const bytes = new Uint8Array(name.length);
  for (let at = 0; at < name.length; at++) {
    const byte = BYTE_ALPHABET.get(name[at]);
    if (byte === undefined) return undefined;
    bytes[at] = byte;
  }
  return bytes;
}

/** The byte alphabet of GPT-2: printable Latin-1 characters for their byte, characters from U+0100 for the others. */
const BYTE_ALPHABET: ReadonlyMap<string, number> = byteAlphabet();

function byteAlphabet(): Map<string, number> {
  const alphabet = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const isPrintable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    alphabet.set(String.fromCharCode(isPrintable ? byte : next++), byte);
  }
  return alphabet;
}
