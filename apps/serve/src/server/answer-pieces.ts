/** Tokens of the engine to text: what responses are made of, whole or streamed. */

import type { TokenTexts } from '@meap/inference';
import { StopScanner, StopTexts } from './stop-scanner.ts';
import type { FinishReason, StreamedToken, TokenStream } from './token-stream.ts';

/** A token with its place in the text of its choice. */
export interface PlacedToken extends StreamedToken {
  /** Where it begins, in code points. */
  readonly offset: number;
}

/** What a choice grows by. */
export interface Piece {
  /** Of the choice. */
  readonly index: number;
  readonly text: string;
  /** Its tokens, where log-probabilities were asked for. */
  readonly tokens: readonly PlacedToken[];
  /** Tokens generated, a stop id and those of a stop text included. */
  readonly numNew: number;
  /** With the last piece. */
  readonly finish?: FinishReason;
}

/** How tokens become the text of a choice. */
export interface TextOptions {
  readonly texts: TokenTexts;
  readonly stops: StopTexts;
  readonly withTokens: boolean;
  /** Whether the first token begins a text, so that SentencePiece's leading space goes. */
  readonly beginsText: boolean;
}

const NO_STOPS = new StopTexts([]);

/** The pieces of one choice; the last one has `finish`. Leaving early frees the sequence. */
export async function* readPieces(
  stream: TokenStream,
  index: number,
  { texts, stops, withTokens, beginsText }: TextOptions,
): AsyncGenerator<Piece, void, undefined> {
  // A stop text in the prompt ends nothing.
  const prompt = new StopScanner(NO_STOPS);
  const answer = new StopScanner(stops);
  let isFirst = beginsText;
  for await (const batch of stream) {
    await texts.load(batch.flatMap(({ id, top = [] }) => [id, ...top.map((token) => token.id)]));
    let text = '';
    let numNew = 0;
    const tokens: PlacedToken[] = [];
    for (const token of batch) {
      const { id, isPrompt } = token;
      if (!isPrompt) {
        text += prompt.end();
        numNew++;
      }
      if (withTokens) tokens.push({ ...token, offset: prompt.numCharacters + answer.numCharacters });
      const bytes = texts.bytes(id, { isFirst });
      if (texts.bytes(id).length > 0) isFirst = false;
      text += (isPrompt ? prompt : answer).push(bytes);
      if (answer.isStopped) break;
    }
    if (answer.isStopped) {
      yield { index, text, tokens, numNew, finish: 'stop' };
      return;
    }
    if (text !== '' || tokens.length > 0 || numNew > 0) yield { index, text, tokens, numNew };
  }
  yield { index, text: prompt.end() + answer.end(), tokens: [], numNew: 0, finish: stream.finish };
}

/** Items of many sources as they come; leaving early leaves all of them. */
export async function* merge<T>(
  sources: readonly AsyncGenerator<T, void>[],
): AsyncGenerator<T, void, undefined> {
  // Each source puts its next item here and waits until it is taken: an item costs the same however many sources there
  // are, and a slow reader's items grow at their source instead of piling up.
  const queue: { source: AsyncGenerator<T, void>; result: Promise<IteratorResult<T, void>> }[] = [];
  let onItem = () => {};
  const ask = (source: AsyncGenerator<T, void>) => {
    const result = source.next();
    const arrive = () => {
      queue.push({ source, result });
      onItem();
    };
    result.then(arrive, arrive);
  };
  const running = new Set(sources);
  for (const source of sources) ask(source);
  try {
    while (running.size > 0) {
      if (queue.length === 0) {
        await new Promise<void>((resolve) => {
          onItem = resolve;
        });
      }
      const { source, result } = queue.shift()!;
      const item = await result;
      if (item.done) {
        running.delete(source);
        continue;
      }
      yield item.value;
      ask(source);
    }
  } finally {
    // Those that are asked answer first, or never: nobody is to wait for them, nor to hear of their errors.
    for (const source of running) void source.return().catch(() => {});
  }
}
