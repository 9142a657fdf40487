/**
 * The tokenizers library, apart from what this package exports: its declarations do not compile, so none of ours may lead
 * to them.
 */
import { Tokenizer as NativeTokenizer } from 'tokenizers';
import { reasonOf, TokenizerError } from './errors.ts';

export type { NativeTokenizer };

/** Parses a `tokenizer.json`, with truncation and padding off: training text is never cut by its tokenizer. */
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
