/** Texts into score requests, the way lm-evaluation-harness 0.4.13 does (`TemplateLM._encode_pair`, `HFLM`). */
import { EvalsError } from './error.ts';
import type { LanguageModel, ScoreRequest, TextTokenizer } from './language-model.ts';
import { stripEnd } from './python-text.ts';
import type { ItemRequests } from './task.ts';

/** How texts become ids. */
export interface EncodingOptions {
  /**
   * Whether BOS stands before the context.
   *
   * Off by default, as in the harness up to 0.4.7 and for `local-completions`. On is what `--model hf` of later ones
   * does with tokenizers that add BOS by themselves, and what its `add_bos_token=True` does.
   */
  readonly bos?: boolean;
}

/**
 * Ids of a context and of what follows it.
 *
 * White space at the end of the context goes to the continuation, where tokenizers want it; the continuation's ids are
 * those of the joined text past as many as the context alone has. An empty context becomes BOS, or EOS where there is
 * no BOS.
 *
 * @throws EvalsError when BOS is asked for, or needed for an empty context, and the tokenizer has none.
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
    return ids[0] === prefix
      ? { context: [prefix], continuation: ids.slice(1) }
      : { context: [prefix], continuation: ids };
  }
  return {
    context: bos ? [bosId(tokenizer), ...contextIds] : contextIds,
    continuation: tokenizer.encode(context + continuation).slice(contextIds.length),
  };
}

/** BOS, else EOS: what the first token of a text is predicted from. */
export function prefixId({ bosId, eosId }: TextTokenizer): number {
  const id = bosId ?? eosId;
  if (id === undefined) {
    throw new EvalsError(
      'encode: the tokenizer has neither BOS nor EOS, expected one to begin an empty context',
    );
  }
  return id;
}

/** BOS, for those who asked for it. */
export function bosId({ bosId }: TextTokenizer): number {
  if (bosId === undefined)
    throw new EvalsError('encode: bos is on, but the tokenizer has no BOS; turn bos off');
  return bosId;
}

/**
 * Requests for pairs of texts; contexts that do not fit are cut from the left.
 *
 * Skips the row when a continuation has no token of its own or is longer than the model's context.
 */
export function scorePairs(
  { tokenizer, contextLength }: Pick<LanguageModel, 'tokenizer' | 'contextLength'>,
  pairs: readonly (readonly [context: string, continuation: string])[],
  options?: EncodingOptions,
): ItemRequests | { kind: 'skip'; reason: string } {
  const requests: ScoreRequest[] = [];
  for (const [before, after] of pairs) {
    const { context, continuation } = encodePair(tokenizer, before, after, options);
    if (continuation.length === 0) {
      return { kind: 'skip', reason: `no token of its own in ${JSON.stringify(after)}` };
    }
    // The last token is scored, never read, so one more fits.
    const room = contextLength + 1 - continuation.length;
    if (room < 1) {
      const reason = `${continuation.length} tokens to score, the model reads ${contextLength}`;
      return { kind: 'skip', reason };
    }
    requests.push({ context: context.slice(-room), continuation });
  }
  return { kind: 'score', requests };
}
