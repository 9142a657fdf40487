/** What several tests of this package need. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** A LLaMA of two layers with a tokenizer, in the format of transformers. */
export const tinyModel = fileURLToPath(new URL('../../pretrain/fixtures/checkpoint', import.meta.url));

/** A trained LLaMA of 260K parameters; undefined where `MEAP_DATA` has none. */
export const storiesModel = dataPath('models/stories260K');

/** A file or folder of `MEAP_DATA`; undefined where it is absent. */
export function dataPath(name: string): string | undefined {
  const path = `${process.env.MEAP_DATA}/${name}`;
  return existsSync(path) ? path : undefined;
}
