/** A record and its position in its file. */
export interface DataRecord {
  readonly record: Readonly<Record<string, unknown>>;
  readonly file: string;
  /** Unit of `position`, which starts at 1: lines of JSONL, rows of Parquet and CSV, objects of other JSON. */
  readonly unit: 'line' | 'row';
  readonly position: number;
}
