import { join } from 'node:path';
import { makeDirectory, syncDirectory } from '@meap/files';
import { guard } from './append-file.ts';
import { openTokenDataset } from './dataset.ts';
import { DatasetError } from './errors.ts';
import type { SourceFile } from './files.ts';
import {
  assertUnchanged,
  type FileDescription,
  type FingerprintSettings,
  fingerprintOf,
  sourceRecords,
} from './fingerprint.ts';
import { readJournal, whyNotContinued, writeJournal } from './journal.ts';
import {
  type DocumentCounts,
  type Manifest,
  readManifest,
  type SourceRecord,
  writeManifest,
} from './manifest.ts';
import type { SourceStatistics } from './mix-ledger.ts';
import {
  closeTemporary,
  openTemporary,
  putInPlace,
  removeOtherDatasets,
  removeStale,
  type WorkingFolder,
} from './output-folder.ts';
import { FORMAT_VERSION, type PrepareTokensOptions, resolveSettings } from './prepare-options.ts';
import { progressReporter, type Report } from './progress.ts';
import { requireIntact } from './shard.ts';
import { chooseTexts } from './text-sources.ts';
import { clearWork, writeShards } from './write-shards.ts';

/** What {@link prepareTokens} made or found. */
export interface PreparedTokens {
  readonly directory: string;
  /** Whether the folder already held this very dataset. */
  readonly reused: boolean;
  readonly fingerprint: string;
  readonly numDocuments: number;
  readonly numTokens: number;
  /** UTF-8 bytes of the text, without BOS and EOS. */
  readonly numBytes: number;
  /** Records passed over with `onBadRecord: 'skip'`, and the messages of the first few. */
  readonly skipped: { readonly count: number; readonly first: readonly string[] };
  /** What was noticed of the documents. */
  readonly documents: DocumentCounts;
  /** Why a dataset that was there was made again: the file that is damaged and how. */
  readonly replaced?: string;
  /** The files of the text, as they were read. */
  readonly sources: readonly FileDescription[];
  /** What became of each source; absent where all documents of `files` were taken. */
  readonly mix?: readonly SourceStatistics[];
}

/** Files of so many bytes take seconds to read, which is worth writing down. */
const WORTH_KEEPING_BYTES = 256 * 1024 * 1024;

/**
 * Tokenises files into shards of one continuous stream `BOS text EOS BOS text EOS …` (MEAP, appendix A.1).
 *
 * The result depends on the contents and order of the files, the tokenizer and the options, not on the number
 * of workers. Where the folder already holds it, by fingerprint and checksums, nothing is done. `manifest.json` is written
 * last, so an interrupted preparation leaves nothing that can be opened. What it leaves, a place every few seconds, is
 * where the next one goes on, to the same bytes: after a kill, an error or a full disk, also with more files behind
 * those that had been read. With other settings or contents it starts over.
 *
 * @throws DatasetError for unreadable files, an empty corpus, a full disk; BadRecordError for a bad record.
 */
