import { rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { makeDirectory } from '@meap/safetensors';
import { openTokenDataset } from './dataset.ts';
import type { EncodeSettings } from './encode.ts';
import { type Encoder, inProcessEncoder, multiProcessEncoder } from './encoder.ts';
import { type BadRecordError, DatasetError, rethrow } from './errors.ts';
import type { SourceFile } from './files.ts';
import {
  assertUnchanged,
  type FileDescription,
  type FingerprintSettings,
  fingerprintOf,
  sourceRecords,
} from './fingerprint.ts';
import type { FileFormat } from './formats.ts';
import type { LengthUpsampling } from './length-upsampling.ts';
import { type Manifest, readManifest, type ShardRecord, syncDirectory, writeManifest } from './manifest.ts';
import { MixLedger, type SourceStatistics } from './mix-ledger.ts';
import {
  closeTemporary,
  openTemporary,
  putInPlace,
  removeOtherDatasets,
  removeStale,
} from './output-folder.ts';
import { type PrepareProgress, progressReporter, type Report } from './progress.ts';
import { guard, requireIntact } from './shard.ts';
import { ShardSink } from './shard-sink.ts';
import {
  type ChosenTexts,
  chooseTexts,
  mixSources,
  type TextBatch,
  type TextSource,
} from './text-sources.ts';
import type { Tokenizer } from './tokenizer.ts';

/** Options of {@link prepareTokens}. */
export interface PrepareTokensOptions {
  /** Paths and globs; see `readDocuments`. In place of `sources`. */
  files?: string | readonly string[];
  /** Several sources, mixed in proportion to their shares until `tokenBudget` is spent. In place of `files`. */
  sources?: readonly TextSource[];
  /**
   * Tokens of the mix. A source stops when its share of them is spent, which cuts its last document, and starts over
   * where it has fewer. Only with `sources`.
   */
  tokenBudget?: number;
  /** Keeps long documents and few short ones; by default all are kept. */
  lengthUpsampling?: LengthUpsampling;
  /** Key of which short documents are kept. Default 0. */
  seed?: number;
  tokenizer: Tokenizer;
  /** Folder for the result; it holds one dataset, and another one there is replaced once this one is complete. */
  outputDirectory: string;
  /** What the files hold, where content and name do not tell. Default `auto`. */
  format?: FileFormat | 'auto';
  /** Field of a record. Default `text`. */
  textField?: string;
  /** String between the documents of a text file; without it a file is one document. */
  separator?: string;
  /** BOS in front of every document. Default true. */
  addBos?: boolean;
  /** EOS after every document. Default true. */
  addEos?: boolean;
  /**
   * Tokenising processes; 0 tokenises in this one, on the threads of the library.
   * The result is the same. Default: 0 below 64 MiB of files or 4 cores, else one per core, 16 at most.
   */
  workers?: number;
  /** Hears of other names of a file that is read already: links, overlapping patterns. */
  onRepeatedFile?: (path: string) => void;
  /** What to do with a record that cannot be read. Default `error`. */
  onBadRecord?: 'error' | 'skip';
  /** A shard is closed by the document that reaches this count. Default 2^29. */
  maxTokensPerShard?: number;
  /** Called as work goes on, some times a second. */
  onProgress?: (progress: PrepareProgress) => void;
  /** Stops the preparation, which rejects with the signal's reason and leaves nothing behind. */
  signal?: AbortSignal;
}

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
  /** Why a dataset that was there was made again: the file that is damaged and how. */
  readonly replaced?: string;
  /** The files of the text, as they were read. */
  readonly sources: readonly FileDescription[];
  /** What became of each source; absent where all documents of `files` were taken. */
  readonly mix?: readonly SourceStatistics[];
}

const formatVersion = 1;
const maxRemembered = 10;
/** Below this, starting processes takes longer than they save. */
const smallCorpusBytes = 64 * 1024 * 1024;
/** On two cores the threads of the library are as fast as processes (bench/prepare.js). */
const fewestCores = 4;
/** Each holds a tokenizer of its own, some 250 MB for Llama 3. */
const maxDefaultWorkers = 16;

