/** Data sets of many parts, each of which is a task: the subjects of MMLU. */
import { ConfigurationError } from '@meap/recipe-cli';
import { z } from 'zod';

/** A list of parts in a recipe. */
export function partSettings<Part extends string>(parts: readonly Part[], what: string) {
  const part: z.ZodType<Part, Part> = z.enum(parts as readonly [Part, ...Part[]], `one of the ${what}`);
  return z
    .array(part, 'a list of names')
    .min(1, 'at least one')
    .describe(`Names of the ${what}; default: all.`)
    .default([...parts]);
}

/**
 * Rows by part, which a field names.
 *
 * @throws ConfigurationError for parts without rows
 */
export function rowsByPart(
  rows: readonly Readonly<Record<string, unknown>>[],
  field: string,
  parts: readonly string[],
  dataSet: string,
): ReadonlyMap<string, readonly unknown[]> {
  const found = new Map<string, unknown[]>();
  for (const row of rows) {
    const part = String(row[field]);
    const known = found.get(part);
    if (known) known.push(row);
    else found.set(part, [row]);
  }
  const missing = parts.filter((part) => !found.has(part));
  if (missing.length === 0) return found;
  const listed = `${missing.slice(0, 3).join(', ')}${missing.length > 3 ? ` and ${missing.length - 3} more` : ''}`;
  throw new ConfigurationError([
    `data.${dataSet}: got no rows with ${listed} as ${field}, expected some of each; add their files, or choose others, as in ` +
      `--set ${dataSet.replace(/_(dev|validation)$/, '')}.${field === 'UID' ? 'paradigms' : 'subjects'}=[NAME]`,
  ]);
}
