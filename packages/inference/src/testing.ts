/** Test helpers. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Tokenizer, trainBpeTokenizer } from '@meap/token-dataset';

/** A LLaMA of two layers with a tokenizer in Hugging Face's format. */
export const tinyModel = fileURLToPath(
  new URL('../../../apps/pretrain/fixtures/checkpoint', import.meta.url),
);

/** A trained LLaMA of 260K parameters; undefined if `MEAP_DATA` lacks it. */
export const storiesModel = dataPath('models/stories260K');

/** Returns the path of a file or folder in `MEAP_DATA`; undefined if it is missing. */
export function dataPath(name: string): string | undefined {
  const path = `${process.env.MEAP_DATA}/${name}`;
  return existsSync(path) ? path : undefined;
}

const documents = Array.from(
  { length: 30 },
  (_, i) => `The captain sees ${i} whales, é ü 😀, and a sailor follows.`,
);

/** A byte-level BPE tokenizer with 320 tokens: `<s>` 0, `</s>` 1. */
export const tinyTokenizer: Tokenizer = await trainBpeTokenizer({ documents, vocabSize: 320 });