/**
 * Tokenises files into shards of one continuous stream `BOS text EOS BOS text EOS …` (MEAP, appendix A.1).
 *
 * The result depends on the contents and order of the files, the tokenizer and the options, not on the number
 * of workers. Where the folder already holds it, by fingerprint and checksums, nothing is done. `manifest.json` is written
 * last, so an interrupted preparation leaves nothing that can be opened; what it leaves is removed by the next.
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
  const known = new Map(earlier?.sources.map((source) => [source.path, source]));
  const sources = await sourceRecords(files, known, (bytes) => {
    signal?.throwIfAborted();
    report('hash', { bytes });
  });
  const fingerprint = fingerprintOf({ ...settings, mix: texts.identity }, files, sources);
  const found = await inspect(directory, fingerprint, signal);
  if (found.whole) return summaryOf(directory, found.whole, true);

  guard(directory, () => makeDirectory(directory));
  removeStale(directory);
  const temporary = openTemporary(directory);
  try {
    const result = await writeShards(options, settings, texts, temporary, report);
    for (const source of sources) assertUnchanged(source);
    syncDirectory(temporary);
    const folder = fingerprint.slice(0, 16);
    const shards = result.shards.map((shard) => ({ ...shard, file: `${folder}/${shard.file}` }));
    // Another process, perhaps another rank of this run, may have made the same dataset in the meantime.
    const present = await inspect(directory, fingerprint, signal);
    if (present.whole) return summaryOf(directory, present.whole, true);
    putInPlace(temporary, join(directory, folder), earlier?.fingerprint === fingerprint);
    const manifest: Manifest = {
      format: 'meap-token-dataset',
      version: formatVersion,
      fingerprint,
      vocabSize: tokenizer.vocabSize,
      bytesPerToken: result.bytesPerToken,
      shards,
      skipped: result.skipped,
      sources,
      ...(texts.identity && { mix: result.mix }),
    };
    writeManifest(directory, folder, manifest);
    removeOtherDatasets(directory, folder);
    return { ...summaryOf(directory, manifest, false), replaced: found.damage };
  } finally {
    closeTemporary(temporary);
  }
}

function resolveSettings(options: PrepareTokensOptions): FingerprintSettings {
  const { tokenizer, addBos = true, addEos = true, maxTokensPerShard = 2 ** 29, workers } = options;
  for (const [wanted, role] of [
    [addBos, 'bos'],
    [addEos, 'eos'],
  ] as const) {
    if (wanted && tokenizer[`${role}TokenId`] === undefined) {
      const [name, option] = [role.toUpperCase(), role === 'bos' ? 'addBos' : 'addEos'];
      throw new DatasetError(
        `prepareTokens: the tokenizer names no ${name} token; give loadTokenizer ${role}Token, or set ${option}: false`,
      );
    }
  }
  if (!Number.isInteger(maxTokensPerShard) || maxTokensPerShard < 1 || maxTokensPerShard > 2 ** 31) {
    throw new DatasetError(`maxTokensPerShard: got ${maxTokensPerShard}, expected an integer from 1 to 2^31`);
  }
  if (workers !== undefined && (!Number.isInteger(workers) || workers < 0)) {
    throw new DatasetError(`workers: got ${workers}, expected 0 or a number of processes`);
  }
  return {
    formatVersion,
    tokenizerSha256: tokenizer.sha256,
    bosTokenId: addBos ? tokenizer.bosTokenId! : null,
    eosTokenId: addEos ? tokenizer.eosTokenId! : null,
    format: options.format ?? 'auto',
    textField: options.textField ?? 'text',
    separator: options.separator ?? null,
    onBadRecord: options.onBadRecord ?? 'error',
    maxTokensPerShard,
  };
}

interface WrittenShards {
  shards: ShardRecord[];
  bytesPerToken: 2 | 4;
  skipped: { count: number; first: string[] };
  mix: readonly SourceStatistics[];
}

async function writeShards(
  options: PrepareTokensOptions,
  settings: FingerprintSettings,
  { sources, keeps }: ChosenTexts,
  folder: string,
  report: Report,
): Promise<WrittenShards> {
  const { tokenizer, signal } = options;
  const bytesPerToken = tokenizer.vocabSize <= 0x10000 ? 2 : 4;
  const skipped: WrittenShards['skipped'] = { count: 0, first: [] };
  let bytesRead = 0;
  let bytesReported = 0;
  let skippedReported = 0;
  const files = sources.flatMap((source) => source.files);
  const ledger = new MixLedger(sources);
  const read = {
    onBadRecord: (error: BadRecordError) => {
      if (settings.onBadRecord === 'error') rethrow(error);
      skipped.count++;
      if (skipped.first.length < maxRemembered) skipped.first.push(error.message);
    },
    onBytes: (numBytes: number) => {
      bytesRead += numBytes;
    },
  };
  const encoder = openEncoder(options, settings, bytesPerToken, files, folder);
  const sink = new ShardSink(folder, bytesPerToken, settings.maxTokensPerShard);
  // Batches are encoded at once but written in the order they were read, whichever is done first.
  const pending: Promise<void>[] = [];
  let written: Promise<void> = Promise.resolve();
  const submit = (batch: TextBatch) => {
    const texts = batch.documents.flatMap(({ text }) => text ?? []);
    const encoded = encoder.encode(texts);
    const previous = written;
    written = (async () => {
      const [{ tokens, lengths }] = await Promise.all([encoded, previous]);
      const taken = ledger.enter(batch, lengths);
      sink.append(texts, { tokens, lengths }, taken);
      report('tokenize', {
        bytes: bytesRead - bytesReported,
        documents: taken.length,
        tokens: taken.reduce((sum, length) => sum + length, 0),
        skipped: skipped.count - skippedReported,
      });
      [bytesReported, skippedReported] = [bytesRead, skipped.count];
    })();
    // A failure is met when its turn to be awaited comes; until then it must not count as unheard.
    written.catch(() => {});
    pending.push(written);
  };
  try {
    for await (const batch of mixSources(sources, keeps, (source) => ledger.isSpent(source), read)) {
      signal?.throwIfAborted();
      if (pending.length >= encoder.depth) await pending.shift();
      submit(batch);
    }
    await Promise.all(pending);
    signal?.throwIfAborted();
    const shards = sink.finish();
    if (shards.every((shard) => shard.numTokens === 0)) {
      const but = skipped.count > 0 ? ` (${skipped.count} bad records were skipped)` : '';
      throw new DatasetError(`empty corpus: no tokens in ${files.length} file(s)${but}`);
    }
    return { shards, bytesPerToken, skipped, mix: ledger.statistics() };
  } finally {
    await Promise.allSettled(pending);
    sink.close();
    await encoder.close();
  }
}

function openEncoder(
  options: PrepareTokensOptions,
  settings: FingerprintSettings,
  bytesPerToken: 2 | 4,
  files: readonly SourceFile[],
  folder: string,
): Encoder {
  const encode: EncodeSettings = {
    bosTokenId: settings.bosTokenId ?? undefined,
    eosTokenId: settings.eosTokenId ?? undefined,
    bytesPerToken,
  };
  const size = files.reduce((sum, file) => sum + file.size, 0);
  const cores = availableParallelism();
  const worthwhile = size >= smallCorpusBytes && cores >= fewestCores;
  const workers = options.workers ?? (worthwhile ? Math.min(cores, maxDefaultWorkers) : 0);
  if (workers === 0) return inProcessEncoder(options.tokenizer.json, encode);
  const tokenizerPath = join(folder, 'tokenizer.json');
  guard(tokenizerPath, () => writeFileSync(tokenizerPath, options.tokenizer.json));
  const encoder = multiProcessEncoder(tokenizerPath, encode, workers);
  return {
    ...encoder,
    close: async () => {
      await encoder.close();
      rmSync(tokenizerPath, { force: true });
    },
  };
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
