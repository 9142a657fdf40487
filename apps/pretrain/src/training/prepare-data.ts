/** From the configuration to token blocks: texts, tokenizer, prepared tokens, split. All but the texts is cached. */
import { createHash } from 'node:crypto';
import { existsSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { makeDirectory } from '@meap/files';
import { RunError, reasonOf } from '@meap/recipe-cli';
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
import { writeNpmText } from './npm-text.ts';

/** What is being prepared, and how much of it is done. */
export type DataProgress =
  | { stage: 'tokenizer'; vocabSize: number }
  | ({ stage: 'train' | 'validation' } & PrepareProgress)
  /** Whether an interrupted preparation is continued, in words. */
  | { stage: 'train' | 'validation'; notice: string };

/** Hears of a dataset before it is made; what it throws ends the preparation. */
export type OnFound = NonNullable<PrepareTokensOptions['onFound']>;

/** Everything a run reads. */
export interface PreparedData {
  /** With the mask token. */
  tokenizer: Tokenizer;
  train: TokenBlocks;
  /** Which blocks of `train.dataset` those are. */
  trainSplit: SplitOptions;
  /** The rows that every validation scores. */
  validation: TokenBlocks;
  /** Bad records passed over in all files, and the messages of the first. */
  skipped: { count: number; first: readonly string[] };
  /** Other names of files that were read already. */
  repeatedFiles: readonly string[];
  /** What was noticed of all documents. */
  documents: DocumentCounts;
  /** What became of each source of a mix, or of the files where only some documents were kept. */
  mix?: readonly SourceStatistics[];
  /** The files of all texts as they were read. */
  files: readonly FileDescription[];
  /** Prepared data that were damaged and have been made again: the files and what is wrong with them. */
  replaced: readonly string[];
  close(): void;
}

/** Text that a tokenizer learns from, at most; merges hardly change beyond it. */
const TOKENIZER_CHARACTERS = 64 * 1024 * 1024;

/**
 * Prepares the data of a run, or finds them prepared.
 *
 * @param onFound hears of the training text before it is tokenised, and may throw
 * @throws DatasetError, TokenizerError for what is wrong with files, records, sizes or the vocabulary
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
  // What is worth a folder of its own: with other handling of bad records, say, one that was interrupted goes on.
  const reading = [data.format, data.text_field, data.separator ?? '', data.parse_special_tokens];
  const prepare = async (stage: 'train' | 'validation', texts: TextChoice) => {
    const report = (progress: PrepareProgress) => onProgress?.({ stage, ...progress });
    return prepareTokens({
      ...texts,
      // The plain tokenizer: a text that spells the mask token must not become a target of that id.
      tokenizer: plain,
      outputDirectory: join(data.cache_dir, 'tokens', keyOf(stage, texts, plain.sha256, reading)),
      format: data.format,
      textField: data.text_field,
      separator: data.separator,
      addBos: plain.bosTokenId !== undefined,
      onRepeatedFile: (path) => repeatedFiles.push(path),
      onBadRecord: data.on_bad_record,
      parseSpecialTokens: data.parse_special_tokens,
      onFound: stage === 'train' ? onFound : undefined,
      onNotice: (notice) => onProgress?.({ stage, notice }),
      onProgress: report,
      signal,
    });
  };
  const parts = [await inCache(config, () => prepare('train', trainingTexts(config)))];
  if (data.validation_files) parts.push(await prepare('validation', { files: data.validation_files }));

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
      documents: addedUp(parts.map(({ documents }) => documents)),
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

function addedUp(parts: readonly DocumentCounts[]): DocumentCounts {
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

/** Which texts are trained on. */
function trainingTexts(config: PretrainConfig): TextChoice {
  const { sources, token_budget: tokenBudget, long_documents: long } = config.data;
  const lengthUpsampling = long && { minLength: long.min_tokens, keepShorter: long.keep_shorter };
  if (!sources) return { files: textFiles(config), lengthUpsampling, seed: config.seed };
  const named = Object.entries(sources).map(([name, { text_field: textField, ...source }]) => {
    return { name, textField, ...source };
  });
  return { sources: named, tokenBudget, lengthUpsampling, seed: config.seed };
}

/** The files of the training text, if it has one source; built-in ones are written into the cache first. */
function textFiles({ data }: PretrainConfig): readonly string[] {
  return data.files?.length ? data.files : [writeNpmText(data.npm ?? [], join(data.cache_dir, 'texts'))];
}

/** Runs what writes into the cache; a refusal of the system is told by the key that names the folder. */
async function inCache<T>({ data }: PretrainConfig, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    const { syscall, path = '' } = error as NodeJS.ErrnoException;
    const folder = resolve(data.cache_dir);
    // Also a folder above it, which could not be made.
    if (syscall === undefined || !(path.startsWith(folder) || folder.startsWith(path))) throw error;
    throw new RunError(
      `data.cache_dir: got ${data.cache_dir}, which cannot be used: ${reasonOf(error)}; choose a folder you may write to`,
      { cause: error },
    );
  }
}

