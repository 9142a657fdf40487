import { createHash } from 'node:crypto';
import { createReadStream, statSync } from 'node:fs';
import { DatasetError, reasonOf } from './errors.ts';
import { resolveFiles, type SourceFile } from './files.ts';
import type { FileFormat } from './formats.ts';
import type { FileDescription, SourceRecord } from './manifest.ts';
import { AHEAD, contentOfSmall } from './read-ahead.ts';

/** Everything the token stream and its layout depend on, apart from the contents of the files. */
export interface FingerprintSettings {
  readonly formatVersion: number;
  readonly tokenizerSha256: string;
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
  readonly format: FileFormat | 'auto';
  readonly textField: string;
  readonly separator: string | null;
  readonly onBadRecord: string;
  readonly parseSpecialTokens: boolean;
  readonly maxTokensPerShard: number;
  /** Set for several sources or a selection of documents. */
  readonly mix?: unknown;
}

/**
 * SHA-256 over the settings and, in order, the contents of each file and the format that its name suggests. Names do
 * not matter otherwise.
 */
export function fingerprintOf(
  settings: FingerprintSettings,
  files: readonly SourceFile[],
  sources: readonly SourceRecord[],
): string {
  const contents = files.map((file, i) => [file.named ?? null, sources[i].sha256]);
  return createHash('sha256')
    .update(JSON.stringify([settings, contents]))
    .digest('hex');
}

/**
 * Computes the checksums of files, several at a time.
 *
 * @param known records of an earlier run: a file with the same size and times is not read again.
 * @param listeners `onBytes` is called with the number of bytes read, `onRecord` with all records after each new one
 */
export async function sourceRecords(
  files: readonly SourceFile[],
  known: ReadonlyMap<string, SourceRecord>,
  listeners: { onBytes?(numBytes: number): void; onRecord?(records: readonly SourceRecord[]): void } = {},
): Promise<SourceRecord[]> {
  const { onBytes = () => {}, onRecord } = listeners;
  const records: SourceRecord[] = [];
  const pending: Promise<SourceRecord>[] = [];
  for (const file of files) {
    const record = sourceRecord(file, known, onBytes);
    // Awaited in order, so that the first of several failures is reported.
    record.catch(() => {});
    pending.push(record);
    if (pending.length < AHEAD) continue;
    records.push(await pending.shift()!);
    onRecord?.(records);
  }
  return records.concat(await Promise.all(pending));
}

/** In place of the times of a file that is elsewhere, whose content is that of its checksum. */
const REMOTE = '';

async function sourceRecord(
  file: SourceFile,
  known: ReadonlyMap<string, SourceRecord>,
  onBytes: (numBytes: number) => void,
): Promise<SourceRecord> {
  if (file.remote) {
    onBytes(file.size);
    const { path, size, sha256 } = file.remote;
    return { path, size, modified: REMOTE, changed: REMOTE, sha256 };
  }
  const stamp = stampOf(file.path);
  const earlier = known.get(file.path);
  if (earlier && isSame(earlier, stamp)) {
    onBytes(file.size);
    return { ...stamp, sha256: earlier.sha256 };
  }
  const hash = createHash('sha256');
  try {
    const content = contentOfSmall(file);
    const chunks = content ? [content] : createReadStream(file.path, { highWaterMark: 1024 * 1024 });
    for await (const chunk of chunks) {
      hash.update(chunk);
      onBytes(chunk.length);
    }
  } catch (error) {
    // Errors thrown by onBytes, such as an abort, are not about the file.
    if (typeof (error as NodeJS.ErrnoException).code !== 'string') throw error;
    throw new DatasetError(`${file.path} cannot be read: ${reasonOf(error)}`);
  }
  return { ...stamp, sha256: hash.digest('hex') };
}

/**
 * Paths, sizes and checksums of the files of a list of paths and globs, in order.
 *
 * @throws DatasetError as {@link readRecords}
 */
export async function describeFiles(files: string | readonly string[]): Promise<FileDescription[]> {
  return (await sourceRecords(await resolveFiles(files), new Map())).map(descriptionOf);
}

/** A record without its times. */
export function descriptionOf({ path, size, sha256 }: SourceRecord): FileDescription {
  return { path, size, sha256 };
}

/** @throws DatasetError if a file has changed since its record was made */
export function assertUnchanged(source: SourceRecord): void {
  if (source.modified !== REMOTE && !isSame(source, stampOf(source.path))) {
    throw new DatasetError(
      `${source.path} changed while it was being read; prepare again when it is complete`,
    );
  }
}

function stampOf(path: string): Omit<SourceRecord, 'sha256'> {
  try {
    const { size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    return { path, size: Number(size), modified: `${mtimeNs}`, changed: `${ctimeNs}` };
  } catch (error) {
    throw new DatasetError(`${path} cannot be read: ${reasonOf(error)}`);
  }
}

function isSame(a: Omit<SourceRecord, 'sha256'>, b: Omit<SourceRecord, 'sha256'>): boolean {
  return a.size === b.size && a.modified === b.modified && a.changed === b.changed;
}
