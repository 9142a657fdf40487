/** Wraps the tokenizers library, whose type declarations do not compile: declarations of exports must not refer to them. */
import { Tokenizer as NativeTokenizer } from 'tokenizers';
import { reasonOf, TokenizerError } from './errors.ts';

export type { NativeTokenizer };

/** Parses a `tokenizer.json`, with truncation and padding off: a tokenizer never truncates training text. */
export function nativeTokenizer(json: string, where: string): NativeTokenizer {
  let native: NativeTokenizer;
  try {
    native = NativeTokenizer.fromString(json);
  } catch (error) {
    throw new TokenizerError(`${where} is not a tokenizer.json: ${reasonOf(error)}`);
  }
  native.disableTruncation();
  native.disablePadding();
  return native;
}
