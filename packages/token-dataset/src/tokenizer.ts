import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { makeDirectory } from '@meap/files';
import { readJsonFile, SafetensorsError } from '@meap/safetensors';
import { reasonOf, TokenizerError } from './errors.ts';
import { type NativeTokenizer, nativeTokenizer } from './native-tokenizer.ts';
import {
  type AddedToken,
  ownTemplate,
  readSideFiles,
  type SideFiles,
  type TokenizerConfig,
  toJson,
  withAddedToken,
  withChatTemplate,
  withoutAddedToken,
} from './tokenizer-files.ts';

/** Options of {@link loadTokenizer}. */
export interface LoadTokenizerOptions {
  /** Token that starts a document; by default the one in the files. */
  bosToken?: string;
  /** Token that ends a document; for Llama 3 instruct models `<|end_of_text|>` rather than their `<|eot_id|>`. */
  eosToken?: string;
}

/** Options of {@link Tokenizer.encode}. */
export interface EncodeOptions {
  /** Whether to apply the tokenizer's template, which adds BOS for Llama. Default true, as in `transformers`. */
  addSpecialTokens?: boolean;
}

/** Options of {@link Tokenizer.decode}. */
export interface DecodeOptions {
  /** Whether to omit special tokens from the text. Default false, as in `transformers`. */
  skipSpecialTokens?: boolean;
}

/** Options of {@link Tokenizer.save}. */
export interface SaveTokenizerOptions {
  /** Chat template to save, in Jinja; the tokenizer's own by default. */
  chatTemplate?: string;
}

/**
 * A Hugging Face tokenizer: a `tokenizer.json` with the roles of its special tokens.
 *
 * It never truncates or pads, regardless of its file. Created by `loadTokenizer`, `trainBpeTokenizer`, `addMaskToken`.
 */
export class Tokenizer {
  /** The text of `tokenizer.json`. */
  readonly json: string;
  /** SHA-256 of that text, in hexadecimal. */
  readonly sha256: string;
  /** Highest id plus one, including added tokens: the minimum number of embedding rows. */
  readonly vocabSize: number;
  readonly bosTokenId: number | undefined;
  readonly eosTokenId: number | undefined;
  readonly maskTokenId: number | undefined;
  /** Entries of `tokenizer_config.json`; keys that end in `_token` name the special tokens. */
  readonly config: TokenizerConfig;
  /** Files of the folder for other readers, by name, such as SentencePiece's `tokenizer.model`. */
  readonly sideFiles: SideFiles;
  readonly #native: NativeTokenizer;

