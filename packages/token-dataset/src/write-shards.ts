/** Reads, encodes and writes selected texts concurrently, and saves its progress every few seconds. */
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { guard } from './append-file.ts';
import type { SkippedRecords } from './data-record.ts';
import { DuplicateCounter } from './duplicate-counter.ts';
import type { EncodedBatch, EncodeSettings } from './encode.ts';
import { type Encoder, inProcessEncoder, multiProcessEncoder } from './encoder.ts';
import { type BadRecordError, counted, DatasetError, rethrow } from './errors.ts';
import type { SourceFile } from './files.ts';
import type { FingerprintSettings } from './fingerprint.ts';
import { type Journal, type WritingMark, writeJournal } from './journal.ts';
import type { DocumentCounts, ShardRecord } from './manifest.ts';
import { MixLedger, type SourceStatistics } from './mix-ledger.ts';
import type { WorkingFolder } from './output-folder.ts';
import type { PrepareTokensOptions } from './prepare-options.ts';
import type { Report } from './progress.ts';
import { ShardSink } from './shard-sink.ts';
import {
  FIRST_BAD,
  mixSources,
  type OpenSource,
  type SelectedTexts,
  START,
  type TextBatch,
} from './text-sources.ts';

/** Below this size, starting processes takes longer than they save. */
const smallCorpusBytes = 64 * 1024 * 1024;
/** On two cores the threads of the library are as fast as processes (bench/prepare.js). */
const fewestCores = 4;
/** Each worker has its own tokenizer, some 250 MB for Llama 3. */
const maxDefaultWorkers = 16;
/** Time between marks: the most that a kill loses, and long enough that syncing does not slow down the rest. */
const MARK_MS = 5000;

/** The input of {@link writeShards}. */
export interface WritingTask {
  readonly settings: FingerprintSettings;
  readonly texts: SelectedTexts;
  readonly report: Report;
  readonly journal: Pick<Journal, 'settings' | 'sources'>;
}

/** The result of {@link writeShards}. */
export interface WrittenShards {
  readonly shards: ShardRecord[];
  readonly bytesPerToken: 2 | 4;
  readonly skipped: SkippedRecords;
  readonly documents: DocumentCounts;
  readonly mix: readonly SourceStatistics[];
}

/**
 * Writes shards into a working folder, from the start or from a mark.
 *
 * @throws DatasetError, BadRecordError as `prepareTokens`, after saving a mark of the documents written so far
 */