export async function prepareTokens(options: PrepareTokensOptions): Promise<PreparedTokens> {
  const { outputDirectory: directory, tokenizer, signal } = options;
  const settings = resolveSettings(options);
  const { format, textField, separator } = settings;
  const texts = await chooseTexts(options, { format, textField, separator: separator ?? undefined });
  const files = texts.sources.flatMap((source) => source.files);
  const report = progressReporter(files, options.onProgress);

  const earlier = manifestIfAny(directory);
  // Without a dataset there will be work: the folder for it is opened at once, and remembers checksums too.
  let work = earlier ? undefined : openFolder(directory);
  let isDone = false;
  try {
    const known = [...(work?.journal?.sources ?? []), ...(earlier?.sources ?? [])];
    const complete = { ...settings, mix: texts.identity };
    const sources = await checksums(files, known, work, complete, report, signal);
    const fingerprint = fingerprintOf(complete, files, sources);
    options.onFound?.({ fingerprint, sources });
    const found = await inspect(directory, fingerprint, signal);
    if (found.whole) return summaryOf(directory, found.whole, true);

    work ??= openFolder(directory);
    removeStale(directory);
    const { journal, path: temporary } = work;
    const left = journal?.writing;
    const why = left && whyNotContinued(journal!, left, complete, files, sources);
    if (why) options.onNotice?.(startOver(why));
    const task = { settings, texts, report, journal: { settings: complete, sources } };
    const result = await writeShards(options, task, work, why ? undefined : left);
    for (const source of sources) assertUnchanged(source);
    clearWork(temporary);
    syncDirectory(temporary);
    const folder = fingerprint.slice(0, 16);
    const shards = result.shards.map((shard) => ({ ...shard, file: `${folder}/${shard.file}` }));
    // Another process, perhaps another rank of this run, may have made the same dataset in the meantime.
    const present = await inspect(directory, fingerprint, signal);
    isDone = true;
    if (present.whole) return summaryOf(directory, present.whole, true);
    putInPlace(temporary, join(directory, folder), earlier?.fingerprint === fingerprint);
    const manifest: Manifest = {
      format: 'meap-token-dataset',
      version: FORMAT_VERSION,
      fingerprint,
      vocabSize: tokenizer.vocabSize,
      bytesPerToken: result.bytesPerToken,
      shards,
      skipped: result.skipped,
      sources,
      documents: result.documents,
      ...(texts.identity && { mix: result.mix }),
    };
    writeManifest(directory, folder, manifest);
    removeOtherDatasets(directory, folder);
    return { ...summaryOf(directory, manifest, false), replaced: found.damage };
  } finally {
    if (work) closeTemporary(work.path, { keep: !isDone && readJournal(work.path) !== undefined });
  }
}

function openFolder(directory: string): WorkingFolder {
  guard(directory, () => makeDirectory(directory));
  return openTemporary(directory);
}

/** Checksums of all files; a working folder keeps those of large ones, whose reading takes long. */
function checksums(
  files: readonly SourceFile[],
  known: readonly SourceRecord[],
  work: WorkingFolder | undefined,
  settings: FingerprintSettings,
  report: Report,
  signal: AbortSignal | undefined,
): Promise<SourceRecord[]> {
  let unsaved = 0;
  return sourceRecords(files, new Map(known.map((source) => [source.path, source])), {
    onBytes: (bytes) => {
      signal?.throwIfAborted();
      work?.beat();
      report('hash', { bytes });
    },
    onRecord: (sources) => {
      unsaved += sources.at(-1)!.size;
      if (!work || work.journal || unsaved < WORTH_KEEPING_BYTES) return;
      writeJournal(work.path, { format: 'meap-token-preparation', version: 1, settings, sources });
      unsaved = 0;
    },
  });
}

function startOver(why: string): string {
  return `an interrupted preparation cannot be continued, ${why}: starting over`;
}

function summaryOf(directory: string, manifest: Manifest, reused: boolean): PreparedTokens {
  const sum = (key: 'numDocuments' | 'numTokens' | 'numBytes') =>
    manifest.shards.reduce((total, shard) => total + shard[key], 0);
  return {
    directory,
    reused,
    fingerprint: manifest.fingerprint,
    numDocuments: sum('numDocuments'),
    numTokens: sum('numTokens'),
    numBytes: sum('numBytes'),
    skipped: manifest.skipped,
    documents: manifest.documents!,
    sources: manifest.sources.map(({ path, size, sha256 }) => ({ path, size, sha256 })),
    ...(manifest.mix && { mix: manifest.mix }),
  };
}

function manifestIfAny(directory: string): Manifest | undefined {
  try {
    return readManifest(directory);
  } catch (error) {
    if (error instanceof DatasetError) return undefined;
    throw error;
  }
}

/** Looks for a dataset with this fingerprint, and whether it is what was written. */
async function inspect(
  directory: string,
  fingerprint: string,
  signal?: AbortSignal,
): Promise<{ whole?: Manifest; damage?: string }> {
  const manifest = manifestIfAny(directory);
  if (manifest?.fingerprint !== fingerprint) return {};
  try {
    openTokenDataset(directory).close();
    for (const { file, sha256 } of manifest.shards)
      await requireIntact(join(directory, file), sha256, signal);
    return { whole: manifest };
  } catch (error) {
    // A damaged dataset is made again: its sources are at hand.
    if (error instanceof DatasetError) return { damage: error.message };
    throw error;
  }
}
