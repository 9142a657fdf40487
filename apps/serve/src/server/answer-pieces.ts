/** Converts the engine's tokens to pieces of text. */
import type { TokenTexts } from '@meap/inference';
import { StopScanner, StopSequences } from './stop-scanner.ts';
import type { FinishReason, StreamedToken, TokenStream } from './token-stream.ts';

/** A token with its position in the text of its choice. */
export interface OffsetToken extends StreamedToken {
  /** Start of the token in code points. */
  readonly offset: number;
}

export interface Piece {
  /** Index of the choice. */
  readonly index: number;
  readonly text: string;
  /** The tokens, if log-probabilities were requested. */
  readonly tokens: readonly OffsetToken[];
  /** Tokens generated, including stop ids and tokens of stop sequences. */
  readonly numNew: number;
  /** Set for the last piece. */
  readonly finish?: FinishReason;
}

export interface TextOptions {
  readonly texts: TokenTexts;
  readonly stops: StopSequences;
  readonly withTokens: boolean;
  /** Whether the first token starts a text, so that SentencePiece's leading space is removed. */
  readonly beginsText: boolean;
}

const NO_STOPS = new StopSequences([]);

/** Yields the pieces of a choice; the last one has `finish`. Returning early cancels the sequence. */
export async function* readPieces(
  stream: TokenStream,
  index: number,
  { texts, stops, withTokens, beginsText }: TextOptions,
): AsyncGenerator<Piece, void, undefined> {
  // Stop sequences in the prompt are ignored.
  const prompt = new StopScanner(NO_STOPS);
  const answer = new StopScanner(stops);
  let isFirst = beginsText;
  for await (const batch of stream) {
    await texts.load(batch.flatMap(({ id, top = [] }) => [id, ...top.map((token) => token.id)]));
    let text = '';
    let numNew = 0;
    const tokens: OffsetToken[] = [];
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

/** Merges sources in order of arrival; returning early returns all of them. */
export async function* merge<T>(
  sources: readonly AsyncGenerator<T, void>[],
): AsyncGenerator<T, void, undefined> {
  // At most one item per source: the cost of an item does not depend on the number of sources, and nothing is buffered
  // for a slow reader.
  const queue: { source: AsyncGenerator<T, void>; result: Promise<IteratorResult<T, void>> }[] = [];
  let onItem = () => {};
  const request = (source: AsyncGenerator<T, void>) => {
    const result = source.next();
    const enqueue = () => {
      queue.push({ source, result });
      onItem();
    };
    result.then(enqueue, enqueue);
  };
  const running = new Set(sources);
  for (const source of sources) request(source);
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
      request(source);
    }
  } finally {
    // Not awaited: a pending source may never settle. Errors are ignored.
    for (const source of running) void source.return().catch(() => {});
  }
}