export async function writeShards(
  options: PrepareTokensOptions,
  { settings, texts, report, journal }: WritingTask,
  work: WorkingFolder,
  left: WritingMark | undefined,
): Promise<WrittenShards> {
  const { tokenizer, signal } = options;
  const { sources, keeps } = texts;
  const bytesPerToken = tokenizer.vocabSize <= 0x10000 ? 2 : 4;
  const files = sources.flatMap((source) => source.files);
  const open = await openFiles(work.path, bytesPerToken, settings.maxTokensPerShard, left, options.onNotice);
  if (!open.mark && files.some(({ remote }) => remote)) {
    // With a journal the folder is kept, and so is what is received before the first mark.
    writeJournal(work.path, { format: 'meap-token-preparation', version: 1, ...journal });
  }
  const stream = new DocumentStream(sources, open);
  const { bytesRead: bytesBefore, numDocuments, numTokens, skipped } = stream.counts;
  report('tokenize', {
    bytes: bytesBefore,
    documents: numDocuments,
    tokens: numTokens,
    skipped: skipped.count,
  });
  let lastSave = performance.now();
  const save = () => {
    writeJournal(work.path, {
      format: 'meap-token-preparation',
      version: 1,
      ...journal,
      writing: stream.mark(),
    });
    open.sink.tidy();
    lastSave = performance.now();
  };

  const fetched = join(work.path, FETCHED);
  const encoder = openEncoder(options, settings, bytesPerToken, files, work.path);
  let bytesRead = bytesBefore;
  // Batches are encoded concurrently but written in the order they were read.
  const pending: Promise<void>[] = [];
  let written: Promise<void> = Promise.resolve();
  const submit = (batch: TextBatch) => {
    const documents = batch.documents.flatMap(({ text }) => text ?? []);
    const encoded = encoder.encode(documents);
    const [previous, bytes] = [written, bytesRead];
    written = (async () => {
      const [tokens] = await Promise.all([encoded, previous]);
      const { numShards } = open.sink;
      report('tokenize', stream.write(batch, documents, tokens, bytes));
      work.beat();
      if (open.sink.numShards > numShards || performance.now() - lastSave > MARK_MS) save();
    })();
    // A failure is handled when the promise is awaited; until then it must not count as an unhandled rejection.
    written.catch(() => {});
    pending.push(written);
  };
  const reading = {
    onBadRecord: (error: BadRecordError) => {
      if (settings.onBadRecord === 'error') rethrow(error);
    },
    onBytes: (numBytes: number) => {
      bytesRead += numBytes;
    },
  };
  let isComplete = false;
  try {
    const isSpent = (source: number) => stream.ledger.isSpent(source);
    const { positions } = stream.counts;
    for await (const batch of mixSources(sources, positions, keeps, isSpent, reading, fetched)) {
      signal?.throwIfAborted();
      if (pending.length >= encoder.depth) await pending.shift();
      submit(batch);
    }
    await Promise.all(pending);
    signal?.throwIfAborted();
    isComplete = true;
    const shards = open.sink.finish();
    const { counts, documents } = stream;
    if (counts.numTokens === 0) throw emptyCorpus(files.length, counts.skipped.count, documents.empty);
    return { shards, bytesPerToken, skipped: counts.skipped, documents, mix: stream.ledger.statistics() };
  } finally {
    await Promise.allSettled(pending);
    try {
      if (!isComplete && stream.isWhole && stream.counts.numDocuments > 0) save();
    } catch {
      // On a full disk, for example: the previous mark stays, and the first failure is the one to report.
    }
    open.sink.close();
    open.duplicates.close();
    await encoder.close();
  }
}

interface OpenFiles {
  readonly sink: ShardSink;
  readonly duplicates: DuplicateCounter;
  /** Their state; undefined at the start. */
  readonly mark: WritingMark | undefined;
}

/** The documents written so far, with all counts. */
class DocumentStream {
  readonly ledger: MixLedger;
  /** Whether a mark can be taken: not while a batch has been counted or written in part. */
  isWhole = true;
  readonly #files: OpenFiles;
  #counts: Omit<WritingMark, 'ledger' | 'duplicates' | 'sink'>;

