/** Computes a plan: the whole answer as one body, or server-sent events as it grows. */
import { merge, type Piece, type PlacedToken, readPieces } from './answer-pieces.ts';
import type { CompletionEngine } from './completion-engine.ts';
import type { Plan, Served, Usage } from './plan.ts';
import { asApiError } from './refusals.ts';
import { StopTexts } from './stop-scanner.ts';
import type { FinishReason } from './token-stream.ts';

/** What an answer tells about itself as it is made. */
export interface AnswerEvents {
  onPrompt(numTokens: number): void;
  onNewTokens(numTokens: number): void;
}

/**
 * Hands a plan to the engine.
 *
 * @returns the pieces of all choices as they come
 */
export function startAnswer(
  { sequences, stops, beginsText, numPromptTokens }: Plan,
  {
    engine,
    served,
    signal,
    events,
  }: { engine: CompletionEngine; served: Served; signal: AbortSignal; events: AnswerEvents },
): AsyncGenerator<Piece, void, undefined> {
  const streams = engine.submit(sequences, signal);
  events.onPrompt(numPromptTokens);
  const stopTexts = new StopTexts(stops);
  const sources = streams.map((stream, index) => {
    const withTokens = sequences[index].numTop !== undefined;
    return readPieces(stream, index, {
      texts: served.texts,
      stops: stopTexts,
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

/** The body of a whole answer; its choices are worded when it is written. */
export async function wholeAnswer(plan: Plan, pieces: AsyncIterable<Piece>): Promise<object> {
  const choices = plan.sequences.map((_, index) => {
    return { index, text: '', tokens: [] as PlacedToken[], finish: 'stop' as FinishReason };
  });
  let numNew = 0;
  for await (const piece of pieces) {
    const choice = choices[piece.index];
    choice.text += piece.text;
    for (const token of piece.tokens) choice.tokens.push(token);
    if (piece.finish) choice.finish = piece.finish;
    numNew += piece.numNew;
  }
  function* worded() {
    for (const choice of choices) {
      yield plan.format.choice(choice);
      choice.tokens.length = 0;
    }
  }
  return { ...plan.format.body, choices: worded(), usage: usageOf(plan, numNew) };
}

/**
 * The answer as the text of server-sent events, ended by `[DONE]`.
 *
 * An error in the middle becomes the last event, since the status has been sent.
 */
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
