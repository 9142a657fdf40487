/** What a preparation writes down so that another process can go on with it: `progress.json` in its working folder. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomic } from '@meap/files';
import { guard } from './append-file.ts';
import type { DuplicateMark } from './duplicate-counter.ts';
import type { SourceFile } from './files.ts';
import type { FingerprintSettings } from './fingerprint.ts';
import { formatOfName } from './formats.ts';
import type { SourceRecord } from './manifest.ts';
import type { AccountMark } from './mix-ledger.ts';
import type { SinkMark } from './shard-sink.ts';
import type { ReadPosition } from './text-sources.ts';

/** How far the writing of shards is. All that it counts has been read, encoded and forced to disk. */
export interface WritingMark {
  readonly positions: readonly ReadPosition[];
  readonly skipped: { readonly count: number; readonly first: readonly string[] };
  readonly bytesRead: number;
  readonly numDocuments: number;
  readonly numTokens: number;
  readonly spellings: { readonly documents: number; readonly occurrences: number };
  readonly ledger: readonly AccountMark[];
  readonly duplicates: DuplicateMark;
  readonly sink: SinkMark;
}

/** The contents of the file. */
export interface Journal {
  readonly format: 'meap-token-preparation';
  readonly version: 1;
  readonly settings: FingerprintSettings;
  /** Checksums of input files, as far as they have been computed. */
  readonly sources: readonly SourceRecord[];
  /** Absent while checksums are computed. */
  readonly writing?: WritingMark;
}

const name = 'progress.json';

/** Replaces the journal of a working folder in one step. */
export function writeJournal(folder: string, journal: Journal): void {
  const path = join(folder, name);
  const options = { durable: true, temporary: `${path}.new` };
  guard(path, () => writeFileAtomic(path, JSON.stringify(journal), options));
}

/** The journal of a working folder; undefined where there is none that can be read. */
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
  formatVersion: 'it was begun by another version',
  tokenizerSha256: 'the tokenizer is another',
  bosTokenId: 'the BOS token is another',
  eosTokenId: 'the EOS token is another',
  onBadRecord: 'it has left out bad records',
  mix: 'sources, budget or choice of documents are others',
};

/**
 * Why a preparation cannot be continued; undefined where it can: settings are the same, and so are all files that have
 * been read. Of a mix, whose order depends on all files, all.
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
    // Without a bad record so far, it does not matter what would have become of one.
    if (was === is || (key === 'onBadRecord' && writing.skipped.count === 0)) continue;
    return SETTINGS[key] ?? `${key} is ${is ?? 'not set'}, it was ${was ?? 'not set'}`;
  }
  const isMix = settings.mix !== undefined;
  const numRead = isMix
    ? Math.max(had.length, files.length)
    : Math.min(had.length, writing.positions[0].file + 1);
  for (let i = 0; i < numRead; i++) {
    if (!files[i]) return `${had[i].path} is not among the files any more`;
    if (!had[i]) return `${files[i].path} was not among the files`;
    if (had[i].sha256 === sources[i].sha256 && formatOfName(had[i].path) === files[i].named) continue;
    return `${files[i].path} is not what was read then`;
  }
  return undefined;
}
