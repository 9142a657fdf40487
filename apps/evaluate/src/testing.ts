/** What several tests of this package need. */
import { fileURLToPath } from 'node:url';

/** A LLaMA of two layers with a tokenizer, in the format of transformers. */
export const tinyModel = fileURLToPath(new URL('../../pretrain/fixtures/checkpoint', import.meta.url));