  /** Internal: use `loadTokenizer`, `trainBpeTokenizer` or `addMaskToken`. */
  constructor(json: string, config: TokenizerConfig, where: string, sideFiles: SideFiles = new Map()) {
    this.json = json;
    this.sha256 = createHash('sha256').update(json).digest('hex');
    this.config = config;
    this.sideFiles = sideFiles;
    this.#native = nativeTokenizer(json, where);
    let maxId = -1;
    for (const id of Object.values(this.#native.getVocab(true))) maxId = Math.max(maxId, id);
    this.vocabSize = maxId + 1;
    this.bosTokenId = this.#specialId('bos_token', where);
    this.eosTokenId = this.#specialId('eos_token', where);
    this.maskTokenId = this.#specialId('mask_token', where);
  }

  /** The chat template in Jinja, if there is one. */
  get chatTemplate(): string | undefined {
    return ownTemplate(this);
  }

  /** Encodes a text. */
  async encode(text: string, options: EncodeOptions = {}): Promise<Int32Array> {
    return (await this.encodeBatch([text], options))[0];
  }

  /** Encodes many texts, on all cores. */
  async encodeBatch(texts: readonly string[], options: EncodeOptions = {}): Promise<Int32Array[]> {
    const { addSpecialTokens = true } = options;
    const encodings = await this.#native.encodeBatch(texts as string[], { addSpecialTokens });
    return encodings.map((encoding) => new Int32Array(encoding.getIds()));
  }

  /** Decodes token ids; ids beyond the vocabulary, such as padding rows of an embedding, are skipped. */
  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): Promise<string> {
    return this.#native.decode(Array.from(ids), options.skipSpecialTokens ?? false);
  }

  /** The id of a token, if it exists. */
  tokenToId(token: string): number | undefined {
    return this.#native.tokenToId(token) ?? undefined;
  }

  /** The token of an id, if it exists. */
  idToToken(id: number): string | undefined {
    return this.#native.idToToken(id) ?? undefined;
  }

  /** The ids of all tokens that are not special, in ascending order. */
  ordinaryIds(): Int32Array {
    const added: readonly AddedToken[] = JSON.parse(this.json).added_tokens ?? [];
    const special = new Set(added.filter((token) => token.special).map(({ id }) => id));
    for (const id of [this.bosTokenId, this.eosTokenId, this.maskTokenId])
      if (id !== undefined) special.add(id);
    const ids = Object.values(this.#native.getVocab(true)).filter((id) => !special.has(id));
    return Int32Array.from(new Set(ids)).sort();
  }

  /**
   * Writes `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json` and the side files into a folder, which
   * loads in every version of `transformers` that loads the original folder.
   */
  save(directory: string, { chatTemplate }: SaveTokenizerOptions = {}): void {
    const { config, sideFiles } = withChatTemplate(this, chatTemplate);
    const specialTokens = Object.entries(config).filter(
      ([key, value]) => (key.endsWith('_token') && value) || key === 'additional_special_tokens',
    );
    const files = new Map<string, string | Uint8Array>([
      ...sideFiles,
      ['tokenizer.json', this.json],
      ['tokenizer_config.json', toJson(config)],
      ['special_tokens_map.json', toJson(Object.fromEntries(specialTokens))],
    ]);
    makeDirectory(directory);
    for (const [name, content] of files) {
      const path = join(directory, name);
      makeDirectory(dirname(path));
      writeFileSync(path, content);
    }
  }

  #specialId(key: string, where: string): number | undefined {
    const token = contentOf(this.config[key]);
    if (token === undefined) return undefined;
    const id = this.tokenToId(token);
    if (id === undefined) {
      throw new TokenizerError(`${where}: ${key} is '${token}', expected a token of the vocabulary`);
    }
    return id;
  }
}

/**
 * Loads a tokenizer from a `tokenizer.json` or from a Hugging Face folder that contains one.
 *
 * BOS, EOS and mask tokens come from the options, else `tokenizer_config.json`, else `special_tokens_map.json`, else the
 * ids in `generation_config.json` and `config.json`.
 *
 * @throws TokenizerError if the file is missing or damaged, or names a special token that it lacks
 */
export function loadTokenizer(path: string, options: LoadTokenizerOptions = {}): Tokenizer {
  const isDirectory = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const directory = isDirectory ? path : dirname(path);
  const file = isDirectory ? join(path, 'tokenizer.json') : path;
  if (!existsSync(file)) {
    throw new TokenizerError(`no such file ${file}; expected a tokenizer.json or a folder that contains one`);
  }
  const stats = statSync(file);
  if (!stats.isFile() || stats.size > MAX_TOKENIZER_BYTES) {
    throw new TokenizerError(
      `${file}: got ${stats.size} bytes, expected a tokenizer.json, a regular file of at most ${MAX_TOKENIZER_BYTES}`,
    );
  }
  const json = readFileSync(file, 'utf8');
  const config: Record<string, unknown> = {
    ...readJson(join(directory, 'special_tokens_map.json')),
    ...withoutNulls(readJson(join(directory, 'tokenizer_config.json'))),
  };
  for (const role of ['bos', 'eos'] as const) {
    const given = role === 'bos' ? options.bosToken : options.eosToken;
    const named = contentOf(config[`${role}_token`]) !== undefined;
    const token = given ?? (named ? undefined : tokenOfModelConfig(directory, role, json, file));
    if (token !== undefined) config[`${role}_token`] = given ?? config[`${role}_token`] ?? token;
  }
  return new Tokenizer(json, config, file, readSideFiles(directory));
}

/**
 * Adds a mask token at the first id after the vocabulary, unless the tokenizer already has that token.
 *
 * MEAP replaces input tokens by this id. The model needs `vocabSize` rows of the result; the id is never a target.
 */
export function addMaskToken(tokenizer: Tokenizer, maskToken = '[MASK]'): Tokenizer {
  const config = { ...tokenizer.config, mask_token: maskToken };
  if (tokenizer.tokenToId(maskToken) !== undefined) {
    return new Tokenizer(tokenizer.json, config, 'tokenizer', tokenizer.sideFiles);
  }
  const contents = JSON.parse(tokenizer.json);
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const entry: AddedToken = { id: tokenizer.vocabSize, content: maskToken, ...flags };
  contents.added_tokens = [...(contents.added_tokens ?? []), entry];
  const files = withAddedToken({ config, sideFiles: tokenizer.sideFiles }, entry);
  const masked = new Tokenizer(JSON.stringify(contents), files.config, 'tokenizer', files.sideFiles);
  if (masked.maskTokenId !== tokenizer.vocabSize) {
    throw new TokenizerError(
      `mask token: '${maskToken}' got id ${masked.maskTokenId}, expected ${tokenizer.vocabSize}; the ids have gaps`,
    );
  }
  return masked;
}

/**
 * Undoes `addMaskToken`, so that text that spells the mask token does not become that id; returns the same tokenizer if
 * the mask token is not the last added token.
 */
export function removeMaskToken(tokenizer: Tokenizer, maskToken = '[MASK]'): Tokenizer {
  const contents = JSON.parse(tokenizer.json);
  const { id, content } = contents.added_tokens?.at(-1) ?? {};
  if (content !== maskToken || id !== tokenizer.vocabSize - 1) return tokenizer;
  contents.added_tokens.pop();
  const { mask_token, ...config } = tokenizer.config;
  const files = withoutAddedToken({ config, sideFiles: tokenizer.sideFiles }, { id, content });
  const without = new Tokenizer(JSON.stringify(contents), files.config, 'tokenizer', files.sideFiles);
  // A vocabulary that contains the token keeps its id without the entry.
  return without.tokenToId(maskToken) === undefined ? without : tokenizer;
}

/** The content of a special token, which is a string or an object with its content. */
export function contentOf(value: unknown): string | undefined {
  const content = typeof value === 'object' ? (value as { content?: unknown } | null)?.content : value;
  return typeof content === 'string' ? content : undefined;
}

function tokenOfModelConfig(
  directory: string,
  role: 'bos' | 'eos',
  json: string,
  where: string,
): string | undefined {
  for (const name of ['generation_config.json', 'config.json']) {
    const value = readJson(join(directory, name))[`${role}_token_id`];
    // A list contains every id that ends a generation; the first one ends a text.
    const id = Array.isArray(value) ? value[0] : value;
    if (typeof id === 'number') return nativeTokenizer(json, where).idToToken(id) ?? undefined;
  }
  return undefined;
}

/** The largest published vocabularies have 40 MB. */
const MAX_TOKENIZER_BYTES = 256 * 2 ** 20;

/** Room for a hundred thousand added tokens. */
const MAX_CONFIG_BYTES = 16 * 2 ** 20;

function readJson(path: string): Record<string, unknown> {
  if (!existsSync(path)) return {};
  try {
    const value = readJsonFile(path, MAX_CONFIG_BYTES);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value };
  } catch (error) {
    if (error instanceof SafetensorsError) throw new TokenizerError(error.message);
    throw new TokenizerError(`${path}: cannot be read: ${reasonOf(error)}`);
  }
  throw new TokenizerError(`${path} does not contain a JSON object`);
}

function withoutNulls(config: TokenizerConfig): TokenizerConfig {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== null));
}
