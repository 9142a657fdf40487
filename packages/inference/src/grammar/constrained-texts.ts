/** Restricts generated texts to a grammar. */
import type { TokenConstraint } from '@meap/llama-model';
import type { Tokenizer } from '@meap/token-dataset';
import type { TokenTexts } from '../token-texts.ts';
import { yieldToEventLoop } from '../yield-to-event-loop.ts';
import { Automaton, type State } from './automaton.ts';
import type { Grammar } from './grammar.ts';
import { TokenTrie } from './token-trie.ts';
import { type VocabularyBytes, vocabularyBytes } from './vocabulary-bytes.ts';

/** Options of {@link OpenGrammar.start}. */
export interface ConstraintOptions {
  /** Ids that end the text, allowed where it is complete. */
  readonly stopIds: readonly number[];
  /** Whether the first token starts a text, so that SentencePiece's leading space is removed. */
  readonly beginsText: boolean;
}

/** A grammar for a vocabulary. */
export interface OpenGrammar {
  /** Returns the constraint of a new text. */
  start(options: ConstraintOptions): TokenConstraint;
}

/** The vocabulary lacks tokens for bytes that a grammar may require. */
export class VocabularyError extends Error {
  override readonly name = 'VocabularyError';
}

/** Grammars whose states and masks are kept for later texts. */
const NUM_KEPT = 8;
/** Bytes of the masks that a grammar keeps. */
const MAX_MASK_BYTES = 16 * 2 ** 20;

/** Opens grammars for the vocabulary of a tokenizer. */
export class ConstrainedTexts {
  readonly #tokenizer: Tokenizer;
  readonly #texts: TokenTexts;
  #vocabulary: Promise<Vocabulary> | undefined;
  readonly #kept = new Map<string, OpenGrammar>();

  constructor(tokenizer: Tokenizer, texts: TokenTexts) {
    this.#tokenizer = tokenizer;
    this.#texts = texts;
  }

  /** @throws VocabularyError if the vocabulary lacks bytes */
  async open(grammar: Grammar): Promise<OpenGrammar> {
    this.#vocabulary ??= openVocabulary(this.#tokenizer, this.#texts);
    const vocabulary = await this.#vocabulary;
    requireBytes(vocabulary.bytes);
    const { nodes, start } = grammar;
    // Nodes from another process are a view of its whole message.
    const key = `${start} ${Buffer.from(nodes.buffer, nodes.byteOffset, nodes.byteLength).toString('latin1')}`;
    const open = this.#kept.get(key) ?? new KeptGrammar({ nodes: nodes.slice(), start }, vocabulary);
    this.#kept.delete(key);
    this.#kept.set(key, open);
    if (this.#kept.size > NUM_KEPT) this.#kept.delete(this.#kept.keys().next().value!);
    return open;
  }
}

/** The tokens by their bytes, within a text and at its start. */
interface Vocabulary {
  readonly bytes: VocabularyBytes;
  readonly inside: TokenTrie;
  readonly first: TokenTrie;
}

/** Prepares a vocabulary, in parts between which the event loop runs. */
async function openVocabulary(tokenizer: Tokenizer, texts: TokenTexts): Promise<Vocabulary> {
  const bytes = await vocabularyBytes(tokenizer, texts);
  await yieldToEventLoop(undefined);
  const inside = new TokenTrie(bytes.inside);
  await yieldToEventLoop(undefined);
  const first = bytes.first === bytes.inside ? inside : new TokenTrie(bytes.first);
  return { bytes, inside, first };
}

/**
 * With a token for each byte, every text can be written.
 *
 * @throws VocabularyError if one is missing
 */
function requireBytes({ inside }: VocabularyBytes): void {
  const present = new Set(inside.filter(({ length }) => length === 1).map(([byte]) => byte));
  const missing = REQUIRED_BYTES.find((byte) => !present.has(byte));
  if (missing === undefined) return;
  throw new VocabularyError(
    `the model's vocabulary has no token for the byte 0x${missing.toString(16).padStart(2, '0')}, expected one for each byte of UTF-8 text`,
  );
}

/** Line feed, the printable bytes of ASCII, and those of longer characters. */
const REQUIRED_BYTES = [0x0a, ...range(0x20, 0x7e), ...range(0x80, 0xbf), ...range(0xc2, 0xf4)];

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

class KeptGrammar implements OpenGrammar {
  readonly #automaton: Automaton;
  readonly #vocabulary: Vocabulary;
  #masks = new WeakMap<State, Uint32Array>();
  #maskBytes = 0;

  constructor(grammar: Grammar, vocabulary: Vocabulary) {
    this.#automaton = new Automaton(grammar);
    this.#vocabulary = vocabulary;
  }

  start({ stopIds, beginsText }: ConstraintOptions): TokenConstraint {
    const { bytes, first } = this.#vocabulary;
    let state = this.#automaton.start();
    let isFirst = beginsText;
    return {
      mask: () => {
        const ordinary = isFirst ? first.mask(this.#automaton, state) : this.#mask(state);
        const mask = ordinary.slice();
        for (const id of stopIds) {
          const bit = 1 << (id & 31);
          if (state.isComplete) mask[id >> 5] |= bit;
          else mask[id >> 5] &= ~bit;
        }
        return mask;
      },
      accept: (id) => {
        for (const byte of (isFirst ? bytes.first : bytes.inside)[id])
          state = this.#automaton.step(state, byte)!;
        isFirst = false;
        return state.threads.length === 0;
      },
    };
  }

  #mask(state: State): Uint32Array {
    let mask = this.#masks.get(state);
    if (!mask) {
      mask = this.#vocabulary.inside.mask(this.#automaton, state);
      this.#maskBytes += mask.byteLength;
      if (this.#maskBytes > MAX_MASK_BYTES) {
        this.#automaton.forget();
        this.#masks = new WeakMap();
        this.#maskBytes = mask.byteLength;
      }
      this.#masks.set(state, mask);
    }
    return mask;
  }
}
