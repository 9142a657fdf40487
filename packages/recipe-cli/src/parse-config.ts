import { stringify } from 'yaml';
import type { z } from 'zod';
import { ConfigurationError } from './errors.ts';

type Issue = z.core.$ZodIssue;

/**
 * Checks keys against a schema of sections and fills in its defaults.
 *
 * @throws ConfigurationError naming every problem with its path, value and what is allowed; for a misspelt key also
 *   the likeliest correction
 */
export function parseConfig<Schema extends z.ZodObject>(schema: Schema, input: unknown): z.output<Schema> {
  const given = withoutNulls(schema, input, []);
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  throw new ConfigurationError(parsed.error.issues.flatMap(describeIssue(schema, given)));
}

/** Without keys that are null, which is to have none; one that is not known stays, to be refused. */
function withoutNulls(schema: z.ZodObject, input: unknown, path: string[]): unknown {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) return input;
  const known = new Set(keysAt(schema, path));
  const kept = Object.entries(input).filter(([key, value]) => value !== null || !known.has(key));
  const entries = kept.map(([key, value]) => [key, path.length ? value : withoutNulls(schema, value, [key])]);
  return Object.fromEntries(entries);
}

/** Collects what a schema cannot check: `path: got VALUE, expected …`. */
export class Refusals {
  readonly problems: string[] = [];

  /** Notes one refused value: its path, what it is, what was expected. */
  add(path: string, value: unknown, expected: string): void {
    this.problems.push(`${path}: got ${show(value)}, expected ${expected}`);
  }

  /** @throws ConfigurationError unless there are none */
  throwIfAny(): void {
    if (this.problems.length > 0) throw new ConfigurationError(this.problems);
  }
}

/** A resolved configuration as YAML that reads back to the same. */
export function configToYaml(config: object): string {
  return stringify(config, { keepUndefined: false });
}

function describeIssue(schema: z.ZodObject, input: unknown): (issue: Issue) => string[] {
  return (issue) => {
    const path = issue.path.join('.');
    if (issue.code === 'unrecognized_keys') {
      const allowed = keysAt(schema, issue.path);
      return issue.keys.map((key) => {
        const near = closest(key, allowed);
        const hint = near ? `; did you mean ${near}?` : '';
        return `${path ? `${path}.` : ''}${key}: unknown key${hint}; allowed here: ${allowed.join(', ')}`;
      });
    }
    const value = issue.path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown>)?.[key], input);
    const expected =
      issue.code === 'invalid_type' && issue.expected === 'object'
        ? `keys with values (${keysAt(schema, issue.path).join(', ')})`
        : issue.message;
    return [`${path || 'configuration'}: got ${show(value)}, expected ${expected}`];
  };
}

/** Keys of the section at a path, however the section's schema is wrapped; sections are one level deep. */
function keysAt(schema: z.ZodObject, [section]: readonly PropertyKey[]): string[] {
  let at: unknown = section === undefined ? schema : schema.shape[section as string];
  while (at && !(at as { shape?: object }).shape) at = (at as { unwrap?(): unknown }).unwrap?.();
  return Object.keys((at as { shape?: object } | undefined)?.shape ?? {});
}

/** A value for an error message, cut where it is long. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/** The likeliest correction of a misspelt key: few edits for its length, or a part of one. */
function closest(key: string, candidates: readonly string[]): string | undefined {
  const scored = candidates
    .map((candidate) => ({ candidate, edits: editDistance(key, candidate) }))
    .sort((a, b) => a.edits - b.edits);
  const [best] = scored;
  if (best && best.edits <= Math.max(2, key.length / 3)) return best.candidate;
  return candidates.find((candidate) => candidate.includes(key) || key.includes(candidate));
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}
