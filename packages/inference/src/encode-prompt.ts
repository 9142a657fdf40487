import type { Tokenizer } from '@meap/token-dataset';

/** Encodes a prompt; an empty one becomes the token that starts a document. */
export async function encodePrompt(tokenizer: Tokenizer, prompt: string): Promise<Int32Array> {
  const ids = await tokenizer.encode(prompt);
  const first = tokenizer.bosTokenId ?? tokenizer.eosTokenId;
  return ids.length === 0 && first !== undefined ? Int32Array.of(first) : ids;
}
