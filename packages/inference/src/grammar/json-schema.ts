/**
 * JSON Schemas as grammars.
 *
 * The grammar allows values of the schema only, though not all: members come in the order of `properties`, numbers have at
 * most 15 digits, and an object has no members beyond `properties` unless `additionalProperties` is set. A keyword that would
 * be ignored is refused.
 */
import {
  choice,
  compileGrammar,
  type Expression,
  type Grammar,
  GrammarError,
  literal,
  optional,
  repeat,
  sequence,
} from './grammar.ts';
import {
  arrayOf,
  comma,
  JSON_RULES,
  number,
  objectOf,
  PLAIN,
  plainCharacter,
  space,
  stringOf,
} from './json-grammar.ts';
import { integersBetween, numbersBetween } from './number-ranges.ts';
import { stringMatching } from './pattern.ts';
import { FORMATS } from './string-formats.ts';
import { complement, intersection, utf8 } from './unicode-ranges.ts';

/** A schema that is invalid or not supported. */
export class SchemaError extends Error {
  override readonly name = 'SchemaError';
  /** Path of the schema within the whole one, such as `properties.name`; empty for the whole. */
  readonly path: string;

  constructor(path: string, problem: string) {
    super(problem);
    this.path = path;
  }
}

/** Any JSON object. */
export function anyObject(): Grammar {
  return compileGrammar({ rule: 'object' }, JSON_RULES);
}

/**
 * Compiles a schema.
 *
 * @throws SchemaError for what is invalid, not supported, too large, or without a value
 */
export function schemaGrammar(schema: unknown): Grammar {
  return compile((rules) => new SchemaCompiler(schema, { rules, base: [] }).value(schema, []));
}

/**
 * Compiles a grammar with values of several schemas.
 *
 * @param build the grammar, from the values of each schema
 * @throws SchemaError as {@link schemaGrammar}; its path starts with the index of the schema
 */
export function compileSchemas(
  schemas: readonly unknown[],
  build: (values: readonly Expression[]) => Expression,
): Grammar {
  return compile((rules) => {
    const values = schemas.map((schema, i) => {
      const base = [`${i}`];
      return new SchemaCompiler(schema, { rules, base }).value(schema, base);
    });
    return build(values);
  });
}

function compile(start: (rules: Map<string, Expression>) => Expression): Grammar {
  const rules = new Map(JSON_RULES);
  try {
    return compileGrammar(start(rules), rules);
  } catch (error) {
    if (error instanceof GrammarError) throw new SchemaError('', error.message);
    // JavaScript's stack, exhausted by a chain of references.
    if (error instanceof RangeError) throw new SchemaError('', 'nested too deeply, expected fewer levels');
    throw error;
  }
}

type Schema = Readonly<Record<string, unknown>>;
type Path = readonly string[];

/** Keywords that do not restrict values. */
const ANNOTATIONS = [
  'title',
  'description',
  'default',
  'examples',
  'deprecated',
  'readOnly',
  'writeOnly',
  '$schema',
  '$id',
  '$comment',
  '$defs',
  'definitions',
];

const KEYWORDS: Readonly<Record<string, readonly string[]>> = {
  string: ['minLength', 'maxLength', 'pattern', 'format'],
  number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'],
  integer: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'],
  boolean: [],
  null: [],
  array: ['items', 'prefixItems', 'minItems', 'maxItems'],
  object: ['properties', 'required', 'additionalProperties', 'propertyNames'],
};
const TYPES = Object.keys(KEYWORDS);
const SUPPORTED = ['type', 'enum', 'const', 'anyOf', '$ref', ...new Set(Object.values(KEYWORDS).flat())];

/** Larger bounds become these, unless the lower bound is larger. */
const MAX_LENGTH = 10_000;
const MAX_ITEMS = 1000;
const MAX_NAME = 256;
/** Values of an enum, and options of anyOf. */
const MAX_OPTIONS = 1000;

class SchemaCompiler {
  readonly #root: unknown;
  readonly #rules: Map<string, Expression>;
  readonly #base: Path;

  /** @param options `base`: path of the root; `rules`: get the rules of its parts */
  constructor(root: unknown, { rules, base }: { rules: Map<string, Expression>; base: Path }) {
    this.#root = root;
    this.#rules = rules;
    this.#base = base;
  }

