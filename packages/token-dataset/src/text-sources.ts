import type { SkippedRecords } from './data-record.ts';
import {
  type DocumentOptions,
  type DocumentSettings,
  type ReadFileOptions,
  readFileDocuments,
} from './documents.ts';
import { DatasetError } from './errors.ts';
import { type RemoteFile, resolveFiles, type SourceFile } from './files.ts';
import { documentFilter, estimatedTokens, type LengthUpsampling } from './length-upsampling.ts';
import { filesAtHand } from './remote-files.ts';

/** One of several sources of a mix; `format`, `textField` and `separator` default to those of the mix. */
export interface TextSource extends DocumentOptions {
  /** Name in statistics and messages. */
  name: string;
  /** Paths and globs; see `readDocuments`. Also files that are fetched when they are read. */
  files: string | readonly (string | RemoteFile)[];
  /** Its part of the tokens, in proportion to the sum of all shares. */
  share: number;
}

/** A source with its files; without a budget it is read once. */
export interface OpenSource extends DocumentSettings {
  readonly name: string;
  readonly share: number;
  readonly files: readonly SourceFile[];
  /** Tokens after which it stops. */
  readonly budget: number;
}

/** The position at the start of a source. */
export const START = {
  pass: 0,
  /** Index of the current file, and what has been read of it: documents, bad records, bytes on disk. */
  file: 0,
  documents: 0,
  badRecords: 0,
  bytes: 0,
  /** Documents of the pass, and whether any was kept. */
  number: 0,
  canKeep: false,
  /** Documents of only white space in the first pass. */
  empty: 0,
  /** Estimated tokens of all kept documents. */
  keptTokens: 0,
};

/** A position in a source from which another process can continue; plain JSON. */
export type ReadPosition = Readonly<typeof START>;

/** A batch of documents: the length of each in characters, and the text of those that are kept. */
export interface TextBatch {
  readonly source: number;
  readonly pass: number;
  readonly documents: readonly { readonly characters: number; readonly text?: string }[];
  /** Bad records since the previous batch of the source. */
  readonly bad: SkippedRecords;
  /** Positions of all sources after this batch. */
  readonly positions: readonly ReadPosition[];
}

/** Whether a document of this length is kept. */
type Filter = (characters: number, source: number, pass: number, document: number) => boolean;

/**
 * Size of a full batch: enough text to occupy a core for tens of milliseconds, small enough to spread over many cores.
 * Tests reduce it.
 */
export const BATCH = { characters: 512 * 1024, documents: 8192 };

/** The sources to read, and the filter of their documents. */
export interface SelectedTexts {
  readonly sources: readonly OpenSource[];
  readonly keeps: Filter | undefined;
  /** Everything a mix or a selection depends on, apart from the contents of the files. */
  readonly identity: object | undefined;
}

/** The options of `prepareTokens` that select texts. */
export interface TextSelection {
  /** Paths and globs; see `readDocuments`. Also files that are fetched when they are read. Instead of `sources`. */
  files?: string | readonly (string | RemoteFile)[];
  /** Several sources, mixed in proportion to their shares until `tokenBudget` is spent. Instead of `files`. */
  sources?: readonly TextSource[];
  /**
   * Tokens of the mix. A source stops when its share of them is spent, which truncates its last document; a source with
   * fewer tokens starts over. Only with `sources`.
   */
  tokenBudget?: number;
  /** Keeps long documents and few short ones; by default all are kept. */
  lengthUpsampling?: LengthUpsampling;
  /** Key of the selection of short documents. Default 0. */
  seed?: number;
  /** Called with every other name of a file that is already read: links, overlapping patterns. */
  onRepeatedFile?: (path: string) => void;
}

/**
 * Finds the files of all sources and resolves which documents are kept.
 *
 * @throws DatasetError for conflicting options, missing files, invalid shares and budgets
 */
