/** Tools of a chat request: the conversation with them, and what answers may call. */
import {
  type CallableFunction,
  type Grammar,
  optionalToolCallGrammar,
  SchemaError,
  type ToolCallForm,
  toolCallGrammar,
} from '@meap/inference';
import { type Conversation, withTools } from '@meap/token-dataset';
import { type ApiError, invalidField } from './api-error.ts';
import type { ChatFields } from './request-fields.ts';

/** How tool calls are found in answers. */
export interface ToolUse {
  readonly form: ToolCallForm;
  /** Functions that may be called. */
  readonly names: readonly string[];
  /** Calls of an answer; further ones are omitted. */
  readonly maxCalls: number;
  /** Whether an answer must be a call; else it may be any text. */
  readonly isRequired: boolean;
}

type Tools = NonNullable<ChatFields['tools']>;

/** Returns the conversation as chat templates take it, without undefined members, which they would write. */
export function conversationOf(messages: ChatFields['messages'], tools: Tools): Conversation {
  const roles = {
    developer: 'system',
    system: 'system',
    user: 'user',
    assistant: 'assistant',
    tool: 'tool',
  } as const;
  const conversation = messages.map(({ role, content, tool_calls: calls = [], tool_call_id }) => ({
    role: roles[role],
    content,
    ...(calls.length > 0 && {
      tool_calls: calls.map(({ id, type, function: { name, arguments: of } }) => ({
        id,
        type,
        function: { name, arguments: of },
      })),
    }),
    ...(tool_call_id !== undefined && { tool_call_id }),
  }));
  return withTools(
    conversation,
    tools.map(({ type, function: { name, description, parameters } }) => ({
      type,
      function: { name, ...(description && { description }), ...(parameters && { parameters }) },
    })),
  );
}

/**
 * Checks tools and tool_choice.
 *
 * @param options `form`: how the chat template writes calls
 * @returns undefined if answers are texts; else a grammar, unless every answer is one of it
 * @throws ApiError 400
 */
export function readTools(
  tools: Tools,
  {
    fields: {
      tool_choice: choice = tools.length > 0 ? 'auto' : 'none',
      parallel_tool_calls: isParallel = true,
    },
    format,
    form,
  }: {
    fields: Pick<ChatFields, 'tool_choice' | 'parallel_tool_calls'>;
    format: ChatFields['response_format'];
    form: ToolCallForm | undefined;
  },
): { tools: ToolUse; grammar?: Grammar } | undefined {
  const names = tools.map(({ function: { name } }) => name);
  const twice = names.findIndex((name, i) => names.indexOf(name) < i);
  if (twice >= 0)
    throw invalidField(`tools.${twice}.function.name`, `got ${names[twice]} twice, expected distinct names`);
  if (choice === 'none') return undefined;
  if (tools.length === 0) {
    if (choice === 'auto') return undefined;
    throw invalidField('tool_choice', 'got it without tools, expected tools; omit it');
  }
  if (!form) {
    const problem =
      'the chat template writes tool calls in no known form, expected that of Llama 3.1, Qwen2.5 or Hermes; omit them, or ' +
      'start the server with another --chat-template';
    throw invalidField('tools', problem);
  }
  if (format !== undefined && format.type !== 'text') {
    throw invalidField(
      'response_format',
      `got ${format.type} with tools, expected one of them; set tool_choice: none`,
    );
  }
  const maxCalls = isParallel && form.open !== '' ? Number.POSITIVE_INFINITY : 1;
  const use = { form, names, maxCalls, isRequired: choice !== 'auto' };
  if (choice === 'auto') {
    return { tools: use, grammar: optionalCalls(form, tools.map(callable), maxCalls > 1) };
  }
  const chosen = choice === 'required' ? names : names.filter((name) => name === choice.function.name);
  if (chosen.length === 0 && typeof choice === 'object') {
    throw invalidField(
      'tool_choice.function.name',
      `got '${choice.function.name.slice(0, 100)}', expected one of ${names.join(', ').slice(0, 500)}`,
    );
  }
  const functions = tools.filter(({ function: { name } }) => chosen.includes(name)).map(callable);
  try {
    const several = isParallel && choice === 'required';
    return {
      tools: { ...use, names: chosen, maxCalls: several ? use.maxCalls : 1 },
      grammar: toolCallGrammar(form, functions, { isParallel: several }),
    };
  } catch (error) {
    throw error instanceof SchemaError ? schemaProblem(error, tools, functions) : error;
  }
}

const callable = ({ function: of }: Tools[number]): CallableFunction => ({
  name: of.name,
  parameters: of.parameters ? { type: 'object', ...of.parameters } : undefined,
});

/** The grammar of answers with calls or without; the arguments for a schema that is not supported are any object. */
function optionalCalls(
  form: ToolCallForm,
  functions: readonly CallableFunction[],
  isParallel: boolean,
): Grammar | undefined {
  try {
    return optionalToolCallGrammar(form, functions, { isParallel });
  } catch (error) {
    if (!(error instanceof SchemaError)) throw error;
    // Without a path all of them together are too large.
    const index = error.path === '' ? -1 : Number(error.path.split('.')[0]);
    const isPlain = ({ parameters }: CallableFunction) => parameters === ANY_OBJECT;
    if (functions.every(isPlain) || (index >= 0 && isPlain(functions[index]))) return undefined;
    const simpler = functions.map((of, i) =>
      index < 0 || i === index ? { ...of, parameters: ANY_OBJECT } : of,
    );
    return optionalCalls(form, simpler, isParallel);
  }
}

const ANY_OBJECT = { type: 'object' };

/** An error in the parameters of a function, with the path in the request. */
function schemaProblem(
  { path, message }: SchemaError,
  tools: Tools,
  functions: readonly { readonly name: string }[],
): ApiError {
  if (path === '') return invalidField('tools', `parameters: ${message}`);
  const [index, ...rest] = path.split('.');
  const tool = tools.findIndex(({ function: { name } }) => name === functions[Number(index)].name);
  return invalidField(['tools', tool, 'function', 'parameters', ...rest].join('.').slice(0, 400), message);
}
