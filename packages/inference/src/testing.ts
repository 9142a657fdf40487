/** What several tests of this package need. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Tokenizer, trainBpeTokenizer } from '@meap/token-dataset';

/** A LLaMA of two layers with a tokenizer, in the format of transformers. */
export const tinyModel = fileURLToPath(
  new URL('../../../apps/pretrain/fixtures/checkpoint', import.meta.url),
);

/** A trained LLaMA of 260K parameters; undefined where `MEAP_DATA` has none. */
export const storiesModel = dataPath('models/stories260K');

/** A file or folder of `MEAP_DATA`; undefined where it is absent. */
export function dataPath(name: string): string | undefined {
  const path = `${process.env.MEAP_DATA}/${name}`;
  return existsSync(path) ? path : undefined;
}

const documents = Array.from(
  { length: 30 },
  (_, i) => `The captain sees ${i} whales, é ü 😀, and a sailor follows.`,
);

/** 320 tokens of byte-level BPE: `<s>` 0, `</s>` 1. */
export const tinyTokenizer: Tokenizer = await trainBpeTokenizer({ documents, vocabSize: 320 });
