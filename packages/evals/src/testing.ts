/** A tokenizer of characters and a model that is a function, for tests. */
import type { LanguageModel, Score, ScoreRequest, TextTokenizer } from './language-model.ts';

export const BOS = 1;
export const EOS = 2;

/** Every code point is a token; ids are code points plus 3. */
export const characters: TextTokenizer = {
  bosId: BOS,
  eosId: EOS,
  encode: (text) => Array.from(text, (character) => character.codePointAt(0)! + 3),
  decode: (ids) => ids.map((id) => (id < 3 ? '' : String.fromCodePoint(id - 3))).join(''),
};

/** A model that scores each request by `score`; `calls` records the requests of each call. */
export function functionModel(
  score: (request: ScoreRequest) => Score,
  { contextLength = 10_000, tokenizer = characters } = {},
): LanguageModel & { readonly calls: ScoreRequest[][] } {
  const calls: ScoreRequest[][] = [];
  return {
    name: 'function',
    fingerprint: 'function-1',
    contextLength,
    tokenizer,
    calls,
    async score(requests, { signal } = {}) {
      signal?.throwIfAborted();
      calls.push([...requests]);
      return requests.map(score);
    },
    async generate(requests) {
      return requests.map(({ prompt, maxNewTokens }) => ({
        text: tokenizer.decode(prompt.slice(0, maxNewTokens)),
        ids: prompt.slice(0, maxNewTokens),
        finish: 'length',
      }));
    },
  };
}
