/** Computes a plan: the complete answer as one body, or server-sent events. */
import { merge, type OffsetToken, type Piece, readPieces } from './answer-pieces.ts';
import type { CompletionEngine } from './completion-engine.ts';
import type { Plan, ServedModel, Usage } from './plan.ts';
import { asApiError } from './refusals.ts';
import { StopSequences } from './stop-scanner.ts';
import type { FinishReason } from './token-stream.ts';

/** Callbacks during an answer. */
export interface AnswerEvents {
  onPrompt(numTokens: number): void;
  onNewTokens(numTokens: number): void;
}

/** Submits a plan to the engine; returns the pieces of all choices in order of arrival. */
export function startAnswer(
  { sequences, stops, beginsText, numPromptTokens }: Plan,
  {
    engine,
    served,
    signal,
    events,
  }: { engine: CompletionEngine; served: ServedModel; signal: AbortSignal; events: AnswerEvents },
): AsyncGenerator<Piece, void, undefined> {
  const streams = engine.submit(served, sequences, signal);
  events.onPrompt(numPromptTokens);
  const stopSequences = new StopSequences(stops);
  const sources = streams.map((stream, index) => {
    const withTokens = sequences[index].numTop !== undefined;
    return readPieces(stream, index, {
      texts: served.texts,
      stops: stopSequences,
      withTokens,
      beginsText: beginsText[index],
    });
  });
  return counted(merge(sources), events);
}

async function* counted(pieces: AsyncGenerator<Piece, void>, { onNewTokens }: AnswerEvents) {
  for await (const piece of pieces) {
    if (piece.numNew > 0) onNewTokens(piece.numNew);
    yield piece;
  }
}

/** Returns the body of a complete answer; its choices are formatted while it is written. */
export async function completeAnswer(plan: Plan, pieces: AsyncIterable<Piece>): Promise<object> {
  const choices = plan.sequences.map((_, index) => {
    return { index, text: '', tokens: [] as OffsetToken[], finish: 'stop' as FinishReason };
  });
  let numNew = 0;
  for await (const piece of pieces) {
    const choice = choices[piece.index];
    choice.text += piece.text;
    for (const token of piece.tokens) choice.tokens.push(token);
    if (piece.finish) choice.finish = piece.finish;
    numNew += piece.numNew;
  }
  function* formatted() {
    for (const choice of choices) {
      yield plan.format.choice(choice);
      choice.tokens.length = 0;
    }
  }
  return { ...plan.format.body, choices: formatted(), usage: usageOf(plan, numNew) };
}

/** Yields server-sent events, ending with `[DONE]`; a late error is the last event, since the status has been sent. */
export async function* streamedAnswer(
  plan: Plan,
  pieces: AsyncIterable<Piece>,
): AsyncGenerator<string, void, undefined> {
  const { chunk, opening, delta } = plan.format;
  const usage = plan.includeUsage ? { usage: null } : {};
  const event = (choice: object) => eventOf({ ...chunk, choices: [choice], ...usage });
  let numNew = 0;
  try {
    if (opening) for (const index of plan.sequences.keys()) yield event(opening(index));
    for await (const piece of pieces) {
      numNew += piece.numNew;
      if (piece.text !== '' || piece.tokens.length > 0 || piece.finish) yield event(delta(piece));
    }
    if (plan.includeUsage) yield eventOf({ ...chunk, choices: [], usage: usageOf(plan, numNew) });
    yield 'data: [DONE]\n\n';
  } catch (error) {
    yield eventOf(asApiError(error).body);
  }
}

function eventOf(value: object): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

function usageOf({ numPromptTokens: prompt_tokens }: Plan, completion_tokens: number): Usage {
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
}
