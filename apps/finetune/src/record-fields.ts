/** Fields of a record: their names in a file, values that are JSON as text, and what is refused instead of lost. */
import { ChatDataError } from './errors.ts';

/** One line of a file, parsed. */
export type DataRecord = Readonly<Record<string, unknown>>;

/** How the fields of a file are called, and which to leave out: `data.fields` and `data.ignore_fields`. */
export interface FieldNames {
  /** From the usual name to the one in the file. */
  fields?: Readonly<Record<string, string>>;
  /** Names in the file. */
  ignore?: readonly string[];
}

/** A record under the usual names; a field that it lacks stays missing. */
export function renameFields(record: DataRecord, { fields = {}, ignore = [] }: FieldNames): DataRecord {
  const renamed: Record<string, unknown> = { ...record };
  for (const name of [...ignore, ...Object.values(fields)]) delete renamed[name];
  for (const [usual, own] of Object.entries(fields)) {
    const value = valueAt(record, own);
    if (value !== undefined) renamed[usual] = value;
  }
  return renamed;
}

/** The value of a field, or at a dotted path; undefined where there is none. */
export function valueAt(record: DataRecord, name: string): unknown {
  if (Object.hasOwn(record, name)) return record[name];
  let value: unknown = record;
  for (const key of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as DataRecord)[key];
  }
  return value;
}

/** Whether a text is missing or blank. */
export function isBlank(value: unknown): boolean {
  return value == null || (typeof value === 'string' && value.trim() === '');
}

/** Whether a value says nothing: null, blank, an empty list or object, or one of these as JSON. */
export function isEmpty(value: unknown): boolean {
  if (value == null) return true;
  if (typeof value === 'string') return ['', '[]', '{}', 'null'].includes(value.trim());
  return typeof value === 'object' && Object.keys(value).length === 0;
}

/** A list or an object; files that only hold text, such as CSV, have it as JSON. Numbers of Parquet become JavaScript's. */
export function parsed(value: unknown, path: string): unknown {
  if (typeof value === 'string') {
    try {
      return JSON.parse(value);
    } catch {
      throw new ChatDataError(`${path}: got ${show(value)}, expected JSON`);
    }
  }
  return JSON.parse(
    JSON.stringify(value ?? null, (_, inner) => (typeof inner === 'bigint' ? Number(inner) : inner)),
  );
}

/** A value that is a list, or text that is one as JSON; undefined for anything else. */
export function listOf(value: unknown): unknown[] | undefined {
  if (Array.isArray(value)) return value;
  if (typeof value !== 'string' || !value.trimStart().startsWith('[')) return undefined;
  try {
    const list: unknown = JSON.parse(value);
    return Array.isArray(list) ? list : undefined;
  } catch {
    return undefined;
  }
}

/** @throws ChatDataError where a field that would change what is learned, and cannot be honoured, says something */
export function refuseFields(record: DataRecord, reasons: Readonly<Record<string, string>>, path = ''): void {
  for (const [key, reason] of Object.entries(reasons)) {
    if (!Object.hasOwn(record, key) || isEmpty(record[key]) || record[key] === false) continue;
    throw new ChatDataError(
      `${path}${key}: got ${show(record[key])}, expected none, since ${reason}; to train without it, name it in ` +
        'data.ignore_fields',
    );
  }
}

/**
 * The field of a record that has one of several names; undefined where it has none.
 *
 * @throws ChatDataError where two of them say something and `data.fields` names neither
 */
export function chooseField(
  record: DataRecord,
  names: readonly string[],
  { fields = {} }: FieldNames,
): string | undefined {
  const present = names.filter((name) => record[name] !== undefined);
  const filled = present.filter((name) => !isBlank(record[name]));
  if (filled.length < 2) return filled[0] ?? present.find((name) => record[name] !== null) ?? present[0];
  const named = filled.filter((name) => Object.hasOwn(fields, name));
  if (named.length === 1) return named[0];
  throw new ChatDataError(
    `got both ${filled.join(' and ')}, expected one of them; say which in data.fields, such as ` +
      `{${names[0]}: ${filled.at(-1)}}, or name the other in data.ignore_fields`,
  );
}

export function textOf(record: DataRecord, key: string): string {
  const value = record[key];
  if (typeof value === 'string') return value;
  throw new ChatDataError(`${key}: got ${show(value)}, expected text`);
}

/** A value in an error, cut short. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? String(inner) : inner));
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