  constructor(sources: readonly OpenSource[], files: OpenFiles) {
    this.#files = files;
    this.ledger = new MixLedger(sources, files.mark?.ledger);
    this.#counts = files.mark ?? {
      positions: sources.map(() => START),
      skipped: { count: 0, first: [] },
      bytesRead: 0,
      numDocuments: 0,
      numTokens: 0,
      spellings: { documents: 0, occurrences: 0 },
    };
  }

  get counts(): Omit<WritingMark, 'ledger' | 'duplicates' | 'sink'> {
    return this.#counts;
  }

  get documents(): DocumentCounts {
    const { positions, spellings } = this.#counts;
    const empty = positions.reduce((sum, position) => sum + position.empty, 0);
    return { empty, duplicates: this.#files.duplicates.result, spellings };
  }

  /**
   * Writes the documents of a batch that the budget allows.
   *
   * @param bytesRead bytes read of all files, including the batch
   * @returns the progress it makes
   */
  write(batch: TextBatch, texts: readonly string[], encoded: EncodedBatch, bytesRead: number) {
    const { source, bad, pass } = batch;
    const before = this.#counts;
    const bytes = bytesRead - before.bytesRead;
    // The number of batches of a source after its budget is spent depends on timing: nothing may depend on them.
    if (this.ledger.isSpent(source)) {
      this.#counts = { ...before, bytesRead };
      return { bytes };
    }
    this.isWhole = false;
    const taken = this.ledger.enter(batch, encoded.lengths);
    this.#files.sink.append(texts, encoded, taken);
    let { documents, occurrences } = before.spellings;
    for (const i of taken.keys()) {
      // Further passes repeat the documents of the first.
      if (pass === 0) this.#files.duplicates.add(texts[i]);
      if (encoded.spellings[i] > 0) documents++;
      occurrences += encoded.spellings[i];
    }
    const tokens = taken.reduce((sum, length) => sum + length, 0);
    const { count, first } = before.skipped;
    this.#counts = {
      positions: before.positions.map((was, i) => (i === source ? batch.positions[i] : was)),
      skipped: { count: count + bad.count, first: [...first, ...bad.first].slice(0, FIRST_BAD) },
      bytesRead,
      numDocuments: before.numDocuments + taken.length,
      numTokens: before.numTokens + tokens,
      spellings: { documents, occurrences },
    };
    this.isWhole = true;
    return { bytes, documents: taken.length, tokens, skipped: bad.count };
  }

  /** Syncs all documents to disk and returns the mark. */
  mark(): WritingMark {
    const { sink, duplicates } = this.#files;
    return {
      ...this.#counts,
      ledger: this.ledger.mark(),
      duplicates: duplicates.mark(),
      sink: sink.mark(),
    };
  }
}

/** Removes the files that only an unfinished preparation needs. */
export function clearWork(folder: string): void {
  for (const name of [SEEN, 'progress.json', 'progress.json.new', 'tokenizer.json'])
    rmSync(join(folder, name), { force: true });
  removeFetched(folder);
}

/** Removes the remote files, and parts of them, that a preparation left in its folder. */
export function removeFetched(folder: string): void {
  rmSync(join(folder, FETCHED), { recursive: true, force: true });
}

const SEEN = 'seen.bin';
/** The folder of remote files while they are read. */
const FETCHED = 'fetched';

/** The files of a mark, truncated to it; new ones if there is no mark or its files are damaged. */
async function openFiles(
  folder: string,
  bytesPerToken: 2 | 4,
  maxTokens: number,
  mark: WritingMark | undefined,
  onNotice: ((message: string) => void) | undefined,
): Promise<OpenFiles> {
  const seen = join(folder, SEEN);
  const sink = new ShardSink(folder, bytesPerToken, maxTokens);
  if (mark) {
    let duplicates: DuplicateCounter | undefined;
    try {
      duplicates = await DuplicateCounter.reopen(seen, mark.duplicates);
      await sink.restore(mark.sink);
      const from = `${counted(mark.numTokens, 'token')} of ${counted(mark.numDocuments, 'document')}`;
      onNotice?.(`continuing an interrupted preparation after ${from}`);
      return { sink, duplicates, mark };
    } catch (error) {
      if (!(error instanceof DatasetError)) throw error;
      duplicates?.close();
      sink.close();
      onNotice?.(`an interrupted preparation cannot be continued, ${error.message}: starting over`);
    }
  }
  for (const name of readdirSync(folder)) if (name !== FETCHED) rmSync(join(folder, name));
  const fresh = new ShardSink(folder, bytesPerToken, maxTokens);
  return { sink: fresh, duplicates: DuplicateCounter.create(seen), mark: undefined };
}

function emptyCorpus(numFiles: number, skipped: number, empty: number): DatasetError {
  const left = [
    ...(skipped > 0 ? [`${counted(skipped, 'bad record')} skipped`] : []),
    ...(empty > 0 ? [`${counted(empty, 'document')} of white space`] : []),
  ];
  const but = left.length > 0 ? ` (${left.join(', ')})` : '';
  return new DatasetError(`empty corpus: no tokens in ${counted(numFiles, 'file')}${but}`);
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
    parseSpecialTokens: settings.parseSpecialTokens,
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
