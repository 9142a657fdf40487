/** Fields of a record: renaming, JSON in text values, refused fields. */
import { ChatDataError } from './errors.ts';

/** One line of a file, parsed. */
export type DataRecord = Readonly<Record<string, unknown>>;

/** Field names of a file: `data.fields` and `data.ignore_fields`. */
export interface FieldNames {
  /** From the standard name to the name in the file. */
  fields?: Readonly<Record<string, string>>;
  /** Ignored names in the file. */
  ignore?: readonly string[];
}

/** Renames the fields of a record to the standard names. */
export function renameFields(record: DataRecord, { fields = {}, ignore = [] }: FieldNames): DataRecord {
  const renamed: Record<string, unknown> = { ...record };
  for (const name of [...ignore, ...Object.values(fields)]) delete renamed[name];
  for (const [usual, own] of Object.entries(fields)) {
    const value = valueAt(record, own);
    if (value !== undefined) renamed[usual] = value;
  }
  return renamed;
}

/** Returns the value of a field or at a dotted path; undefined if there is none. */
export function valueAt(record: DataRecord, name: string): unknown {
  if (Object.hasOwn(record, name)) return record[name];
  let value: unknown = record;
  for (const key of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as DataRecord)[key];
  }
  return value;
}

/** Returns whether a text is missing or blank. */
export function isBlank(value: unknown): boolean {
  return value == null || (typeof value === 'string' && value.trim() === '');
}

/** Returns whether a value is null, blank, an empty list or object, or one of these as JSON. */
export function isEmpty(value: unknown): boolean {
  if (value == null) return true;
  if (typeof value === 'string') return ['', '[]', '{}', 'null'].includes(value.trim());
  return typeof value === 'object' && Object.keys(value).length === 0;
}

/** Parses a list or an object, which text files such as CSV have as JSON. Converts bigints of Parquet to numbers. */
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

/** Returns a list, or a list as JSON text; undefined for anything else. */
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

/** Throws ChatDataError if one of the given fields is not empty. */
export function refuseFields(record: DataRecord, reasons: Readonly<Record<string, string>>, path = ''): void {
  for (const [key, reason] of Object.entries(reasons)) {
    if (!Object.hasOwn(record, key) || isEmpty(record[key]) || record[key] === false) continue;
    throw new ChatDataError(
      `${path}${key}: got ${show(record[key])}, expected none, since ${reason}; to train without it, add it to ` +
        'data.ignore_fields',
    );
  }
}

/**
 * Returns which of several fields a record has; undefined if it has none.
 *
 * @throws ChatDataError if two of them are not blank and `data.fields` does not choose one
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
    `got both ${filled.join(' and ')}, expected one of them; choose one in data.fields, such as ` +
      `{${names[0]}: ${filled.at(-1)}}, or add the other to data.ignore_fields`,
  );
}

export function textOf(record: DataRecord, key: string): string {
  const value = record[key];
  if (typeof value === 'string') return value;
  throw new ChatDataError(`${key}: got ${show(value)}, expected text`);
}

/** Formats a value for an error, truncated. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? String(inner) : inner));
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