  value(schema: unknown, path: Path): Expression {
    if (schema === true) return { rule: 'value' };
    if (!isObject(schema)) throw problem(path, `got ${brief(schema)}, expected a JSON Schema object`);
    const unknown = Object.keys(schema).find((key) => !ANNOTATIONS.includes(key) && !SUPPORTED.includes(key));
    if (unknown !== undefined) {
      throw problem(
        path,
        `keyword ${brief(unknown)} is not supported, expected ${SUPPORTED.join(', ')}; remove it`,
      );
    }
    try {
      return this.#checked(schema, path);
    } catch (error) {
      throw error instanceof GrammarError ? problem(path, error.message) : error;
    }
  }

  #checked(schema: Schema, path: Path): Expression {
    if ('$ref' in schema) return this.#reference(schema, path);
    if ('anyOf' in schema) {
      requireAlone(schema, ['anyOf'], path);
      const options = list(schema, 'anyOf', path);
      return choice(...options.map((option, i) => this.value(option, [...path, 'anyOf', `${i}`])));
    }
    const types = typesOf(schema, path);
    if ('enum' in schema || 'const' in schema) {
      requireAlone(schema, ['enum', 'const', 'type'], path);
      return literals(schema, types, path);
    }
    if (!types) return { rule: 'value' };
    const stray = Object.keys(schema).find(
      (key) =>
        key !== 'type' && !ANNOTATIONS.includes(key) && !types.some((type) => KEYWORDS[type].includes(key)),
    );
    if (stray !== undefined)
      throw problem(path, `keyword ${brief(stray)} does not apply to type ${types.join(', ')}; remove it`);
    return choice(...types.map((type) => this.#typed(type, schema, path)));
  }

  #typed(type: string, schema: Schema, path: Path): Expression {
    switch (type) {
      case 'string':
        return string(schema, path);
      case 'number':
      case 'integer':
        return numeric(schema, type === 'integer', path);
      case 'boolean':
        return choice('true', 'false');
      case 'null':
        return literal('null');
      case 'array':
        return this.#array(schema, path);
      default:
        return this.#object(schema, path);
    }
  }

