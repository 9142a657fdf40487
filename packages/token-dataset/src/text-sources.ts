import { type DocumentSettings, type ReadFileOptions, readFileDocuments } from './documents.ts';
import { DatasetError } from './errors.ts';
import { resolveFiles, type SourceFile } from './files.ts';
import type { FileFormat } from './formats.ts';
import { documentFilter, estimatedTokens, type LengthUpsampling } from './length-upsampling.ts';
import { readAhead } from './read-ahead.ts';

/** One of several sources of a mix. */
export interface TextSource {
  /** What it is called in statistics and messages. */
  name: string;
  /** Paths and globs; see `readDocuments`. */
  files: string | readonly string[];
  /** Its part of the tokens, in proportion to the sum of all shares. */
  share: number;
  /** What its files hold; that of the options by default. */
  format?: FileFormat | 'auto';
  /** Field of a record; that of the options by default. */
  textField?: string;
  /** String between the documents of a text file; that of the options by default. */
  separator?: string;
}

/** A source with its files found; without a budget it is read once. */
export interface OpenSource extends DocumentSettings {
  readonly name: string;
  readonly share: number;
  readonly files: readonly SourceFile[];
  /** Tokens after which it stops. */
  readonly budget: number;
}

/** How far a source has been read: where another process goes on. Plain JSON. */
export interface ReadPosition {
  readonly pass: number;
  /** Index of the file that is being read, and how much of it has been: documents, bad records, bytes on disk. */
  readonly file: number;
  readonly documents: number;
  readonly badRecords: number;
  readonly bytes: number;
  /** Documents of the pass, and whether any was kept. */
  readonly number: number;
  readonly canKeep: boolean;
  /** Documents of nothing but white space in the first pass. */
  readonly empty: number;
  /** Estimated tokens of all that was kept. */
  readonly keptTokens: number;
}

/** The beginning of a source. */
export const START: ReadPosition = {
  pass: 0,
  file: 0,
  documents: 0,
  badRecords: 0,
  bytes: 0,
  number: 0,
  canKeep: false,
  empty: 0,
  keptTokens: 0,
};

/** Documents as they come: the text of a kept one, and of any its length in characters. */
export interface TextBatch {
  readonly source: number;
  readonly pass: number;
  readonly documents: readonly { readonly characters: number; readonly text?: string }[];
  /** Records since the batch of the source before that could not be read, and the messages of the first. */
  readonly bad: { readonly count: number; readonly first: readonly string[] };
  /** How far all sources are after this batch. */
  readonly positions: readonly ReadPosition[];
}

/** Whether a document of a length is kept. */
type Filter = (characters: number, source: number, pass: number, document: number) => boolean;

/**
 * When a batch is full: enough text to occupy a core for tens of milliseconds, little enough to spread over many. Tests
 * make it smaller.
 */
export const BATCH = { characters: 512 * 1024, documents: 8192 };

/** What is read, and how it is chosen. */
export interface ChosenTexts {
  readonly sources: readonly OpenSource[];
  readonly keeps: Filter | undefined;
  /** Of a mix or a choice, all that it depends on besides the contents of the files. */
  readonly identity: object | undefined;
}

/** The part of `PrepareTokensOptions` that says which texts are taken. */
export interface TextChoice {
  files?: string | readonly string[];
  sources?: readonly TextSource[];
  tokenBudget?: number;
  lengthUpsampling?: LengthUpsampling;
  seed?: number;
  onRepeatedFile?: (path: string) => void;
}

/**
 * Finds the files of one source or of several, and settles which documents are kept.
 *
 * @throws DatasetError for options that exclude each other, for files that are not there, shares and budgets that
 *   are none
 */
export async function chooseTexts(
  { files, sources, tokenBudget, lengthUpsampling, seed = 0, onRepeatedFile }: TextChoice,
  settings: DocumentSettings,
): Promise<ChosenTexts> {
  if ((files === undefined) === (sources === undefined)) {
    throw new DatasetError(
      `prepareTokens: got ${files === undefined ? 'neither files nor' : 'files and'} sources, expected one of them`,
    );
  }
  if (files !== undefined && tokenBudget !== undefined) {
    throw new DatasetError(`tokenBudget: got ${tokenBudget} with files, expected it with sources alone`);
  }
  if (!Number.isSafeInteger(seed)) throw new DatasetError(`seed: got ${seed}, expected a whole number`);
  const keeps = lengthUpsampling && documentFilter(lengthUpsampling, seed);
  const find = (patterns: string | readonly string[]) => resolveFiles(patterns, onRepeatedFile);
  const single = async (): Promise<OpenSource[]> => {
    const budget = Number.POSITIVE_INFINITY;
    return [{ name: 'files', share: 1, budget, files: await find(files!), ...settings }];
  };
  const open = sources ? await openSources(sources, tokenBudget, settings, find) : await single();
  if (!sources && !keeps) return { sources: open, keeps, identity: undefined };
  const identity = {
    sources: sources && open.map(({ files, name, ...source }) => ({ ...source, numFiles: files.length })),
    lengthUpsampling,
    seed: keeps && seed,
  };
  return { sources: open, keeps, identity };
}

/**
 * Finds the files of all sources and splits the budget between them.
 *
 * @throws DatasetError for files that are not there, shares and budgets that are none, names given twice
 */
