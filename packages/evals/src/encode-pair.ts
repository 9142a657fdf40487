/** Encodes texts as score requests, as lm-evaluation-harness 0.4.13 does (`TemplateLM._encode_pair`, `HFLM`). */
import { EvalsError } from './error.ts';
import type { ScoreRequest, TextTokenizer } from './language-model.ts';
import { stripEnd } from './python-text.ts';
import type { ItemRequests, TaskModel } from './task.ts';

/** How texts become ids. */
export interface EncodingOptions {
  /**
   * Whether BOS precedes the context.
   *
   * Default false, as in the harness up to 0.4.7 and for `local-completions`. Later versions of `--model hf` add BOS if
   * the tokenizer does, or with `add_bos_token=True`.
   */
  readonly bos?: boolean;
}

/**
 * Encodes a context and its continuation.
 *
 * Trailing white space of the context moves to the continuation, as tokenizers expect; the continuation's ids are those
 * of the joined text after as many ids as the context has alone. An empty context becomes BOS, or EOS without BOS.
 *
 * @throws EvalsError if BOS is required, by option or for an empty context, and the tokenizer has none
 */
export function encodePair(
  tokenizer: TextTokenizer,
  context: string,
  continuation: string,
  { bos = false }: EncodingOptions = {},
): ScoreRequest {
  const before = stripEnd(context);
  const contextIds = tokenizer.encode(before);
  if (contextIds.length === 0) {
    const ids = tokenizer.encode(context + continuation);
    const prefix = prefixId(tokenizer);
    return { context: [prefix], continuation: ids[0] === prefix ? ids.slice(1) : ids };
  }
  return {
    context: bos ? withBos(tokenizer, contextIds) : contextIds,
    continuation: tokenizer.encode(context + continuation).slice(contextIds.length),
  };
}

/** BOS, else EOS: the context of the first token of a text. */
export function prefixId({ bosId, eosId }: TextTokenizer): number {
  const id = bosId ?? eosId;
  if (id === undefined) {
    throw new EvalsError('encode: the tokenizer has neither BOS nor EOS, expected one for an empty context');
  }
  return id;
}

/** Ids that start with BOS; a chat template may have written it already. */
export function withBos(tokenizer: TextTokenizer, ids: readonly number[]): readonly number[] {
  const bos = bosId(tokenizer);
  return ids[0] === bos ? ids : [bos, ...ids];
}

/** BOS, or an error if the tokenizer has none. */
export function bosId({ bosId }: TextTokenizer): number {
  if (bosId === undefined)
    throw new EvalsError('encode: bos is on, but the tokenizer has no BOS; turn bos off');
  return bosId;
}

/**
 * Requests for pairs of texts; contexts that do not fit are truncated from the left.
 *
 * With `isChat`, contexts are rendered conversations, whose special tokens are parsed. Skips the row if a continuation has no separate token or is longer than the model's context.
 */
export function scorePairs(
  model: TaskModel,
  pairs: readonly (readonly [context: string, continuation: string])[],
  { bos, isChat = false }: EncodingOptions & { readonly isChat?: boolean } = {},
): ItemRequests | { kind: 'skip'; reason: string } {
  const { contextLength } = model;
  const tokenizer =
    isChat && model.chat ? { ...model.tokenizer, encode: model.chat.encode } : model.tokenizer;
  const requests: ScoreRequest[] = [];
  for (const [before, after] of pairs) {
    const { context, continuation } = encodePair(tokenizer, before, after, { bos });
    if (continuation.length === 0) {
      return { kind: 'skip', reason: `no separate token in ${JSON.stringify(after)}` };
    }
    // The last token is scored but not read, so one more fits.
    const room = contextLength + 1 - continuation.length;
    if (room < 1) {
      const reason = `${continuation.length} tokens to score, the model reads ${contextLength}`;
      return { kind: 'skip', reason };
    }
    requests.push({ context: context.slice(-room), continuation });
  }
  return { kind: 'score', requests };
}