  /** A reference is a rule, so that schemas may be recursive. */
  #reference(schema: Schema, path: Path): Expression {
    requireAlone(schema, ['$ref'], path);
    const { $ref: reference } = schema;
    const target = typeof reference === 'string' ? this.#find(reference) : undefined;
    if (typeof reference !== 'string' || target === undefined) {
      throw problem(
        path,
        `$ref: got ${brief(reference)}, expected a schema of this document such as "#/$defs/name"`,
      );
    }
    const rule = `$ref ${JSON.stringify([...this.#base, reference])}`;
    if (!this.#rules.has(rule)) {
      // Known to references within it.
      this.#rules.set(rule, sequence());
      this.#rules.set(rule, this.value(target, [...this.#base, ...reference.split('/').slice(1)]));
    }
    return { rule };
  }

  /** The schema at a JSON pointer. */
  #find(reference: string): unknown {
    if (!/^#(\/|$)/.test(reference)) return undefined;
    let at = this.#root;
    for (const part of reference.split('/').slice(1)) {
      const key = unescaped(part);
      if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return undefined;
      at = (at as Schema)[key];
    }
    return at;
  }

  #array(schema: Schema, path: Path): Expression {
    const prefix = 'prefixItems' in schema ? list(schema, 'prefixItems', path) : [];
    const first = prefix.map((item, i) => this.value(item, [...path, 'prefixItems', `${i}`]));
    const min = Math.max(count(schema, 'minItems', path) ?? 0, first.length);
    const limit = count(schema, 'maxItems', path) ?? Number.POSITIVE_INFINITY;
    // Beyond prefixItems, only items that are described.
    const isOpen = schema.items !== false && (schema.items !== undefined || first.length === 0);
    const max = isOpen ? upTo(limit, min, MAX_ITEMS) : first.length;
    if (min > Math.min(max, limit))
      throw problem(
        path,
        `got at least ${min} items and at most ${Math.min(max, limit)}, expected a possible number`,
      );
    if (!isOpen || max === first.length) return arrayOf(sequence(...separated(first), space));
    const item = this.#rule(`items of ${JSON.stringify(path)}`, () =>
      this.value(schema.items ?? true, [...path, 'items']),
    );
    const rest = (from: number, to: number) => repeat(sequence(comma, item), from, to);
    if (first.length > 0)
      return arrayOf(sequence(...separated(first), rest(min - first.length, max - first.length), space));
    const items = sequence(item, rest(Math.max(min, 1) - 1, max - 1), space);
    return arrayOf(min === 0 ? optional(items) : items);
  }

  #object(schema: Schema, path: Path): Expression {
    const { properties = {}, propertyNames, additionalProperties: additional } = schema;
    if (!isObject(properties))
      throw problem(path, `properties: got ${brief(properties)}, expected an object of schemas`);
    if (propertyNames !== undefined && JSON.stringify(propertyNames) !== '{"type":"string"}') {
      throw problem(
        path,
        `propertyNames: got ${brief(propertyNames)}, expected {"type":"string"}; remove it`,
      );
    }
    const required = requiredNames(schema, path);
    const long = [...Object.keys(properties), ...required].find(({ length }) => length > MAX_NAME);
    if (long !== undefined)
      throw problem(
        path,
        `properties: got a name of ${long.length} characters, expected at most ${MAX_NAME}`,
      );
    const isFree = additional !== false && (additional !== undefined || Object.keys(properties).length === 0);
    const others = isFree ? (additional ?? true) : undefined;
    const undeclared = required.filter((name) => !Object.hasOwn(properties, name));
    if (undeclared.length > 0 && others === undefined) {
      throw problem(path, `required: got ${brief(undeclared[0])}, expected names of properties`);
    }
    const members = [
      ...Object.entries(properties).map(([name, of]) => ({ name, of, where: [...path, 'properties', name] })),
      ...undeclared.map((name) => ({ name, of: others, where: [...path, 'additionalProperties'] })),
    ];
    const rules = members.map(({ name, of, where }) =>
      this.#rule(`member ${brief(name)} of ${JSON.stringify(path)}`, () =>
        sequence(JSON.stringify(name), space, ':', space, this.value(of, where)),
      ),
    );
    const other =
      others === undefined
        ? undefined
        : this.#rule(`other member of ${JSON.stringify(path)}`, () =>
            sequence(
              '"',
              textOtherThan(members.map(({ name }) => Array.from(name)).filter(isPlain)),
              '"',
              space,
              ':',
              space,
              this.value(others, [...path, 'additionalProperties']),
            ),
          );
    const isRequired = members.map(({ name }) => required.includes(name));
    /** Members from the i-th on, after others. */
    const rest = (i: number): Expression => {
      if (i === members.length) return other ? repeat(sequence(comma, other)) : sequence();
      const next = sequence(comma, rules[i]);
      return this.#rule(`members from ${i} of ${JSON.stringify(path)}`, () =>
        sequence(isRequired[i] ? next : optional(next), rest(i + 1)),
      );
    };
    const firstRequired = isRequired.indexOf(true);
    const starts = firstRequired < 0 ? members.length : firstRequired + 1;
    const options = rules.slice(0, starts).map((member, i) => sequence(member, rest(i + 1), space));
    if (firstRequired < 0 && other) options.push(sequence(other, rest(members.length), space));
    return objectOf(choice(...options, ...(firstRequired < 0 ? [sequence()] : [])));
  }

  /** A rule that is built once; expressions that occur several times would be copied. */
  #rule(name: string, build: () => Expression): Expression {
    if (!this.#rules.has(name)) {
      this.#rules.set(name, sequence());
      this.#rules.set(name, build());
    }
    return { rule: name };
  }
}

