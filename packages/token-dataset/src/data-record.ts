import type { BadRecordError } from './errors.ts';

/** A record and its position in its file. */
export interface DataRecord {
  readonly record: Readonly<Record<string, unknown>>;
  readonly file: string;
  /** Unit of `position`, which starts at 1: lines of JSONL, rows of Parquet and CSV, objects of other JSON. */
  readonly unit: 'line' | 'row';
  readonly position: number;
}

/** Bad records that were skipped: their number and the messages of the first. */
export interface SkippedRecords {
  readonly count: number;
  readonly first: readonly string[];
}

export interface RecordReading {
  readonly onBadRecord: (error: BadRecordError) => void;
  readonly onBytes: (numBytes: number) => void;
  /** The only field needed; other Parquet columns are then not read. */
  readonly field?: string;
}
