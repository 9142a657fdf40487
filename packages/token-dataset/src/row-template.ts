/**
 * Jinja templates of texts from rows, rendered as Python's `jinja2` does for lm-evaluation-harness 0.4.13
 * (`apply_template` in `lm_eval/utils.py`): a trailing line break stays, values are written as Python writes them, and a
 * missing field is an error.
 */
import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja';
import { reasonOf, TemplateError } from './errors.ts';
import { STRIP_FUNCTIONS, usePythonStrip } from './python-strings.ts';

/** A value of the library while a template runs. */
interface RuntimeValue {
  readonly type: string;
  readonly value: unknown;
  toString(): string;
}

type Node = { type: string } & Record<string, unknown>;

const global = new Environment();
const constants = { true: true, True: true, false: false, False: false, none: null, None: null };
for (const [name, value] of Object.entries(constants)) global.set(name, value);
for (const [name, value] of Object.entries(STRIP_FUNCTIONS)) global.set(name, value);

/** Classes that the library does not export. */
const FunctionValue = global.set(' f', () => null).constructor as new (
  run: (args: RuntimeValue[]) => unknown,
) => never;
const runtimeValue = (value: unknown) => new Environment().set('value', value);

/** Defines a function of plain values. */
function define(name: string, run: (...args: never[]) => unknown): void {
  global.variables.set(
    name,
    new FunctionValue((args) => runtimeValue(run(...(args.map(unwrapped) as never[])))),
  );
}

define('range', (start: number, stop?: number, step = 1) => {
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  return Array.from({ length: Math.max(0, Math.ceil((to - from) / step)) }, (_, i) => from + i * step);
});

/** Methods of Python that the library lacks, or that differ there. */
const METHODS: Readonly<Record<string, (self: unknown, ...args: unknown[]) => unknown>> = {
  index(self, wanted) {
    const at =
      typeof self === 'string'
        ? self.indexOf(String(wanted))
        : (self as unknown[]).findIndex((one) => isEqual(one, wanted));
    if (at < 0) throw new Error(`index: ${JSON.stringify(wanted)} is not in ${JSON.stringify(self)}`);
    return at;
  },
  join: (self, texts) => (texts as unknown[]).join(String(self)),
  capitalize(self) {
    const [first = '', ...rest] = String(self);
    return first.toUpperCase() + rest.join('').toLowerCase();
  },
  find: (self, wanted) => String(self).indexOf(String(wanted)),
  count: (self, wanted) => String(self).split(String(wanted)).length - 1,
  isdigit: (self) => /^\d+$/.test(String(self)),
  removeprefix: (self, start) => withoutPart(String(self), String(start), 0),
  removesuffix: (self, end) =>
    withoutPart(String(self), String(end), String(self).length - String(end).length),
};
/** Names that no template can spell. */
const nameOf = (method: string) => ` .${method}`;
for (const [name, method] of Object.entries(METHODS)) define(nameOf(name), method);

/** Equality without conversion of types, which the library's has; true equals 1. */
const EQUAL = ' ==';
define(EQUAL, isEqual);

const WRITE = ' write';
global.variables.set(WRITE, new FunctionValue(([value, name]) => runtimeValue(written(value, name))));

const STATEMENTS = new Set([
  'Set',
  'If',
  'For',
  'Macro',
  'Comment',
  'CallStatement',
  'FilterStatement',
  'Break',
  'Continue',
]);

/** A template of rows. */
export class RowTemplate {
  readonly #program: ReturnType<typeof parse>;
  readonly #name: string;

