/** Grammars of answers that are tool calls, or may contain some. */
import type { ToolCallForm } from '../tool-calls.ts';
import { choice, type Expression, type Grammar, repeat, sequence } from './grammar.ts';
import { compileSchemas } from './json-schema.ts';

/** A function that a model may call. */
export interface CallableFunction {
  readonly name: string;
  /** JSON Schema of the arguments, an object; without it there are none. */
  readonly parameters?: unknown;
}

const NO_ARGUMENTS = { type: 'object', properties: {}, additionalProperties: false };

/**
 * Answers that are calls of these functions: one, or in forms with tags several if `isParallel`.
 *
 * @throws SchemaError for parameters that are not supported; its path starts with the index of the function
 */
export function toolCallGrammar(
  { open, close, argumentsKey }: ToolCallForm,
  functions: readonly CallableFunction[],
  { isParallel }: { isParallel: boolean },
): Grammar {
  return compileSchemas(schemasOf(functions), (values) => {
    const call = sequence(open, choice(...bodiesOf(functions, values, argumentsKey)), close);
    return isParallel && open !== '' ? sequence(call, repeat(sequence('\n', call))) : call;
  });
}

/**
 * Answers in which these functions may be called: any text, but a call that has begun is one of a function, with arguments
 * of its schema.
 *
 * A call begins with the tag of the form; in a form without tags, with `{"name": "NAME"` as the start of the answer, for a
 * function of that name. `isParallel`: whether text and further calls may follow.
 *
 * @throws SchemaError as {@link toolCallGrammar}
 */
export function optionalToolCallGrammar(
  form: ToolCallForm,
  functions: readonly CallableFunction[],
  { isParallel }: { isParallel: boolean },
): Grammar {
  return compileSchemas(schemasOf(functions), (values, rules) => {
    if (form.open === '') return wholeCall(functions, values, form.argumentsKey, rules);
    const tag = form.open.trimEnd();
    const bodies = choice(...bodiesOf(functions, values, form.argumentsKey));
    const call = sequence(form.open.slice(tag.length), bodies, form.close);
    return textBefore(tag, rules, (text) => (isParallel ? sequence(call, text) : call));
  });
}

const schemasOf = (functions: readonly CallableFunction[]) =>
  functions.map(({ parameters = NO_ARGUMENTS }) => parameters);

function bodiesOf(
  functions: readonly CallableFunction[],
  values: readonly Expression[],
  argumentsKey: string,
): Expression[] {
  return values.map((value, i) =>
    sequence(`{"name": ${JSON.stringify(functions[i].name)}, "${argumentsKey}": `, value, '}'),
  );
}

/** Any text without a tag, after which `then` follows; the rules are the states of Knuth, Morris and Pratt's search. */
function textBefore(
  tag: string,
  rules: Map<string, Expression>,
  then: (text: Expression) => Expression,
): Expression {
  const bytes = [...new TextEncoder().encode(tag)];
  const rule = (numFound: number): Expression => ({ rule: `text ${numFound}` });
  /** Bytes of the tag at the end of the text after `numFound` of them and another byte. */
  const step = (numFound: number, byte: number): number => {
    const text = [...bytes.slice(0, numFound), byte];
    let length = numFound + 1;
    while (length > 0 && !text.slice(text.length - length).every((one, i) => one === bytes[i])) length--;
    return length;
  };
  for (const numFound of bytes.keys()) {
    const known = [...new Set(bytes)];
    const steps = known.map((byte): Expression => {
      const next = step(numFound, byte);
      return sequence(oneByte(byte), next === bytes.length ? then(rule(0)) : rule(next));
    });
    rules.set(`text ${numFound}`, choice('', ...steps, sequence(otherBytes(known), rule(0))));
  }
  return rule(0);
}

/** Any text; one that starts as a call of a function goes on as a call of it, with white space between its parts. */
function wholeCall(
  functions: readonly CallableFunction[],
  values: readonly Expression[],
  argumentsKey: string,
  rules: Map<string, Expression>,
): Expression {
  const space = repeat({ bytes: [[0x20, 0x20] as const, [0x09, 0x0a] as const, [0x0d, 0x0d] as const] });
  const starts = new Map(
    functions.flatMap(({ name }, i) => {
      const rest = sequence(space, ',', space, `"${argumentsKey}"`, space, ':', space, values[i], space, '}');
      // Llama 3.1 also writes a type.
      return ['{', '{"type":"function",'].map((start) => [`${start}"name":${JSON.stringify(name)}`, rest]);
    }),
  );
  const prefixes = new Set(
    [...starts.keys()].flatMap((start) => [...start].map((_, i) => start.slice(0, i))),
  );
  const rule = (prefix: string): Expression => ({ rule: `start ${prefix}` });
  rules.set('any text', choice('', sequence({ bytes: [[0, 0xff]] }, { rule: 'any text' })));
  for (const prefix of prefixes) {
    const isBetween = prefix.split('"').length % 2 === 1;
    const next = [...prefixes, ...starts.keys()].filter(
      (longer) => longer.length === prefix.length + 1 && longer.startsWith(prefix),
    );
    const steps = next.map((longer) =>
      sequence(longer.slice(-1), (starts.get(longer) as Expression | undefined) ?? rule(longer)),
    );
    const spaces = isBetween ? [0x09, 0x0a, 0x0d, 0x20] : [];
    const known = [...next.map((longer) => longer.charCodeAt(prefix.length)), ...spaces];
    rules.set(
      `start ${prefix}`,
      choice(
        '',
        ...steps,
        ...spaces.map((byte) => sequence(oneByte(byte), rule(prefix))),
        sequence(otherBytes(known), { rule: 'any text' }),
      ),
    );
  }
  return rule('');
}

const oneByte = (byte: number): Expression => ({ bytes: [[byte, byte]] });

/** A byte that is none of these. */
function otherBytes(known: readonly number[]): Expression {
  const ranges: [number, number][] = [];
  let from = 0;
  for (const byte of [...known, 0x100].sort((a, b) => a - b)) {
    if (byte > from) ranges.push([from, byte - 1]);
    from = Math.max(from, byte + 1);
  }
  return { bytes: ranges };
}
