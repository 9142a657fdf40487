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
import { arrayOf, comma, isPlain, JSON_RULES, objectOf, space, textOtherThan } from './json-grammar.ts';
import {
  ANNOTATIONS,
  areExclusive,
  brief,
  count,
  isObject,
  KEYWORDS,
  list,
  type Path,
  problem,
  requireAlone,
  requiredNames,
  type Schema,
  SchemaError,
  SUPPORTED,
  typesOf,
} from './schema-keywords.ts';
import { listedValues, numberValues, stringValues, upTo } from './schema-scalars.ts';

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
 * @param build the grammar, from the values of each schema; may add rules of its own
 * @throws SchemaError as {@link schemaGrammar}; its path starts with the index of the schema
 */
export function compileSchemas(
  schemas: readonly unknown[],
  build: (values: readonly Expression[], rules: Map<string, Expression>) => Expression,
): Grammar {
  return compile((rules) => {
    const values = schemas.map((schema, i) => {
      const base = [`${i}`];
      return new SchemaCompiler(schema, { rules, base }).value(schema, base);
    });
    return build(values, rules);
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

const MAX_ITEMS = 1000;
const MAX_NAME = 256;
/** References that are followed to tell options apart. */
const MAX_REFERENCES = 16;

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
    if ('oneOf' in schema) {
      requireAlone(schema, ['oneOf'], path);
      const options = list(schema, 'oneOf', path);
      if (!areExclusive(options.map((option) => this.#resolved(option)))) {
        const expected =
          'objects that a required property with const or enum tells apart, or schemas of other types';
        throw problem(path, `oneOf: got options that may overlap, expected ${expected}; use anyOf`);
      }
      return choice(...options.map((option, i) => this.value(option, [...path, 'oneOf', `${i}`])));
    }
    const types = typesOf(schema, path);
    if ('enum' in schema || 'const' in schema) {
      requireAlone(schema, ['enum', 'const', 'type'], path);
      return listedValues(schema, types, path);
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
        return stringValues(schema, path);
      case 'number':
      case 'integer':
        return numberValues(schema, type === 'integer', path);
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

  /** The schema that a reference leads to. */
  #resolved(schema: unknown): unknown {
    let at = schema;
    for (let i = 0; i < MAX_REFERENCES && isObject(at) && typeof at.$ref === 'string'; i++)
      at = this.#find(at.$ref);
    return at;
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
