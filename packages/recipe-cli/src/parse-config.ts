import leven from 'leven';
import { stringify } from 'yaml';
import type { z } from 'zod';
import { ConfigurationError } from './errors.ts';
import { equivalentOf } from './foreign-keys.ts';

type Issue = z.core.$ZodIssue;

/**
 * Checks keys against a schema of sections and fills in its defaults.
 *
 * @throws ConfigurationError with path, value and allowed values of every problem, and the likeliest correction of a
 *   misspelt key
 */
export function parseConfig<Schema extends z.ZodObject>(schema: Schema, input: unknown): z.output<Schema> {
  const given = withoutNulls(schema, input, []);
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  throw new ConfigurationError(parsed.error.issues.flatMap(describeIssue(schema, given)));
}

/** Removes known keys that are null; unknown ones stay, to be refused. */
function withoutNulls(schema: z.ZodObject, input: unknown, path: string[]): unknown {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) return input;
  const known = new Set(keysAt(schema, path));
  const kept = Object.entries(input).filter(([key, value]) => value !== null || !known.has(key));
  const entries = kept.map(([key, value]) => [key, path.length ? value : withoutNulls(schema, value, [key])]);
  return Object.fromEntries(entries);
}

/** Collects problems that a schema cannot find, as `path: got VALUE, expected …`. */
export class Refusals {
  readonly problems: string[] = [];

  /** Adds a refused value. */
  add(path: string, value: unknown, expected: string): void {
    this.problems.push(`${path}: got ${show(value)}, expected ${expected}`);
  }

  /** @throws ConfigurationError if there are problems */
  throwIfAny(): void {
    if (this.problems.length > 0) throw new ConfigurationError(this.problems);
  }
}

/** Formats a resolved configuration as YAML that parses to the same value. */
export function configToYaml(config: object): string {
  return stringify(config, { keepUndefined: false });
}

function describeIssue(schema: z.ZodObject, input: unknown): (issue: Issue) => string[] {
  return (issue) => {
    const path = issue.path.join('.');
    if (issue.code === 'unrecognized_keys') {
      const allowed = keysAt(schema, issue.path);
      return issue.keys.map((key) => {
        const hint = hintFor(schema, input, [...issue.path, key]);
        return `${path ? `${path}.` : ''}${key}: unknown key${hint ? `; ${hint}` : ''}; allowed here: ${allowed.join(', ')}`;
      });
    }
    const value = valueAt(input, issue.path);
    const expected =
      issue.code === 'invalid_type' && issue.expected === 'object'
        ? `keys with values (${keysAt(schema, issue.path).join(', ')})`
        : issue.message;
    return [`${path || 'configuration'}: got ${show(value)}, expected ${expected}`];
  };
}

/** Suggests a key: the same in another section, the equivalent of another trainer's key, or the closest. */
function hintFor(schema: z.ZodObject, input: unknown, path: readonly PropertyKey[]): string | undefined {
  const key = String(path.at(-1));
  const sections = keysAt(schema, []).filter((section) => keysAt(schema, [section]).includes(key));
  const elsewhere = [
    ...(Object.hasOwn(schema.shape, key) ? [key] : []),
    ...sections.map((at) => `${at}.${key}`),
  ];
  if (elsewhere.length > 0) return `did you mean ${elsewhere.join(' or ')}?`;
  const hasKey = (to: string) => {
    const keys = to.split('.');
    return keysAt(schema, keys.slice(0, -1)).includes(keys.at(-1)!);
  };
  const given = valueAt(input, path);
  const equivalent = equivalentOf(key, given, input as Record<string, unknown>, hasKey);
  if (equivalent) return equivalent;
  const near = closest(key, keysAt(schema, path.slice(0, -1)));
  return near && `did you mean ${near}?`;
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown>)?.[key], input);
}

/** The members of zod schemas that lead to other schemas. */
interface SchemaNode {
  shape?: Record<PropertyKey, SchemaNode>;
  /** The values of a record. */
  valueType?: SchemaNode;
  unwrap?(): SchemaNode;
}

/** Returns the keys of the section at a path, through any wrappers of its schema; none if there is no section. */
function keysAt(schema: z.ZodObject, path: readonly PropertyKey[]): string[] {
  const unwrapped = (node: SchemaNode | undefined) => {
    let at = node;
    while (at && !at.shape && !at.valueType) at = at.unwrap?.();
    return at;
  };
  let at = unwrapped(schema as unknown as SchemaNode);
  for (const key of path) at = unwrapped(at?.shape?.[key] ?? at?.valueType);
  return Object.keys(at?.shape ?? {});
}

/** Formats a value for an error message, cut to 80 characters, without name and password of an address. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value).replaceAll(/:\/\/[^/@\s"]+@/g, '://***@');
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/** Returns the likeliest correction of a key: within a few edits, or one that contains it. */
function closest(key: string, candidates: readonly string[]): string | undefined {
  const scored = candidates
    .map((candidate) => ({ candidate, edits: leven(key, candidate) }))
    .sort((a, b) => a.edits - b.edits);
  const [best] = scored;
  if (best && best.edits <= Math.max(2, key.length / 3)) return best.candidate;
  return candidates.find((candidate) => candidate.includes(key) || key.includes(candidate));
}
