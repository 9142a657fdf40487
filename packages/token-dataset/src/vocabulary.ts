/** Compares vocabularies, so that ids of one tokenizer are not read by a model of another. */
import type { Tokenizer } from './tokenizer.ts';

/**
 * Describes the first id that is not the same token in both vocabularies; undefined if there is none. The id of a mask
 * token may be missing or special in the other one.
 */
export function vocabularyDifference(a: Tokenizer, b: Tokenizer): string | undefined {
  const [ordinaryOfA, ordinaryOfB] = [a, b].map((tokenizer) => new Set(tokenizer.ordinaryIds()));
  for (let id = 0; id < Math.max(a.vocabSize, b.vocabSize); id++) {
    const [tokenOfA, tokenOfB] = [a.idToToken(id), b.idToToken(id)];
    if (tokenOfA === tokenOfB) continue;
    if (id === a.maskTokenId && !ordinaryOfB.has(id)) continue;
    if (id === b.maskTokenId && !ordinaryOfA.has(id)) continue;
    return `id ${id} is ${quoted(tokenOfA)} and ${quoted(tokenOfB)}`;
  }
  return undefined;
}

const quoted = (token: string | undefined) => (token === undefined ? 'no token' : JSON.stringify(token));
