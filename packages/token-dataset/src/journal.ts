/** The state from which another process can continue a preparation: `progress.json` in its working folder. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomic } from '@meap/files';
import { guard } from './append-file.ts';
import type { SkippedRecords } from './data-record.ts';
import type { DuplicateMark } from './duplicate-counter.ts';
import type { SourceFile } from './files.ts';
import type { FingerprintSettings } from './fingerprint.ts';
import { formatOfName } from './formats.ts';
import type { SourceRecord, SpellingCount } from './manifest.ts';
import type { AccountMark } from './mix-ledger.ts';
import type { SinkMark } from './shard-sink.ts';
import type { ReadPosition } from './text-sources.ts';

/** Progress of writing shards; everything it counts has been synced to disk. */
export interface WritingMark {
  readonly positions: readonly ReadPosition[];
  readonly skipped: SkippedRecords;
  readonly bytesRead: number;
  readonly numDocuments: number;
  readonly numTokens: number;
  readonly spellings: SpellingCount;
  readonly ledger: readonly AccountMark[];
  readonly duplicates: DuplicateMark;
  readonly sink: SinkMark;
}

/** The contents of `progress.json`. */
export interface Journal {
  readonly format: 'meap-token-preparation';
  readonly version: 1;
  readonly settings: FingerprintSettings;
  /** Checksums of input files computed so far. */
  readonly sources: readonly SourceRecord[];
  /** Absent while checksums are computed. */
  readonly writing?: WritingMark;
}

const name = 'progress.json';

/** Replaces the journal of a working folder atomically. */
export function writeJournal(folder: string, journal: Journal): void {
  const path = join(folder, name);
  const options = { durable: true, temporary: `${path}.new` };
  guard(path, () => writeFileAtomic(path, JSON.stringify(journal), options));
}

/** Reads the journal of a working folder; undefined if there is no readable one. */
export function readJournal(folder: string): Journal | undefined {
  try {
    const journal = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Journal;
    const isOurs = journal.format === 'meap-token-preparation' && journal.version === 1;
    return isOurs && Array.isArray(journal.sources) ? journal : undefined;
  } catch {
    return undefined;
  }
}

const SETTINGS: Partial<Record<keyof FingerprintSettings, string>> = {
  formatVersion: 'it was started by another version',
  tokenizerSha256: 'the tokenizer has changed',
  bosTokenId: 'the BOS token has changed',
  eosTokenId: 'the EOS token has changed',
  onBadRecord: 'it has skipped bad records',
  mix: 'sources, budget or selection of documents have changed',
};

/**
 * Why a preparation cannot be continued; undefined if it can: its settings and all files already read are unchanged. The
 * order of a mix depends on all files, so there all of them count.
 */
export function whyNotContinued(
  { settings: old, sources: had }: Journal,
  writing: WritingMark,
  settings: FingerprintSettings,
  files: readonly SourceFile[],
  sources: readonly SourceRecord[],
): string | undefined {
  for (const key of Object.keys({ ...old, ...settings }) as (keyof FingerprintSettings)[]) {
    const [was, is] = [JSON.stringify(old[key]), JSON.stringify(settings[key])];
    // The handling of bad records does not matter before the first one.
    if (was === is || (key === 'onBadRecord' && writing.skipped.count === 0)) continue;
    return SETTINGS[key] ?? `${key} is ${is ?? 'not set'}, it was ${was ?? 'not set'}`;
  }
  const isMix = settings.mix !== undefined;
  const numRead = isMix
    ? Math.max(had.length, files.length)
    : Math.min(had.length, writing.positions[0].file + 1);
  for (let i = 0; i < numRead; i++) {
    if (!files[i]) return `${had[i].path} is no longer among the files`;
    if (!had[i]) return `${files[i].path} was not among the files`;
    if (had[i].sha256 === sources[i].sha256 && formatOfName(had[i].path) === files[i].named) continue;
    return `${files[i].path} has changed`;
  }
  return undefined;
}