export async function selectTexts(
  { files, sources, tokenBudget, lengthUpsampling, seed = 0, onRepeatedFile }: TextSelection,
  settings: DocumentSettings,
): Promise<SelectedTexts> {
  if ((files === undefined) === (sources === undefined)) {
    throw new DatasetError(
      `prepareTokens: got ${files === undefined ? 'neither files nor' : 'files and'} sources, expected one of them`,
    );
  }
  if (files !== undefined && tokenBudget !== undefined) {
    throw new DatasetError(`tokenBudget: got ${tokenBudget} with files, expected it only with sources`);
  }
  if (!Number.isSafeInteger(seed)) throw new DatasetError(`seed: got ${seed}, expected a whole number`);
  const keeps = lengthUpsampling && documentFilter(lengthUpsampling, seed);
  if (sources) requireMix(sources, tokenBudget);
  const given = sources ?? [{ name: 'files', share: 1, files: files! }];
  const total = given.reduce((sum, { share }) => sum + share, 0);
  const open = await Promise.all(
    given.map(async ({ name, share, files, format, textField, separator }) => ({
      name,
      share: share / total,
      files: await resolveFiles(files, onRepeatedFile),
      format: format ?? settings.format,
      textField: textField ?? settings.textField,
      separator: separator ?? settings.separator,
      budget: sources ? Math.round((tokenBudget! * share) / total) : Number.POSITIVE_INFINITY,
    })),
  );
  if (!sources && !keeps) return { sources: open, keeps, identity: undefined };
  const identity = {
    sources: sources && open.map(({ files, name, ...source }) => ({ ...source, numFiles: files.length })),
    lengthUpsampling,
    seed: keeps && seed,
  };
  return { sources: open, keeps, identity };
}

function requireMix(sources: readonly TextSource[], tokenBudget: number | undefined): void {
  const names = new Set(sources.map(({ name }) => name));
  if (sources.length === 0 || names.size !== sources.length) {
    throw new DatasetError(
      `sources: got ${sources.map(({ name }) => name).join(', ') || 'none'}, expected at least one, with distinct names`,
    );
  }
  if (!Number.isSafeInteger(tokenBudget) || tokenBudget! < 1) {
    throw new DatasetError(
      `tokenBudget: got ${tokenBudget}, expected a whole number of tokens for the sources`,
    );
  }
  const wrong = sources.find(({ share }) => !(share > 0 && Number.isFinite(share)));
  if (wrong) {
    throw new DatasetError(`sources: ${wrong.name} has share ${wrong.share}, expected a number above 0`);
  }
}

/**
 * The documents of all sources in one stream, each in proportion to its share by estimated tokens, so that any part of
 * the stream has the mix of the whole. A source with a budget starts over at its end, until `isSpent`.
 *
 * @param start positions to continue from
 * @param isSpent may report late: the order of all other batches does not depend on it
 * @param folder for remote files while they are read
 * @throws DatasetError for a source without any kept document
 */
export async function* mixSources(
  sources: readonly OpenSource[],
  start: readonly ReadPosition[],
  keeps: Filter | undefined,
  isSpent: (source: number) => boolean,
  read: Omit<ReadFileOptions, keyof DocumentSettings>,
  folder: string,
): AsyncGenerator<TextBatch> {
  const streams = sources.map((_, index) => readSource(sources, index, start[index], keeps, read, folder));
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

/** Number of error messages of bad records that are kept. */
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
  folder: string,
): AsyncGenerator<SourceBatch, undefined> {
  const { name, files, format, textField, separator, budget } = sources[source];
  const passes = budget === Number.POSITIVE_INFINITY ? 1 : Number.POSITIVE_INFINITY;
  let { pass, file, number, canKeep, empty, keptTokens } = start;
  // The part of the current file that is read again without being reported.
  let known = start;
  let [inFile, badRecords, bytes] = [0, 0, 0];
  let documents: { characters: number; text?: string }[] = [];
  let characters = 0;
  let bad = { count: 0, first: [] as string[] };
  const batch = (): SourceBatch => {
    const inPass = { pass, file, documents: inFile, badRecords, bytes };
    const taken = { pass, documents, bad, position: { ...inPass, number, canKeep, empty, keptTokens } };
    [documents, characters, bad] = [[], 0, { count: 0, first: [] }];
    return taken;
  };
  const listeners: typeof read = {
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
    for await (const atHand of filesAtHand(files.slice(file), folder)) {
      for await (const group of readFileDocuments(atHand, { ...listeners, format, textField, separator })) {
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
          'add longer documents, keep more of the short ones, or remove the source',
      );
    }
    [file, number, canKeep] = [0, 0, false];
  }
  return undefined;
}
