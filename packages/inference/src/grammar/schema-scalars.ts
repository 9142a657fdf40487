/** Schemas of strings and numbers, and lists of values, as grammars. */
import { choice, type Expression } from './grammar.ts';
import { number, stringOf } from './json-grammar.ts';
import { integersBetween, numbersBetween } from './number-ranges.ts';
import { stringMatching } from './pattern.ts';
import {
  brief,
  canonical,
  count,
  isOfType,
  list,
  type Path,
  problem,
  type Schema,
} from './schema-keywords.ts';
import { FORMATS } from './string-formats.ts';

/** Larger bounds become these, unless the lower bound is larger. */
const MAX_LENGTH = 10_000;

/** An upper bound, lowered to a limit unless the lower bound is larger. */
export function upTo(max: number, min: number, limit: number): number {
  return max === Number.POSITIVE_INFINITY ? max : Math.min(max, Math.max(min, limit));
}

/** Strings of a schema. */
export function stringValues(schema: Schema, path: Path): Expression {
  const { pattern, format } = schema;
  const min = count(schema, 'minLength', path);
  const max = count(schema, 'maxLength', path);
  const isBounded = min !== undefined || max !== undefined;
  if (isBounded && (pattern ?? format) !== undefined) {
    throw problem(
      path,
      'got minLength or maxLength with pattern or format, expected one of them; remove the other',
    );
  }
  // A format is an annotation of JSON Schema, which clients write beside the pattern that checks it.
  if (format !== undefined && pattern === undefined) {
    const known = typeof format === 'string' ? FORMATS.get(format) : undefined;
    if (known === undefined)
      throw problem(
        path,
        `format: got ${brief(format)}, expected ${[...FORMATS.keys()].join(', ')}; remove it`,
      );
    return stringMatching(known);
  }
  if (pattern !== undefined) {
    if (typeof pattern !== 'string')
      throw problem(path, `pattern: got ${brief(pattern)}, expected a regular expression`);
    return stringMatching(pattern);
  }
  if (max !== undefined && max < (min ?? 0))
    throw problem(path, `maxLength: got ${max}, expected at least minLength (${min})`);
  return max === undefined ? stringOf(min ?? 0) : stringOf(min ?? 0, upTo(max, min ?? 0, MAX_LENGTH));
}

/** Numbers of a schema. */
export function numberValues(schema: Schema, isInteger: boolean, path: Path): Expression {
  const bound = (key: string) => {
    const value = schema[key];
    if (value === undefined || (typeof value === 'number' && (isInteger || Number.isInteger(value))))
      return value;
    const expected = isInteger ? 'a number' : 'a whole number';
    throw problem(path, `${key}: got ${brief(value)}, expected ${expected}`);
  };
  const [minimum, maximum] = [bound('minimum'), bound('maximum')];
  const [above, below] = [bound('exclusiveMinimum'), bound('exclusiveMaximum')];
  if ([minimum, maximum, above, below].every((value) => value === undefined)) return number({ isInteger });
  const excludesMin = above !== undefined && !(minimum !== undefined && minimum > above);
  const excludesMax = below !== undefined && !(maximum !== undefined && maximum < below);
  const bounds = {
    min: excludesMin ? above : minimum,
    max: excludesMax ? below : maximum,
    excludesMin,
    excludesMax,
  };
  return isInteger ? integersBetween(bounds) : numbersBetween(bounds);
}

/** Values of `enum` and `const` that are of the schema's types. */
export function listedValues(schema: Schema, types: readonly string[] | undefined, path: Path): Expression {
  const values = 'enum' in schema ? list(schema, 'enum', path) : [schema.const];
  const same =
    'const' in schema ? values.filter((value) => canonical(value) === canonical(schema.const)) : values;
  const allowed = same.filter((value) => !types || types.some((type) => isOfType(value, type)));
  if (allowed.length === 0)
    throw problem(path, 'enum, const and type: no value satisfies all of them, expected one');
  return choice(...allowed.map((value) => JSON.stringify(value)));
}
