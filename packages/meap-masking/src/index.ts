export { CounterRandom, type CounterRandomKey, philox4x32 } from './counter-random.ts';
export { MaskingError } from './error.ts';
export {
  type BatchPlace,
  createMasker,
  type MaskedBatch,
  type Masker,
  type MaskerOptions,
  type MaskingStrategy,
  type RowPlace,
} from './masker.ts';
export { describeMask, type RenderOptions, renderMaskedRow } from './picture.ts';
export { type ReferenceMaskOptions, referenceMask } from './reference-mask.ts';
