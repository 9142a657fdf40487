/** Prepares the data of a run: texts, tokenizer, token shards, split. Tokenizer and shards are cached. */
import { createHash } from 'node:crypto';
import { existsSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { makeDirectory } from '@meap/files';
import { RunError, reasonOf, runSeeds } from '@meap/recipe-cli';
import {
  addMaskToken,
  DatasetError,
  type DocumentCounts,
  type FileDescription,
  type FileFormat,
  loadTokenizer,
  openTokenDataset,
  type PrepareProgress,
  type PrepareTokensOptions,
  prepareTokens,
  readDocuments,
  removeMaskToken,
  type SourceStatistics,
  type SplitOptions,
  selectBlocks,
  type TokenBlocks,
  type Tokenizer,
  TokenizerError,
  trainBpeTokenizer,
} from '@meap/token-dataset';
import type { PretrainConfig } from '../resolve-config.ts';
import { remoteFiles } from './hub-files.ts';
import { writeNpmText } from './npm-text.ts';

/** Progress of `prepareData`. */
export type DataProgress =
  | { stage: 'tokenizer'; vocabSize: number }
  | ({ stage: 'train' | 'validation' } & PrepareProgress)
  /** Says that an interrupted preparation continues. */
  | { stage: 'train' | 'validation'; notice: string };

/** Called with a dataset before it is tokenized; may throw to stop the preparation. */
export type OnFound = NonNullable<PrepareTokensOptions['onFound']>;

/** The data of a run. */
export interface PreparedData {
  /** With the mask token. */
  tokenizer: Tokenizer;
  train: TokenBlocks;
  /** The split of `train.dataset` that `train` consists of. */
  trainSplit: SplitOptions;
  /** The rows of every validation. */
  validation: TokenBlocks;
  /** Number of skipped bad records in all files, and the messages of the first. */
  skipped: { count: number; first: readonly string[] };
  /** Further paths of files that were already read. */
  repeatedFiles: readonly string[];
  /** Counts of notable documents. */
  documents: DocumentCounts;
  /** Statistics of each source of a mix, or of the files with `data.long_documents`. */
  mix?: readonly SourceStatistics[];
  /** The files that were read. */
  files: readonly FileDescription[];
  /** Damaged files of prepared data that were rebuilt, with what was wrong. */
  replaced: readonly string[];
  close(): void;
}

/** Maximum characters that a tokenizer is trained on; merges hardly change beyond it. */
const MAX_TOKENIZER_CHARACTERS = 64 * 1024 * 1024;

/** Message for files without text. */
export const EMPTY_CORPUS = 'empty corpus: got files without text, expected at least one document with text';

/**
 * Prepares the data of a run, or opens prepared data from the cache.
 *
 * @param onFound called with the training text before it is tokenized; may throw
 * @throws DatasetError, TokenizerError for bad files, records, sizes or vocabularies
 */
export async function prepareData(
  config: PretrainConfig,
  onProgress?: (progress: DataProgress) => void,
  signal?: AbortSignal,
  onFound?: OnFound,
): Promise<PreparedData> {
  const { data, train, validation } = config;
  const { plain, masked } = await prepareTokenizer(config, onProgress);
  const repeatedFiles: string[] = [];
  // Other options, such as on_bad_record, share the folder, so that an interrupted preparation continues.
  const reading = [data.format, data.text_field, data.separator ?? '', data.parse_special_tokens];
  const prepare = async (stage: 'train' | 'validation', texts: TextChoice, key: string) =>
    prepareTokens({
      ...texts,
      // Without the mask token, which text must not be able to spell.
      tokenizer: plain,
      outputDirectory: join(data.cache_dir, 'tokens', key),
      format: data.format,
      textField: data.text_field,
      separator: data.separator,
      addBos: plain.bosTokenId !== undefined,
      onRepeatedFile: (path) => repeatedFiles.push(path),
      onBadRecord: data.on_bad_record,
      parseSpecialTokens: data.parse_special_tokens,
      onFound: stage === 'train' ? onFound : undefined,
      onNotice: (notice) => onProgress?.({ stage, notice }),
      onProgress: (progress) => onProgress?.({ stage, ...progress }),
      signal,
    });
  const texts = trainingTexts(config);
  const key = keyOf('train', texts, plain.sha256, reading);
  const prepareTraining = async () => prepare('train', await withRemote(config, texts, signal), key);
  const parts = [await inCache(config, prepareTraining)];
  if (data.validation_files) {
    const own = { files: data.validation_files };
    parts.push(await prepare('validation', own, keyOf('validation', own, plain.sha256, reading)));
  }

  const open: ReturnType<typeof openTokenDataset>[] = [];
  const close = () => {
    for (const dataset of open) dataset.close();
  };
  try {
    for (const { directory } of parts) {
      open.push(openTokenDataset(directory, { vocabSize: config.model.vocab_size }));
    }
    const [own, other] = open;
    const all: SplitOptions = { sequenceLength: train.sequence_length };
    const part = (split: 'train' | 'validation'): SplitOptions =>
      other ? all : { ...all, split, validationFraction: data.validation_fraction };
    return {
      tokenizer: masked,
      train: selectBlocks(own, part('train')),
      trainSplit: part('train'),
      validation: spread(selectBlocks(other ?? own, part('validation')), validation.max_rows),
      skipped: {
        count: parts.reduce((sum, { skipped }) => sum + skipped.count, 0),
        first: parts.flatMap(({ skipped }) => skipped.first),
      },
      repeatedFiles,
      documents: sumOf(parts.map(({ documents }) => documents)),
      mix: parts[0].mix,
      files: parts.flatMap(({ sources }) => sources),
      replaced: parts.flatMap(({ replaced }) => replaced ?? []),
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

function sumOf(parts: readonly DocumentCounts[]): DocumentCounts {
  const sum = (of: (part: DocumentCounts) => number) => parts.reduce((total, part) => total + of(part), 0);
  return {
    empty: sum(({ empty }) => empty),
    duplicates: {
      count: sum(({ duplicates }) => duplicates.count),
      oneIn: Math.max(...parts.map(({ duplicates }) => duplicates.oneIn)),
    },
    spellings: {
      documents: sum(({ spellings }) => spellings.documents),
      occurrences: sum(({ spellings }) => spellings.occurrences),
    },
  };
}

type TextChoice = Pick<
  PrepareTokensOptions,
  'files' | 'sources' | 'tokenBudget' | 'lengthUpsampling' | 'seed'
>;

/** Texts with the files of the Hub that are fetched while they are read. */
async function withRemote(
  { data }: PretrainConfig,
  texts: TextChoice & { files?: readonly string[] },
  signal: AbortSignal | undefined,
): Promise<TextChoice> {
  if (data.keep_downloads) return texts;
  const remote = (files: readonly string[]) => remoteFiles(files, data.cache_dir, signal);
  if (texts.files) return { ...texts, files: await remote(texts.files) };
  const sources = Object.values(data.sources!).map(({ files }) => remote(files));
  const files = await Promise.all(sources);
  return { ...texts, sources: texts.sources!.map((source, i) => ({ ...source, files: files[i] })) };
}

/** Returns the training texts. */
function trainingTexts(config: PretrainConfig): TextChoice & { files?: readonly string[] } {
  const { sources, token_budget: tokenBudget, long_documents: long } = config.data;
  const lengthUpsampling = long && { minLength: long.min_tokens, keepShorter: long.keep_shorter };
  const seed = runSeeds(config).data;
  if (!sources) return { files: textFiles(config), lengthUpsampling, seed };
  const named = Object.entries(sources).map(([name, { text_field: textField, ...source }]) => {
    return { name, textField, ...source };
  });
  return { sources: named, tokenBudget, lengthUpsampling, seed };
}

/** Returns the files of a single source; writes texts of npm packages into the cache. */
function textFiles({ data }: PretrainConfig): readonly string[] {
  return data.files?.length ? data.files : [writeNpmText(data.npm ?? [], join(data.cache_dir, 'texts'))];
}

/** Runs an action that writes into the cache; names `data.cache_dir` in errors of the file system. */
async function inCache<T>({ data }: PretrainConfig, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    const { syscall, path = '' } = error as NodeJS.ErrnoException;
    const folder = resolve(data.cache_dir);
    // The path may also be a parent folder that could not be created.
    if (syscall === undefined || !(path.startsWith(folder) || folder.startsWith(path))) throw error;
    throw new RunError(
      `data.cache_dir: got ${data.cache_dir}, which cannot be used: ${reasonOf(error)}; choose a writable folder`,
      { cause: error },
    );
  }
}

/** Loads the tokenizer; trains it if `tokenizer.path` is not set and the cache has none for this text. */
export async function prepareTokenizer(
  config: PretrainConfig,
  onProgress?: (progress: DataProgress) => void,
): Promise<{ plain: Tokenizer; masked: Tokenizer }> {
  const { path, vocab_size, bos_token, eos_token, mask_token } = config.tokenizer;
  const names = { bosToken: bos_token, eosToken: eos_token };
  const folder = config.model.from ?? path;
  const options = { ...names, vocabSize: vocab_size! };
  const plain = folder
    ? removeMaskToken(loadTokenizer(folder, names), mask_token)
    : await inCache(config, () => trainOrReuse(config, options, onProgress));
  if (plain.eosTokenId === undefined) {
    throw new TokenizerError(
      `${folder}: got no EOS token, expected one to end documents; set tokenizer.eos_token`,
    );
  }
  const masked = addMaskToken(plain, mask_token);
  const rows = config.model.vocab_size ?? Number.POSITIVE_INFINITY;
  if (masked.vocabSize > rows) {
    throw new TokenizerError(
      `model.vocab_size: got ${rows}, expected at least ${masked.vocabSize}, the tokenizer’s ids with ${mask_token}; ` +
        'raise it, or remove it to use the tokenizer’s',
    );
  }
  return { plain, masked };
}

async function trainOrReuse(
  config: PretrainConfig,
  options: { vocabSize: number; bosToken?: string; eosToken?: string },
  onProgress?: (progress: DataProgress) => void,
): Promise<Tokenizer> {
  const hash = createHash('sha256');
  for await (const text of tokenizerText(config)) hash.update(text).update('\0');
  const key = keyOf(hash.digest('hex'), options);
  const directory = join(config.data.cache_dir, 'tokenizers', `bpe-${options.vocabSize}-${key}`);
  if (existsSync(directory)) return loadTokenizer(directory);

  onProgress?.({ stage: 'tokenizer', vocabSize: options.vocabSize });
  const tokenizer = await trainBpeTokenizer({ ...options, documents: tokenizerText(config) });
  const partial = `${directory}.${process.pid}.partial`;
  makeDirectory(join(directory, '..'));
  try {
    tokenizer.save(partial);
    renameSync(partial, directory);
  } catch (error) {
    // Another process may have saved the same tokenizer first.
    if (!existsSync(directory)) throw error;
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
  // Loaded even if just trained, so that both paths give the same files.
  return loadTokenizer(directory);
}

async function* tokenizerText(config: PretrainConfig): AsyncGenerator<string> {
  const sources = sourcesOf(config);
  const total = sources.reduce((sum, { share }) => sum + share, 0);
  let characters = 0;
  for (const source of sources) {
    const maxCharacters = (MAX_TOKENIZER_CHARACTERS * source.share) / total;
    let ofSource = 0;
    for await (const { text } of readText(config, source)) {
      yield text;
      ofSource += text.length;
      if (ofSource >= maxCharacters) break;
    }
    characters += ofSource;
  }
  if (characters === 0) throw new DatasetError(EMPTY_CORPUS);
}

/** Files with common reading options. */
export interface TextFiles {
  files: string | readonly string[];
  format: FileFormat | 'auto';
  textField: string;
  separator: string | undefined;
  /** Share of the training text. */
  share: number;
}

/** Returns the sources of the training text. */
export function sourcesOf(config: PretrainConfig): TextFiles[] {
  const { format, text_field: textField, separator, sources } = config.data;
  if (!sources) return [{ files: textFiles(config), format, textField, separator, share: 1 }];
  return Object.values(sources).map((source) => ({
    files: source.files,
    format: source.format ?? format,
    textField: source.text_field ?? textField,
    separator: source.separator ?? separator,
    share: source.share,
  }));
}

/** Reads the documents of files. */
export function readText(
  { data }: PretrainConfig,
  { files, format, textField, separator }: TextFiles,
): ReturnType<typeof readDocuments> {
  return readDocuments({
    files,
    format,
    textField,
    separator,
    // Skipped records are counted in prepareTokens.
    ...(data.on_bad_record === 'skip' && { onBadRecord: () => {} }),
  });
}

/** Returns at most `maxBlocks` evenly spaced blocks. */
export function spread(blocks: TokenBlocks, maxBlocks: number): TokenBlocks {
  if (blocks.numBlocks <= maxBlocks) return blocks;
  const at = (index: number) => Math.floor(((index + 0.5) * blocks.numBlocks) / maxBlocks);
  return {
    dataset: blocks.dataset,
    blockLength: blocks.blockLength,
    numBlocks: maxBlocks,
    read: (index) => blocks.read(at(index)),
    targetBytes: (index) => blocks.targetBytes(at(index)),
  };
}

/** Returns a folder name from options; the contents of files are verified by fingerprint. */
function keyOf(...parts: unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);
}
