import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomic } from '@meap/files';
import { guard } from './append-file.ts';
import type { SkippedRecords } from './data-record.ts';
import type { DuplicateCount } from './duplicate-counter.ts';
import { DatasetError, reasonOf } from './errors.ts';
import type { SourceStatistics } from './mix-ledger.ts';

/** An input file; size and checksum identify its contents. */
export interface FileDescription {
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
}

/** An input file with the times that show cheaply whether it has changed. */
export interface SourceRecord extends FileDescription {
  /** Nanoseconds, as decimal strings because they exceed exact doubles. */
  readonly modified: string;
  readonly changed: string;
}

/** Spellings of special tokens in texts. */
export interface SpellingCount {
  /** Documents with at least one. */
  readonly documents: number;
  readonly occurrences: number;
}

export interface ShardRecord {
  /** Path relative to the manifest. */
  readonly file: string;
  readonly numTokens: number;
  readonly numDocuments: number;
  readonly numBytes: number;
  readonly maxTokenId: number;
  readonly sha256: string;
}

/** Unusual documents of a dataset. */
export interface DocumentCounts {
  /** Skipped because they are only white space. */
  readonly empty: number;
  /** Kept although the same text occurred before; further passes over a source do not count. */
  readonly duplicates: DuplicateCount;
  readonly spellings: SpellingCount;
}

/** The file that makes a folder a dataset; written last. */
export interface Manifest {
  readonly format: 'meap-token-dataset';
  readonly version: 1;
  readonly fingerprint: string;
  readonly vocabSize: number;
  readonly bytesPerToken: 2 | 4;
  readonly shards: readonly ShardRecord[];
  readonly skipped: SkippedRecords;
  readonly sources: readonly SourceRecord[];
  /** Absent from datasets of earlier versions. */
  readonly documents?: DocumentCounts;
  /** Statistics of a mix or a selection of documents. */
  readonly mix?: readonly SourceStatistics[];
}

const manifestName = 'manifest.json';
const shardFilePattern = /^[0-9a-f]{16}\/shard-\d{5}\.bin$/;

/**
 * Reads the manifest of a prepared folder.
 *
 * @throws DatasetError if it is missing or invalid
 */
export function readManifest(directory: string): Manifest {
  const path = join(directory, manifestName);
  if (!existsSync(path)) {
    throw new DatasetError(
      `${directory}: no prepared dataset here (no ${manifestName}); run prepareTokens first`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new DatasetError(`${path}: not JSON (${reasonOf(error)}); prepare the data again`);
  }
  const problem = problemOf(value as Manifest);
  if (problem) throw new DatasetError(`${path}: ${problem}; prepare the data again`);
  return value as Manifest;
}

function problemOf(manifest: Manifest | null): string | undefined {
  if (manifest?.format !== 'meap-token-dataset') return 'not the manifest of a token dataset';
  if (manifest.version !== 1) return `version ${JSON.stringify(manifest.version)}, expected 1`;
  const { fingerprint } = manifest;
  if (typeof fingerprint !== 'string' || !/^[0-9a-f]{64}$/.test(fingerprint))
    return 'its fingerprint is not a SHA-256';
  if (!isCount(manifest.vocabSize)) return 'its vocabSize is not a count';
  if (manifest.bytesPerToken !== 2 && manifest.bytesPerToken !== 4) return 'its bytesPerToken is not 2 or 4';
  if (!Array.isArray(manifest.shards) || manifest.shards.length === 0) return 'it lists no shards';
  for (const shard of manifest.shards as Partial<ShardRecord>[]) {
    const counts = [shard?.numTokens, shard?.numDocuments, shard?.numBytes, shard?.maxTokenId];
    const named = typeof shard?.file === 'string' && shardFilePattern.test(shard.file);
    if (!named || !counts.every(isCount) || typeof shard.sha256 !== 'string')
      return 'a shard entry is damaged';
  }
  if (!isCount(manifest.skipped?.count) || !Array.isArray(manifest.skipped.first))
    return 'skipped is damaged';
  return Array.isArray(manifest.sources) ? undefined : 'sources is damaged';
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/**
 * Replaces the manifest atomically: readers see the old one or the new one.
 *
 * @param folder folder of the shards; an incomplete temporary file is removed with it
 */
export function writeManifest(directory: string, folder: string, manifest: Manifest): void {
  const path = join(directory, manifestName);
  const temporary = join(directory, folder, `${manifestName}.${randomBytes(6).toString('hex')}`);
  const content = `${JSON.stringify(manifest, null, 1)}\n`;
  guard(path, () => writeFileAtomic(path, content, { durable: true, temporary }));
}
