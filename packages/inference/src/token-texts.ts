import type { Tokenizer } from '@meap/token-dataset';

interface TokenText {
  /** What it adds to a text it stands in. */
  readonly inside: Uint8Array;
  /** What it is as the beginning of a text, where SentencePiece leaves a space out. */
  readonly first: Uint8Array;
  /** For people; unlike `inside` it spells special tokens and bytes that are no character by themselves. */
  readonly shown: string;
}

/**
 * What each token of a vocabulary adds to a text, in bytes: a character may begin in one token and end in the next.
 *
 * Holds for tokenizers whose tokens mean the same wherever they stand, as those of LLaMA, Mistral and Qwen2 do.
 * Looked up as needed and kept.
 */
export class TokenTexts {
  readonly #tokenizer: Tokenizer;
  readonly #texts = new Map<number, TokenText>();
  /** An ordinary token to stand in front of others, and its text. */
  #anchor: Promise<{ id: number; text: string }> | undefined;

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** Makes tokens known; before that the other methods must not be asked about them. */
  async load(ids: Iterable<number>): Promise<void> {
    const missing = [...new Set(ids)].filter((id) => !this.#texts.has(id));
    if (missing.length === 0) return;
    this.#anchor ??= this.#findAnchor();
    const anchor = await this.#anchor;
    const load = async (id: number) => this.#texts.set(id, await this.#look(id, anchor));
    await Promise.all(missing.map(load));
  }

  /** The bytes a token adds, none for a special one. */
  bytes(id: number, { isFirst = false } = {}): Uint8Array {
    const { inside, first } = this.#texts.get(id)!;
    return isFirst ? first : inside;
  }

  /** A token as people read it: `</s>`, ` was`, `bytes:\xe2\x96` for a part of a character. */
  shown(id: number): string {
    return this.#texts.get(id)!.shown;
  }

  /**
   * A text cut into its tokens; a character that several tokens make stands in the last of them, and special tokens are
   * spelled.
   */
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

  async #look(id: number, anchor: { id: number; text: string }): Promise<TokenText> {
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

/** Bytes that a token's name spells: `<0xE2>` as SentencePiece does, or in the alphabet of byte-level BPE. */
function bytesOfName(name: string): Uint8Array | undefined {
  const [, hex] = /^<0x([0-9A-F]{2})>$/.exec(name) ?? [];
  if (hex) return Uint8Array.of(Number.parseInt(hex, 16));
  const bytes = Array.from(name, (character) => BYTE_ALPHABET.get(character));
  return bytes.includes(undefined) ? undefined : Uint8Array.from(bytes as number[]);
}

/** GPT-2's alphabet: printable Latin-1 characters stand for their byte, characters from U+0100 for all others. */
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
