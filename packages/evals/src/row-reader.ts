import { EvalsError } from './error.ts';

/** A record of a data set whose fields are checked as they are read. */
export interface RowReader {
  /** Whether all these fields are there; a path such as `choices.text` leads into objects. */
  has(...paths: readonly string[]): boolean;
  /** A text. */
  text(path: string): string;
  /** A list of texts, at least one. */
  texts(path: string): string[];
  /** A list of objects, each read like a row. */
  rows(path: string): RowReader[];
  /** An integer in [least, most]; numbers written as text count too, as data sets write labels both ways. */
  integer(path: string, least: number, most: number): number;
  /** True or false; 1 and 0 count too. */
  boolean(path: string): boolean;
  /** Refuses the row. */
  fail(path: string, expected: string): never;
}

/**
 * Reads a record.
 *
 * @param where Names the row in errors: `arc_easy, row 12`.
 * @throws EvalsError (from every method) naming row, field, what was got and what was expected.
 */
export function readRow(where: string, record: unknown): RowReader {
  const get = (path: string): unknown =>
    path
      .split('.')
      .reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], record);
  const fail = (path: string, expected: string): never => {
    const value = get(path);
    const got = value === undefined ? 'nothing' : JSON.stringify(value, bigintAsText)?.slice(0, 100);
    const fields =
      record !== null && typeof record === 'object' ? Object.keys(record).join(', ') : typeof record;
    throw new EvalsError(
      `${where}: field ${path} is wrong, got ${got}, expected ${expected}; the row has ${fields}`,
    );
  };
  return {
    fail,
    has: (...paths) => paths.every((path) => get(path) !== undefined && get(path) !== null),
    text(path) {
      const value = get(path);
      return typeof value === 'string' ? value : fail(path, 'a text');
    },
    texts(path) {
      const value = get(path);
      const isTexts =
        Array.isArray(value) && value.length > 0 && value.every((text) => typeof text === 'string');
      return isTexts ? value : fail(path, 'a list of texts');
    },
    rows(path) {
      const value = get(path);
      if (!Array.isArray(value)) return fail(path, 'a list of objects');
      return value.map((inner, index) => readRow(`${where}, ${path}[${index}]`, inner));
    },
    integer(path, least, most) {
      const value = get(path);
      // Parquet's int64 arrives as bigint.
      const isWritten = typeof value === 'bigint' || (typeof value === 'string' && /^-?\d+$/.test(value));
      const number = isWritten ? Number(value) : value;
      const fits =
        typeof number === 'number' && Number.isInteger(number) && number >= least && number <= most;
      return fits ? number : fail(path, `an integer from ${least} to ${most}`);
    },
    boolean(path) {
      const value = get(path);
      if (value === 0 || value === 1 || value === 0n || value === 1n) return Boolean(value);
      return typeof value === 'boolean' ? value : fail(path, 'true or false');
    },
  };
}

const bigintAsText = (_: string, value: unknown) => (typeof value === 'bigint' ? `${value}` : value);
