/** Test helpers. */
import { fileURLToPath } from 'node:url';

/** A LLaMA of two layers with a tokenizer in Hugging Face's format. */
export const tinyModel = fileURLToPath(new URL('../../pretrain/fixtures/checkpoint', import.meta.url));
