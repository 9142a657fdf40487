import type { Tokenizer } from '@meap/token-dataset';

/** The text of one token; decoding alone would drop the space that SentencePiece writes as ▁. */
export async function tokenText(tokenizer: Tokenizer, id: number): Promise<string> {
  const token = tokenizer.idToToken(id) ?? '';
  return token.startsWith('▁') ? token.replaceAll('▁', ' ') : tokenizer.decode([id]);
}