function string(schema: Schema, path: Path): Expression {
  const { pattern, format } = schema;
  const min = count(schema, 'minLength', path);
  const max = count(schema, 'maxLength', path);
  const isBounded = min !== undefined || max !== undefined;
  if ([pattern, format, isBounded || undefined].filter((of) => of !== undefined).length > 1) {
    throw problem(
      path,
      'got several of pattern, format and minLength or maxLength, expected only one; remove the others',
    );
  }
  if (format !== undefined) {
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

function numeric(schema: Schema, isInteger: boolean, path: Path): Expression {
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

function literals(schema: Schema, types: readonly string[] | undefined, path: Path): Expression {
  const values = 'enum' in schema ? list(schema, 'enum', path) : [schema.const];
  const same =
    'const' in schema ? values.filter((value) => canonical(value) === canonical(schema.const)) : values;
  const allowed = same.filter((value) => !types || types.some((type) => isOfType(value, type)));
  if (allowed.length === 0)
    throw problem(path, 'enum, const and type: no value satisfies all of them, expected one');
  return choice(...allowed.map((value) => JSON.stringify(value)));
}

/** A text of a JSON string, without escapes, that is none of these. */
function textOtherThan(texts: readonly (readonly string[])[]): Expression {
  const rest = new Map<string, (readonly string[])[]>();
  for (const [first, ...others] of texts) {
    if (first !== undefined) rest.set(first, [...(rest.get(first) ?? []), others]);
  }
  const other = complement(
    Array.from(rest.keys(), (first) => [first.codePointAt(0)!, first.codePointAt(0)!] as const),
  );
  return choice(
    ...(texts.some(({ length }) => length === 0) ? [] : [sequence()]),
    ...Array.from(rest, ([first, others]) => sequence(first, textOtherThan(others))),
    sequence(utf8(intersection(other, PLAIN)), repeat(plainCharacter)),
  );
}

/** Whether a text needs no escape in JSON; others differ from every text without escapes. */
function isPlain(characters: readonly string[]): boolean {
  const text = characters.join('');
  return JSON.stringify(text) === `"${text}"`;
}

/** The types of a schema; undefined if it allows all. */
function typesOf(schema: Schema, path: Path): readonly string[] | undefined {
  const { type } = schema;
  if (type === undefined) {
    // Keywords of a type without the type allow all others too, which hardly anyone means.
    const meant = TYPES.find((type) => KEYWORDS[type].some((key) => key in schema));
    return meant === undefined ? undefined : [meant];
  }
  const types: readonly unknown[] = Array.isArray(type) ? type : [type];
  const wrong = types.find((type) => !TYPES.includes(type as string));
  if (wrong === undefined && types.length > 0) return [...new Set(types as string[])];
  throw problem(
    path,
    `type: got ${brief(wrong === undefined ? type : wrong)}, expected ${TYPES.join(', ')}, or a list of them`,
  );
}

function isOfType(value: unknown, type: string): boolean {
  if (type === 'integer') return Number.isInteger(value);
  if (type === 'null') return value === null;
  if (type === 'array') return Array.isArray(value);
  return type === 'object' ? isObject(value) : typeof value === type;
}

/** A JSON value with its members in order, for comparison. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part) =>
    isObject(part) ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1))) : part,
  );
}

/** @throws SchemaError for keywords beside these */
function requireAlone(schema: Schema, keys: readonly string[], path: Path): void {
  const other = Object.keys(schema).find((key) => !keys.includes(key) && !ANNOTATIONS.includes(key));
  if (other === undefined) return;
  throw problem(
    path,
    `keyword ${brief(other)} is not supported beside ${keys.find((key) => key in schema)}; remove one of them`,
  );
}

/** @throws SchemaError for other than a list of 1 to 1,000 */
function list(schema: Schema, key: string, path: Path): readonly unknown[] {
  const value = schema[key];
  if (Array.isArray(value) && value.length > 0 && value.length <= MAX_OPTIONS) return value;
  const got = Array.isArray(value) ? `${value.length}` : brief(value);
  throw problem(path, `${key}: got ${got}, expected a list of 1 to ${MAX_OPTIONS}`);
}

function count(schema: Schema, key: string, path: Path): number | undefined {
  const value = schema[key];
  if (value === undefined || (Number.isSafeInteger(value) && (value as number) >= 0))
    return value as number | undefined;
  throw problem(path, `${key}: got ${brief(value)}, expected an integer of at least 0`);
}

function requiredNames({ required = [] }: Schema, path: Path): string[] {
  if (Array.isArray(required) && required.every((name) => typeof name === 'string'))
    return [...new Set<string>(required)];
  throw problem(path, `required: got ${brief(required)}, expected a list of names`);
}

/** An upper bound, lowered to a limit unless the lower bound is larger. */
function upTo(max: number, min: number, limit: number): number {
  return max === Number.POSITIVE_INFINITY ? max : Math.min(max, Math.max(min, limit));
}

function separated(items: readonly Expression[]): Expression[] {
  return items.flatMap((item, i) => (i === 0 ? [item] : [comma, item]));
}

/** A part of a JSON pointer in a URI fragment. */
function unescaped(part: string): string {
  try {
    return decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~');
  } catch {
    return part;
  }
}

function isObject(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function problem(path: Path, message: string): SchemaError {
  return new SchemaError(path.join('.'), message);
}

function brief(value: unknown): string {
  const text = JSON.stringify(value) ?? `${value}`;
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