  /**
   * @param name of the template in errors
   * @throws TemplateError for a text that is no Jinja
   */
  constructor(source: string, name: string) {
    this.#name = name;
    try {
      // The library removes one line break at the end.
      this.#program = parse(tokenize(`${source.replace(/\r\n?/g, '\n')}\n`));
    } catch (error) {
      throw this.#error(error);
    }
    usePythonStrip({ parsed: this.#program } as Parameters<typeof usePythonStrip>[0]);
    adapt(this.#program as unknown as Node);
  }

  /** @throws TemplateError for a missing field, or an operation that is not possible or not supported */
  render(row: Readonly<Record<string, unknown>>): string {
    const scope = new Environment(new Environment(global));
    try {
      for (const [name, value] of Object.entries(row)) scope.set(name, plain(value));
      return String((new Interpreter(scope).run(this.#program) as RuntimeValue).value);
    } catch (error) {
      throw this.#error(error);
    }
  }

  #error(error: unknown): TemplateError {
    return new TemplateError(`${this.#name}: the template fails: ${reasonOf(error)}`, { cause: error });
  }
}

/** Integers of Parquet as numbers. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

function isEqual(a: unknown, b: unknown): boolean {
  const json = (value: unknown) =>
    JSON.stringify(value, (_, inner) => (typeof inner === 'boolean' ? Number(inner) : inner));
  return json(a) === json(b);
}

/** Makes a program write values as Python does, and call {@link METHODS}. */
function adapt(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  if (value instanceof Map) {
    for (const entry of value) adapt(entry);
    return;
  }
  for (const child of Object.values(value)) adapt(child);
  const node = value as Node;
  const callee = node.callee as Node | undefined;
  const method = (callee?.property as Node | undefined)?.value;
  if (node.type === 'CallExpression' && callee?.type === 'MemberExpression' && !callee.computed) {
    if (typeof method !== 'string' || !Object.hasOwn(METHODS, method)) return;
    node.args = [callee.object, ...(node.args as unknown[])];
    node.callee = { type: 'Identifier', value: nameOf(method) };
  }
  if (node.type === 'FilterExpression' && (node.filter as Node).value === 'string') {
    Object.assign(node, call(WRITE, node.operand));
  }
  const { value: operator } = (node.operator ?? {}) as { value?: string };
  if (node.type === 'BinaryExpression' && (operator === '==' || operator === '!=')) {
    const equal = call(EQUAL, node.left, node.right);
    const not = {
      type: 'UnaryExpression',
      operator: { type: 'UnaryOperator', value: 'not' },
      argument: equal,
    };
    Object.assign(node, operator === '==' ? equal : not);
  }
  for (const key of ['body', 'alternate', 'defaultBlock']) {
    const block = node[key];
    if (Array.isArray(block)) node[key] = block.map((statement: Node) => writing(statement));
  }
}

/** An expression whose value is written. */
function writing(statement: Node): Node {
  if (STATEMENTS.has(statement.type)) return statement;
  const name = statement.type === 'Identifier' ? [{ type: 'StringLiteral', value: statement.value }] : [];
  return call(WRITE, statement, ...name);
}

const call = (name: string, ...args: unknown[]): Node => ({
  type: 'CallExpression',
  callee: { type: 'Identifier', value: name },
  args,
});

/** The plain value of one of the library. */
function unwrapped({ type, value }: RuntimeValue): unknown {
  if (type === 'ArrayValue' || type === 'TupleValue') return (value as RuntimeValue[]).map(unwrapped);
  if (type !== 'ObjectValue') return value;
  return Object.fromEntries(
    [...(value as Map<string, RuntimeValue>)].map(([key, inner]) => [key, unwrapped(inner)]),
  );
}

/** `str(value)` of Python for JSON values: `['it', None]`. */
export function pythonText(value: unknown): string {
  return written(runtimeValue(plain(value)) as RuntimeValue);
}

/** `str(value)`; `name` is that of a field. */
function written(value: RuntimeValue, name?: RuntimeValue): string {
  if (value.type === 'UndefinedValue') {
    throw new Error(`${name ? `field ${name.value}` : 'a field'} is missing`);
  }
  return value.type === 'StringValue' ? String(value.value) : represented(value);
}

/** `repr(value)`. */
function represented(value: RuntimeValue): string {
  switch (value.type) {
    case 'NullValue':
      return 'None';
    case 'BooleanValue':
      return value.value ? 'True' : 'False';
    case 'StringValue':
      return quoted(String(value.value));
    case 'ArrayValue':
      return `[${(value.value as RuntimeValue[]).map(represented).join(', ')}]`;
    case 'TupleValue': {
      const items = (value.value as RuntimeValue[]).map(represented);
      return items.length === 1 ? `(${items[0]},)` : `(${items.join(', ')})`;
    }
    case 'ObjectValue': {
      const entries = [...(value.value as Map<string, RuntimeValue>)];
      return `{${entries.map(([key, inner]) => `${quoted(key)}: ${represented(inner)}`).join(', ')}}`;
    }
    default:
      return value.toString();
  }
}

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** `repr` of a text: in single quotes unless it has only those; what is not printable is escaped. */
function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const inner = text.replace(/[\\\p{C}\p{Z}'"]/gu, (character) => {
    if (character === ' ' || (/['"]/.test(character) && character !== quote)) return character;
    if (character === quote) return `\\${quote}`;
    const code = character.codePointAt(0)!;
    const hex = (digits: number) => code.toString(16).padStart(digits, '0');
    return (
      ESCAPES[character] ?? (code < 0x100 ? `\\x${hex(2)}` : code < 0x10000 ? `\\u${hex(4)}` : `\\U${hex(8)}`)
    );
  });
  return quote + inner + quote;
}

function withoutPart(text: string, part: string, at: number): string {
  if (part === '' || at < 0 || !text.startsWith(part, at)) return text;
  return text.slice(0, at) + text.slice(at + part.length);
}
