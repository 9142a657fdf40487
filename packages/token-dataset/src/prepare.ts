import { join } from 'node:path';
import { makeDirectory, syncDirectory } from '@meap/files';
import { guard } from './append-file.ts';
import type { SkippedRecords } from './data-record.ts';
import { openTokenDataset } from './dataset.ts';
import { DatasetError } from './errors.ts';
import type { SourceFile } from './files.ts';
import {
  assertUnchanged,
  descriptionOf,
  type FingerprintSettings,
  fingerprintOf,
  sourceRecords,
} from './fingerprint.ts';
import { readJournal, whyNotContinued, writeJournal } from './journal.ts';
import {
  type DocumentCounts,
  type FileDescription,
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
import { selectTexts } from './text-sources.ts';
import { clearWork, removeFetched, writeShards } from './write-shards.ts';

/** The result of {@link prepareTokens}. */
export interface PreparedTokens {
  readonly directory: string;
  /** Whether the folder already held this dataset. */
  readonly reused: boolean;
  readonly fingerprint: string;
  readonly numDocuments: number;
  readonly numTokens: number;
  /** UTF-8 bytes of the text, without BOS and EOS. */
  readonly numBytes: number;
  readonly skipped: SkippedRecords;
  readonly documents: DocumentCounts;
  /** Why an existing dataset was rebuilt: the damaged file and the damage. */
  readonly replaced?: string;
  /** The input files, as they were read. */
  readonly sources: readonly FileDescription[];
  /** Statistics of each source; absent if all documents of `files` were taken. */
  readonly mix?: readonly SourceStatistics[];
}

/** Reading this much takes seconds, so its checksums are saved. */
const WORTH_KEEPING_BYTES = 256 * 1024 * 1024;

/**
 * Tokenizes files into shards of one continuous stream `BOS text EOS BOS text EOS …` (MEAP, appendix A.1).
 *
 * The result depends on the contents and order of the files, the tokenizer and the options, not on the number of
 * workers. If the folder already holds it, by fingerprint and checksums, nothing is done. `manifest.json` is written
 * last, so that an interrupted preparation leaves nothing that can be opened. It saves its progress every few seconds;
 * after a kill, an error or a full disk the next preparation continues from there and writes the same bytes, even if
 * files were added after those already read. With other settings or contents it starts over.
 *
 * Remote files are fetched one by one, one ahead of the text that is read, and deleted after it: at most two of each
 * source are on the disk. Their checksums are known, so that an existing dataset needs none of them.
 *
 * @throws DatasetError for unreadable files, an empty corpus, a full disk; BadRecordError for a bad record.
 */
export async function prepareTokens(options: PrepareTokensOptions): Promise<PreparedTokens> {
  const { outputDirectory: directory, tokenizer, signal } = options;
  const settings = resolveSettings(options);
  const { format, textField, separator } = settings;
  const texts = await selectTexts(options, { format, textField, separator: separator ?? undefined });
  const files = texts.sources.flatMap((source) => source.files);
  const report = progressReporter(files, options.onProgress);

  const earlier = manifestIfAny(directory);
  // Without an existing dataset the working folder is opened now, to save checksums as well.
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
    if (why) {
      options.onNotice?.(`an interrupted preparation cannot be continued, ${why}: starting over`);
    }
    if (why) removeFetched(temporary);
    const task = { settings, texts, report, journal: { settings: complete, sources } };
    const result = await writeShards(options, task, work, why ? undefined : left);
    for (const source of sources) assertUnchanged(source);
    clearWork(temporary);
    syncDirectory(temporary);
    const folder = fingerprint.slice(0, 16);
    const shards = result.shards.map((shard) => ({ ...shard, file: `${folder}/${shard.file}` }));
    // Another process, such as another rank of this run, may have written the same dataset meanwhile.
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

/** Checksums of all files; those of large files are saved in the working folder. */
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
    sources: manifest.sources.map(descriptionOf),
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

/** Looks for a dataset with this fingerprint and verifies it. */
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
    // A damaged dataset is rebuilt from its sources.
    if (error instanceof DatasetError) return { damage: error.message };
    throw error;
  }
}
