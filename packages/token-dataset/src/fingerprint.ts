import { createHash } from 'node:crypto';
import { createReadStream, statSync } from 'node:fs';
import { DatasetError, reasonOf } from './errors.ts';
import { resolveFiles, type SourceFile } from './files.ts';
import type { FileFormat } from './formats.ts';
import type { SourceRecord } from './manifest.ts';
import { AHEAD, contentOfSmall } from './read-ahead.ts';

/** Everything besides the contents of the files on which the token stream and its layout depend. */
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
  /** Of several sources or a choice of documents; absent otherwise. */
  readonly mix?: unknown;
}

/**
 * SHA-256 over the settings and, in order, the contents of each file and the format that its name promises, which are
 * what it is read by. Otherwise names do not count.
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
 * The checksums of the contents of files, several read side by side.
 *
 * @param known records of an earlier run: a file with the same size and times is not read again.
 * @param hears of bytes that were read, and of all records so far when there is one more
 */
export async function sourceRecords(
  files: readonly SourceFile[],
  known: ReadonlyMap<string, SourceRecord>,
  hears: { onBytes?(numBytes: number): void; onRecord?(records: readonly SourceRecord[]): void } = {},
): Promise<SourceRecord[]> {
  const { onBytes = () => {}, onRecord } = hears;
  const records: SourceRecord[] = [];
  const pending: Promise<SourceRecord>[] = [];
  for (const file of files) {
    const record = sourceRecord(file, known, onBytes);
    // A failure is met in its turn, so that of several it is the first that is told.
    record.catch(() => {});
    pending.push(record);
    if (pending.length < AHEAD) continue;
    records.push(await pending.shift()!);
    onRecord?.(records);
  }
  return records.concat(await Promise.all(pending));
}

async function sourceRecord(
  file: SourceFile,
  known: ReadonlyMap<string, SourceRecord>,
  onBytes: (numBytes: number) => void,
): Promise<SourceRecord> {
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
    // What onBytes throws, such as an abort, is not about the file.
    if (typeof (error as NodeJS.ErrnoException).code !== 'string') throw error;
    throw new DatasetError(`${file.path} cannot be read: ${reasonOf(error)}`);
  }
  return { ...stamp, sha256: hash.digest('hex') };
}

/** A file of text or records: what tells whether a later run reads the same. */
export interface FileDescription {
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
}

/**
 * Paths, sizes and checksums of the files that a list of paths and globs of records names, in order.
 *
 * @throws DatasetError as {@link readRecords}
 */
export async function describeFiles(files: string | readonly string[]): Promise<FileDescription[]> {
  const records = await sourceRecords(await resolveFiles(files), new Map());
  return records.map(({ path, size, sha256 }) => ({ path, size, sha256 }));
}

/** @throws DatasetError where a file is no longer what its record says. */
export function assertUnchanged(source: SourceRecord): void {
  if (!isSame(source, stampOf(source.path))) {
    throw new DatasetError(
      `${source.path} changed while it was being read; prepare again once it is complete`,
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
