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

/** How a call without tags starts, without white space; Llama 3.1 also writes a type. */
const CALL_STARTS = ['{"name":"', '{"type":"function","name":"'];

/** Any text; one that starts as a call of a function goes on as a call of it, with white space between its parts. */
function wholeCall(
  functions: readonly CallableFunction[],
  values: readonly Expression[],
  argumentsKey: string,
  rules: Map<string, Expression>,
): Expression {
  /** What follows each byte, by the rule of the text before; all other bytes end the call. */
  const steps = new Map<string, Map<number, Expression>>();
  const add = (before: string, next: string, then: Expression) => {
    const known = steps.get(before) ?? new Map<number, Expression>();
    steps.set(before, known.set(next.charCodeAt(0), then));
  };
  const rule = (name: string): Expression => ({ rule: name });
  for (const start of CALL_STARTS) {
    for (const [i, next] of [...start].entries()) {
      const isEnd = i === start.length - 1;
      add(`start ${start.slice(0, i)}`, next, rule(isEnd ? 'name ' : `start ${start.slice(0, i + 1)}`));
    }
  }
  const space = repeat({ bytes: SPACES.map((byte) => [byte, byte] as const) });
  for (const [index, { name }] of functions.entries()) {
    for (const [i, next] of [...name].entries())
      add(`name ${name.slice(0, i)}`, next, rule(`name ${name.slice(0, i + 1)}`));
    const value = [space, values[index], space, '}'];
    add(`name ${name}`, '"', sequence(space, ',', space, `"${argumentsKey}"`, space, ':', ...value));
  }
  rules.set('any text', choice('', sequence({ bytes: [[0, 0xff]] }, rule('any text'))));
  for (const [before, known] of steps) {
    // Outside of quotes.
    if (before.startsWith('start ') && before.split('"').length % 2 === 1) {
      for (const byte of SPACES) known.set(byte, rule(before));
    }
    const options = Array.from(known, ([byte, then]) => sequence(oneByte(byte), then));
    rules.set(before, choice('', ...options, sequence(otherBytes([...known.keys()]), rule('any text'))));
  }
  return rule('start ');
}

/** White space of JSON. */
const SPACES = [0x09, 0x0a, 0x0d, 0x20];

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
