/** Answers of `/v1/responses`: one object, or server-sent events that end with it. */
import { randomUUID } from 'node:crypto';
import { AnswerParts } from './answer-parts.ts';
import type { Piece } from './answer-pieces.ts';
import type { Plan } from './plan.ts';
import type { ResponseRequest } from './read-request.ts';
import { asApiError } from './refusals.ts';

type Event = Readonly<Record<string, unknown>> & { readonly type: string };

/** An answer to write. */
export interface PlannedResponse {
  readonly request: ResponseRequest;
  readonly plan: Plan;
  /** The name of the model. */
  readonly model: string;
  readonly pieces: AsyncIterable<Piece>;
}

/** Returns the body of a complete answer. */
export async function completeResponse(planned: PlannedResponse): Promise<unknown> {
  let last: Event | undefined;
  for await (const event of eventsOf(planned)) last = event;
  return last!.response;
}

/** Yields server-sent events; a late error is the last event, since the status has been sent. */
export async function* streamedResponse(planned: PlannedResponse): AsyncGenerator<string, void, undefined> {
  let sequence_number = 0;
  const encode = (event: Event) =>
    `event: ${event.type}\ndata: ${JSON.stringify({ ...event, sequence_number: sequence_number++ })}\n\n`;
  try {
    for await (const event of eventsOf(planned)) yield encode(event);
  } catch (error) {
    const { message, param, code } = asApiError(error);
    yield encode({ type: 'error', message, param, code });
  }
}

async function* eventsOf({
  request,
  plan,
  model,
  pieces,
}: PlannedResponse): AsyncGenerator<Event, void, undefined> {
  const output: object[] = [];
  const response = responseOf(request, model);
  const begun = { ...response, status: 'in_progress', output };
  yield { type: 'response.created', response: begun };
  yield { type: 'response.in_progress', response: begun };
  const parts = new AnswerParts(request.tools);
  let message: Message | undefined;
  let output_tokens = 0;
  let isCut = false;
  for await (const { text, finish, numNew } of pieces) {
    output_tokens += numNew;
    isCut ||= finish === 'length';
    const { content, calls } = parts.add(text, finish);
    const isEmpty = finish !== undefined && calls.length === 0 && output.length === 0;
    if (!message && (content !== undefined || isEmpty)) {
      message = new Message(output.length);
      yield* message.open();
    }
    if (message && content !== undefined) yield message.add(content);
    for (const { id, function: called } of calls) {
      if (message) yield* message.close(output, 'completed');
      message = undefined;
      yield* callEvents(output, id, called);
    }
  }
  const status = isCut ? 'incomplete' : 'completed';
  if (message) yield* message.close(output, status);
  const input_tokens = plan.numPromptTokens;
  const usage = {
    input_tokens,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: input_tokens + output_tokens,
  };
  const incomplete_details = isCut ? { reason: 'max_output_tokens' } : null;
  yield { type: `response.${status}`, response: { ...response, status, incomplete_details, output, usage } };
}

function responseOf({ repeated }: ResponseRequest, model: string) {
  return {
    ...{ id: idOf('resp'), object: 'response', created_at: Math.floor(Date.now() / 1000), model },
    ...{ error: null, incomplete_details: null, usage: null },
    ...{ previous_response_id: null, store: false, truncation: 'disabled', metadata: {} },
    ...repeated,
  };
}

/** A message of the answer, with one text. */
class Message {
  readonly #id = idOf('msg');
  readonly #index: number;
  #text = '';

  constructor(index: number) {
    this.#index = index;
  }

  *open(): Iterable<Event> {
    yield this.#event('response.output_item.added', { item: this.#item('in_progress', []) });
    yield this.#partEvent('response.content_part.added', { part: this.#part() });
  }

  add(delta: string): Event {
    this.#text += delta;
    return this.#partEvent('response.output_text.delta', { delta, logprobs: [] });
  }

  *close(output: object[], status: string): Iterable<Event> {
    const item = this.#item(status, [this.#part()]);
    output.push(item);
    yield this.#partEvent('response.output_text.done', { text: this.#text, logprobs: [] });
    yield this.#partEvent('response.content_part.done', { part: this.#part() });
    yield this.#event('response.output_item.done', { item });
  }

  #item(status: string, content: object[]) {
    return { id: this.#id, type: 'message', status, role: 'assistant', content };
  }

  #part() {
    return { type: 'output_text', text: this.#text, annotations: [], logprobs: [] };
  }

  #partEvent(type: string, more: object): Event {
    return this.#event(type, { item_id: this.#id, content_index: 0, ...more });
  }

  #event(type: string, more: object): Event {
    return { type, output_index: this.#index, ...more };
  }
}

/** A call arrives as a whole. */
function* callEvents(
  output: object[],
  call_id: string,
  { name, arguments: json }: { name: string; arguments: string },
): Iterable<Event> {
  const [item_id, output_index] = [idOf('fc'), output.length];
  const item = { id: item_id, type: 'function_call', status: 'completed', call_id, name, arguments: json };
  output.push(item);
  const begun = { ...item, status: 'in_progress', arguments: '' };
  yield { type: 'response.output_item.added', output_index, item: begun };
  yield { type: 'response.function_call_arguments.delta', output_index, item_id, delta: json };
  yield { type: 'response.function_call_arguments.done', output_index, item_id, name, arguments: json };
  yield { type: 'response.output_item.done', output_index, item };
}

const idOf = (kind: string) => `${kind}_${randomUUID().replaceAll('-', '')}`;
