/**
 * The files beside a `tokenizer.json` that only some readers use: chat templates, code, and vocabularies of slow
 * tokenizers, from which `transformers` 4 also rebuilds the fast one if `add_prefix_space` is set.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { reasonOf, TokenizerError } from './errors.ts';

/** The content of a `tokenizer_config.json`. */
export type TokenizerConfig = Readonly<Record<string, unknown>>;

/** Contents by name, which may include a folder. */
export type SideFiles = ReadonlyMap<string, Uint8Array>;

/** An added token as in `tokenizer.json`. */
export interface AddedToken {
  id: number;
  content: string;
  single_word: boolean;
  lstrip: boolean;
  rstrip: boolean;
  normalized: boolean;
  special: boolean;
}

/** A tokenizer without its `tokenizer.json`. */
interface Surroundings {
  readonly config: TokenizerConfig;
  readonly sideFiles: SideFiles;
}

const VOCABULARIES =
  /^(tokenizer\.model(\.v\d+)?|spiece\.model|sentencepiece(\.bpe)?\.model|tekken\.json|vocab\.(json|txt|bpe)|\w+\.tiktoken)$/;
const OTHERS = /^(merges\.txt|added_tokens\.json|chat_template\.jinja|tokenization_\w+\.py)$/;
const ADDED_TOKENS = 'added_tokens.json';
const TEMPLATE_FILE = 'chat_template.jinja';
const TEMPLATE_FOLDER = 'additional_chat_templates';

/**
 * Reads the files of a folder that belong to its tokenizer, except those that `Tokenizer` writes itself and dangling
 * links.
 *
 * @throws TokenizerError for a file or folder that cannot be read
 */
export function readSideFiles(directory: string): SideFiles {
  try {
    const names = readdirSync(directory).filter((name) => VOCABULARIES.test(name) || OTHERS.test(name));
    const folder = join(directory, TEMPLATE_FOLDER);
    if (statsOf(folder)?.isDirectory()) {
      for (const name of readdirSync(folder)) {
        if (name.endsWith('.jinja')) names.push(`${TEMPLATE_FOLDER}/${name}`);
      }
    }
    const files = names.filter((name) => statsOf(join(directory, name))?.isFile());
    return new Map(files.map((name) => [name, readFileSync(join(directory, name))]));
  } catch (error) {
    throw new TokenizerError(`${directory}: a tokenizer's file cannot be read: ${reasonOf(error)}`);
  }
}

const statsOf = (path: string) => statSync(path, { throwIfNoEntry: false });

/** Adds a token to every file other than `tokenizer.json` that lists added tokens. */
export function withAddedToken({ config, sideFiles }: Surroundings, token: AddedToken): Surroundings {
  const { id, content, ...flags } = token;
  const decoder = config.added_tokens_decoder as Record<string, unknown> | undefined;
  const entries = decoder && { added_tokens_decoder: { ...decoder, [id]: { content, ...flags } } };
  // Readers that build the vocabulary from such a file find the id only in added_tokens.json.
  const isNeeded = !decoder && [...sideFiles.keys()].some((name) => VOCABULARIES.test(name));
  return {
    config: { ...config, ...entries },
    sideFiles: withAddedIds(sideFiles, (ids) => ({ ...ids, [content]: id }), isNeeded),
  };
}

/** Undoes {@link withAddedToken}. */
export function withoutAddedToken(
  { config, sideFiles }: Surroundings,
  { id, content }: Pick<AddedToken, 'id' | 'content'>,
): Surroundings {
  const { [id]: _, ...decoder } = (config.added_tokens_decoder ?? {}) as Record<string, unknown>;
  return {
    config: config.added_tokens_decoder ? { ...config, added_tokens_decoder: decoder } : config,
    sideFiles: withAddedIds(sideFiles, ({ [content]: _, ...ids }) => ids),
  };
}

/** The chat template of a tokenizer's files, if there is one. */
export function ownTemplate({ config, sideFiles }: Surroundings): string | undefined {
  return sideFiles.has(TEMPLATE_FILE)
    ? new TextDecoder().decode(sideFiles.get(TEMPLATE_FILE))
    : defaultTemplate(config.chat_template);
}

/** Replaces all chat templates by one; undefined or the present template changes nothing. */
export function withChatTemplate({ config, sideFiles }: Surroundings, template?: string): Surroundings {
  const own = ownTemplate({ config, sideFiles });
  if (template === undefined || template === own) {
    // In both files, because older versions of transformers read only this one.
    return { config: own ? { chat_template: own, ...config } : config, sideFiles };
  }
  const changed = new Map([...sideFiles].filter(([name]) => !name.startsWith(`${TEMPLATE_FOLDER}/`)));
  if (changed.has(TEMPLATE_FILE)) changed.set(TEMPLATE_FILE, new TextEncoder().encode(template));
  return { config: { ...config, chat_template: template }, sideFiles: changed };
}

/** The template of a `tokenizer_config.json`: its text, or of several the one named `default`, else the first. */
export function defaultTemplate(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) return undefined;
  const named = value.find((entry) => entry?.name === 'default') ?? value[0];
  return typeof named?.template === 'string' ? named.template : undefined;
}

/** JSON as Python writes it: integers of any size, such as a `model_max_length` of 10³⁰, stay integers. */
export function toJson(value: object): string {
  const text = JSON.stringify(value, null, 2);
  return `${text.replace(/^(\s*"\w+": )(\d(?:\.\d+)?e\+\d+)(?=,?$)/gm, (_, key, number) => key + BigInt(Number(number)))}\n`;
}

/** Changes `added_tokens.json`, if it exists or is needed. */
function withAddedIds(
  sideFiles: SideFiles,
  change: (ids: Record<string, unknown>) => Record<string, unknown>,
  isNeeded = false,
): SideFiles {
  const found = sideFiles.get(ADDED_TOKENS);
  if (!found && !isNeeded) return sideFiles;
  const changed = new Map(sideFiles);
  const ids = change(found ? parseIds(found) : {});
  if (Object.keys(ids).length > 0) changed.set(ADDED_TOKENS, new TextEncoder().encode(toJson(ids)));
  else changed.delete(ADDED_TOKENS);
  return changed;
}

function parseIds(content: Uint8Array): Record<string, unknown> {
  try {
    return { ...JSON.parse(new TextDecoder().decode(content)) };
  } catch (error) {
    throw new TokenizerError(`${ADDED_TOKENS} is not JSON: ${reasonOf(error)}`);
  }
}
