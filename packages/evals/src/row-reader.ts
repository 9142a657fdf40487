import { EvalsError } from './error.ts';
import { pythonLiteral } from './python-literal.ts';
import { strip } from './python-text.ts';

/** Reads and checks the fields of a record; a path such as `choices.text` reaches into objects. */
export interface RowReader {
  /** The record itself, and the name of the row in errors. */
  readonly record: unknown;
  readonly where: string;
  /** Whether all these fields exist. */
  has(...paths: readonly string[]): boolean;
  /** A text. */
  text(path: string): string;
  /** A list of at least one text; also as Python writes it, in a text. */
  texts(path: string): string[];
  /** A list of objects, each as a row; also as Python writes it, in a text. */
  rows(path: string): RowReader[];
  /** An integer in [min, max], as a number or text; as in Python's `int`, white space around it does not count. */
  integer(path: string, min: number, max: number): number;
  /** A list of integers in [min, max]. */
  integers(path: string, min: number, max: number): number[];
  /** A boolean, or 1 or 0; also as text, as in CSV files. */
  boolean(path: string): boolean;
  /** Throws the error for a wrong field. */
  fail(path: string, expected: string): never;
}

/**
 * Reads a record.
 *
 * @param where name of the row in errors: `arc_easy, row 12`
 * @throws EvalsError (from every method) with row, field, value and expectation
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
    record,
    where,
    fail,
    has: (...paths) => paths.every((path) => get(path) !== undefined && get(path) !== null),
    text(path) {
      const value = get(path);
      return typeof value === 'string' ? value : fail(path, 'a text');
    },
    texts(path) {
      const value = literal(get(path));
      const isTexts =
        Array.isArray(value) && value.length > 0 && value.every((text) => typeof text === 'string');
      return isTexts ? value : fail(path, 'a list of texts');
    },
    rows(path) {
      const value = literal(get(path));
      if (!Array.isArray(value)) return fail(path, 'a list of objects');
      return value.map((inner, index) => readRow(`${where}, ${path}[${index}]`, inner));
    },
    integers(path, min, max) {
      const value = get(path);
      if (!Array.isArray(value)) return fail(path, 'a list of integers');
      return value.map((_, index) => this.integer(`${path}.${index}`, min, max));
    },
    integer(path, min, max) {
      const value = get(path);
      const written = typeof value === 'string' ? strip(value) : value;
      // Parquet's int64 is a bigint.
      const isWritten =
        typeof written === 'bigint' || (typeof written === 'string' && /^[+-]?\d+$/.test(written));
      const number = isWritten ? Number(written) : written;
      const fits = typeof number === 'number' && Number.isInteger(number) && number >= min && number <= max;
      return fits ? number : fail(path, `an integer from ${min} to ${max}`);
    },
    boolean(path) {
      const value = get(path);
      const isTrue = TRUTHS.get(typeof value === 'string' ? strip(value).toLowerCase() : String(value));
      return typeof value === 'object' || isTrue === undefined ? fail(path, 'true or false') : isTrue;
    },
  };
}

/** Some data sets keep lists as Python writes them. */
const literal = (value: unknown) => (typeof value === 'string' ? pythonLiteral(value) : value);

const TRUTHS = new Map([
  ['true', true],
  ['1', true],
  ['false', false],
  ['0', false],
]);

const bigintAsText = (_: string, value: unknown) => (typeof value === 'bigint' ? `${value}` : value);
