/** Reading the keywords of JSON Schemas. */

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

export type Schema = Readonly<Record<string, unknown>>;

export type Path = readonly string[];

/** Keywords that do not restrict values. */
export const ANNOTATIONS = [
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
  // Of OpenAPI, beside oneOf.
  'discriminator',
  '$defs',
  'definitions',
];

export const KEYWORDS: Readonly<Record<string, readonly string[]>> = {
  string: ['minLength', 'maxLength', 'pattern', 'format'],
  number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'],
  integer: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'],
  boolean: [],
  null: [],
  array: ['items', 'prefixItems', 'minItems', 'maxItems'],
  object: ['properties', 'required', 'additionalProperties', 'propertyNames'],
};

const TYPES = Object.keys(KEYWORDS);

export const SUPPORTED = [
  'type',
  'enum',
  'const',
  'anyOf',
  'oneOf',
  '$ref',
  ...new Set(Object.values(KEYWORDS).flat()),
];

/** Values of an enum, and options of anyOf. */
const MAX_OPTIONS = 1000;

/** The types of a schema; undefined if it allows all. */
export function typesOf(schema: Schema, path: Path): readonly string[] | undefined {
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

export function isOfType(value: unknown, type: string): boolean {
  if (type === 'integer') return Number.isInteger(value);
  if (type === 'null') return value === null;
  if (type === 'array') return Array.isArray(value);
  return type === 'object' ? isObject(value) : typeof value === type;
}

/**
 * Whether no value satisfies two of the schemas: they have other types, or are objects that a required property with const
 * or enum tells apart.
 */
export function areExclusive(options: readonly unknown[]): boolean {
  const schemas = options.filter(isObject);
  if (schemas.length < options.length) return false;
  const types = schemas.map(({ type }) => (type === undefined ? undefined : [type].flat()));
  if (types.every((of) => of !== undefined)) {
    if (areDistinct(types.map((of) => of.map((type) => (type === 'integer' ? 'number' : `${type}`)))))
      return true;
  }
  const [{ properties: first }] = schemas;
  return Object.keys(isObject(first) ? first : {}).some((name) => {
    const values = schemas.map(({ type, properties, required }) => {
      const of = isObject(properties) && Object.hasOwn(properties, name) ? properties[name] : undefined;
      const isRequired = type === 'object' && Array.isArray(required) && required.includes(name);
      if (!isRequired || !isObject(of)) return undefined;
      const listed = 'const' in of ? [of.const] : of.enum;
      return Array.isArray(listed) ? listed.map(canonical) : undefined;
    });
    return values.every((of) => of !== undefined) && areDistinct(values);
  });
}

/** Whether no text is in two of the lists. */
function areDistinct(lists: readonly (readonly string[])[]): boolean {
  const sizes = lists.map((list) => new Set(list).size);
  return new Set(lists.flat()).size === sizes.reduce((a, b) => a + b, 0);
}

/** @throws SchemaError for keywords beside these */
export function requireAlone(schema: Schema, keys: readonly string[], path: Path): void {
  const other = Object.keys(schema).find((key) => !keys.includes(key) && !ANNOTATIONS.includes(key));
  if (other === undefined) return;
  throw problem(
    path,
    `keyword ${brief(other)} is not supported beside ${keys.find((key) => key in schema)}; remove one of them`,
  );
}

/** @throws SchemaError for other than a list of 1 to 1,000 */
export function list(schema: Schema, key: string, path: Path): readonly unknown[] {
  const value = schema[key];
  if (Array.isArray(value) && value.length > 0 && value.length <= MAX_OPTIONS) return value;
  const got = Array.isArray(value) ? `${value.length}` : brief(value);
  throw problem(path, `${key}: got ${got}, expected a list of 1 to ${MAX_OPTIONS}`);
}

export function count(schema: Schema, key: string, path: Path): number | undefined {
  const value = schema[key];
  if (value === undefined || (Number.isSafeInteger(value) && (value as number) >= 0))
    return value as number | undefined;
  throw problem(path, `${key}: got ${brief(value)}, expected an integer of at least 0`);
}

export function requiredNames({ required = [] }: Schema, path: Path): string[] {
  if (Array.isArray(required) && required.every((name) => typeof name === 'string'))
    return [...new Set<string>(required)];
  throw problem(path, `required: got ${brief(required)}, expected a list of names`);
}

export function isObject(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function problem(path: Path, message: string): SchemaError {
  return new SchemaError(path.join('.'), message);
}

export function brief(value: unknown): string {
  const text = JSON.stringify(value) ?? `${value}`;
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** A JSON value with its members in order, for comparison. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part) =>
    isObject(part) ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1))) : part,
  );
}
