/** Grammars of answers that are tool calls. */
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
  const schemas = functions.map(({ parameters = NO_ARGUMENTS }) => parameters);
  return compileSchemas(schemas, (values) => {
    const bodies = values.map(
      (value, i): Expression =>
        sequence(`{"name": ${JSON.stringify(functions[i].name)}, "${argumentsKey}": `, value, '}'),
    );
    const call = sequence(open, choice(...bodies), close);
    return isParallel && open !== '' ? sequence(call, repeat(sequence('\n', call))) : call;
  });
}