/** Loads the tokenizer, or trains one unless the cache has it for this text. */
export function prepareTokenizer(
  config: PretrainConfig,
  onProgress?: (progress: DataProgress) => void,
): Promise<{ plain: Tokenizer; masked: Tokenizer }> {
  return inCache(config, () => openTokenizer(config, onProgress));
}

async function openTokenizer(
  config: PretrainConfig,
  onProgress?: (progress: DataProgress) => void,
): Promise<{ plain: Tokenizer; masked: Tokenizer }> {
  const { path, vocab_size, bos_token, eos_token, mask_token } = config.tokenizer;
  const names = { bosToken: bos_token, eosToken: eos_token };
  const folder = config.model.from ?? path;
  const plain = folder
    ? removeMaskToken(loadTokenizer(folder, names), mask_token)
    : await trainOrReuse(config, { ...names, vocabSize: vocab_size! }, onProgress);
  if (plain.eosTokenId === undefined) {
    throw new TokenizerError(
      `${folder}: names no EOS token, expected one to end documents; set tokenizer.eos_token`,
    );
  }
  const masked = addMaskToken(plain, mask_token);
  const rows = config.model.vocab_size ?? Number.POSITIVE_INFINITY;
  if (masked.vocabSize > rows) {
    throw new TokenizerError(
      `model.vocab_size: vocabulary too small, got ${rows}, expected at least ${masked.vocabSize}, the tokenizer’s ids ` +
        `and ${mask_token}; leave it out to have it follow from the tokenizer`,
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
    // Another process that trained the same one may have been quicker.
    if (!existsSync(directory)) throw error;
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
  // Loaded even when just trained, so that both ways give the same files.
  return loadTokenizer(directory);
}

async function* tokenizerText(config: PretrainConfig): AsyncGenerator<string> {
  const sources = sourcesOf(config);
  const total = sources.reduce((sum, { share }) => sum + share, 0);
  let characters = 0;
  for (const source of sources) {
    const most = (TOKENIZER_CHARACTERS * source.share) / total;
    let ofSource = 0;
    for await (const { text } of readText(config, source)) {
      yield text;
      ofSource += text.length;
      if (ofSource >= most) break;
    }
    characters += ofSource;
  }
  if (characters === 0) throw new DatasetError('empty corpus: the files hold no text; give files with text');
}

/** Files that are read in one way. */
export interface TextFiles {
  files: string | readonly string[];
  format: FileFormat | 'auto';
  textField: string;
  separator: string | undefined;
  /** Its part of the training text. */
  share: number;
}

/** The sources of the training text, of which there may be only one. */
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

/** The documents of some files, read as the configuration says. */
export function readText(
  { data }: PretrainConfig,
  { files, format, textField, separator }: TextFiles,
): ReturnType<typeof readDocuments> {
  return readDocuments({
    files,
    format,
    textField,
    separator,
    // Skipped records are counted when the tokens are prepared.
    ...(data.on_bad_record === 'skip' && { onBadRecord: () => {} }),
  });
}

/** At most `most` blocks of a run of blocks, evenly spread over it. */
export function spread(blocks: TokenBlocks, most: number): TokenBlocks {
  if (blocks.numBlocks <= most) return blocks;
  const at = (index: number) => Math.floor(((index + 0.5) * blocks.numBlocks) / most);
  return {
    dataset: blocks.dataset,
    blockLength: blocks.blockLength,
    numBlocks: most,
    read: (index) => blocks.read(at(index)),
    targetBytes: (index) => blocks.targetBytes(at(index)),
  };
}

/** A folder name for whatever it depends on; contents of files are checked by fingerprint inside it. */
function keyOf(...parts: unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);
}