async function openSources(
  sources: readonly TextSource[],
  tokenBudget: number | undefined,
  defaults: DocumentSettings,
  find: (patterns: string | readonly string[]) => Promise<SourceFile[]>,
): Promise<OpenSource[]> {
  const total = sources.reduce((sum, { share }) => sum + share, 0);
  const names = new Set(sources.map(({ name }) => name));
  if (sources.length === 0 || names.size !== sources.length) {
    throw new DatasetError(
      `sources: got ${sources.map(({ name }) => name).join(', ') || 'none'}, expected at least one, each name once`,
    );
  }
  if (!Number.isSafeInteger(tokenBudget) || tokenBudget! < 1) {
    throw new DatasetError(
      `tokenBudget: got ${tokenBudget}, expected a whole number of tokens for the sources`,
    );
  }
  return Promise.all(
    sources.map(async ({ name, share, files, format, textField, separator }) => {
      if (!(share > 0 && Number.isFinite(share))) {
        throw new DatasetError(`sources: ${name} has share ${share}, expected a number above 0`);
      }
      return {
        name,
        share: share / total,
        files: await find(files),
        format: format ?? defaults.format,
        textField: textField ?? defaults.textField,
        separator: separator ?? defaults.separator,
        budget: Math.round((tokenBudget! * share) / total),
      };
    }),
  );
}

/**
 * The documents of all sources in one stream, each source in proportion to its share by estimated tokens, so that any
 * part of the stream has the mix of the whole. A source with a budget starts over where it ends, until `isSpent`.
 *
 * @param start where a process before this one has stopped
 * @param isSpent may come to know late: which other batches come, and in which order, does not depend on it
 * @throws DatasetError for a source of which nothing is kept
 */
export async function* mixSources(
  sources: readonly OpenSource[],
  start: readonly ReadPosition[],
  keeps: Filter | undefined,
  isSpent: (source: number) => boolean,
  read: Omit<ReadFileOptions, keyof DocumentSettings>,
): AsyncGenerator<TextBatch> {
  const streams = sources.map((_, index) => readSource(sources, index, start[index], keeps, read));
  let positions = start;
  const open = new Set(sources.keys());
  try {
    for (;;) {
      for (const index of open) if (isSpent(index)) open.delete(index);
      if (open.size === 0) return;
      const [first, ...rest] = open;
      const behind = (index: number) => positions[index].keptTokens / sources[index].share;
      const next = rest.reduce((least, index) => (behind(index) < behind(least) ? index : least), first);
      const { value, done } = await streams[next].next();
      if (done) {
        open.delete(next);
        continue;
      }
      positions = positions.map((position, index) => (index === next ? value.position : position));
      const { position, ...batch } = value;
      yield { source: next, ...batch, positions };
    }
  } finally {
    for (const stream of streams) await stream.return(undefined);
  }
}

/** Messages of bad records that are worth keeping. */
export const FIRST_BAD = 10;

interface SourceBatch extends Pick<TextBatch, 'pass' | 'documents' | 'bad'> {
  readonly position: ReadPosition;
}

async function* readSource(
  sources: readonly OpenSource[],
  source: number,
  start: ReadPosition,
  keeps: Filter | undefined,
  read: Omit<ReadFileOptions, keyof DocumentSettings>,
): AsyncGenerator<SourceBatch, undefined> {
  const { name, files, format, textField, separator, budget } = sources[source];
  const passes = budget === Number.POSITIVE_INFINITY ? 1 : Number.POSITIVE_INFINITY;
  let { pass, file, number, canKeep, empty, keptTokens } = start;
  // Of the file in which another process has stopped, so much is read again without being heard of.
  let known = start;
  let [inFile, badRecords, bytes] = [0, 0, 0];
  let documents: { characters: number; text?: string }[] = [];
  let characters = 0;
  let bad = { count: 0, first: [] as string[] };
  const batch = (): SourceBatch => {
    const place = { pass, file, documents: inFile, badRecords, bytes };
    const taken = { pass, documents, bad, position: { ...place, number, canKeep, empty, keptTokens } };
    [documents, characters, bad] = [[], 0, { count: 0, first: [] }];
    return taken;
  };
  const heard: typeof read = {
    onBadRecord: (error) => {
      if (++badRecords <= known.badRecords) return;
      read.onBadRecord(error);
      if (++bad.count <= FIRST_BAD) bad.first.push(error.message);
    },
    onBytes: (count) => {
      bytes += count;
      read.onBytes(Math.max(0, Math.min(count, bytes - known.bytes)));
    },
  };
  for (; pass < passes; pass++) {
    for (const atHand of readAhead(files.slice(file))) {
      for await (const group of readFileDocuments(atHand, { ...heard, format, textField, separator })) {
        for (const { text } of group) {
          if (++inFile <= known.documents) continue;
          number++;
          if (!/\S/.test(text)) {
            if (pass === 0) empty++;
            continue;
          }
          const isKept = keeps?.(text.length, source, pass, number - 1) ?? true;
          canKeep ||= isKept;
          documents.push(isKept ? { characters: text.length, text } : { characters: text.length });
          if (isKept) {
            characters += text.length;
            keptTokens += estimatedTokens(text.length);
          }
          if (characters >= BATCH.characters || documents.length === BATCH.documents) yield batch();
        }
      }
      file++;
      [inFile, badRecords, bytes] = [0, 0, 0];
      known = START;
    }
    yield batch();
    if (passes > 1 && !canKeep) {
      throw new DatasetError(
        `source ${name}: none of its ${number} documents is kept, its budget of ${budget} tokens cannot be met; ` +
          'give it longer documents, keep more of the short ones, or leave it out',
      );
    }
    [file, number, canKeep] = [0, 0, false];
  }
  return undefined;
}
