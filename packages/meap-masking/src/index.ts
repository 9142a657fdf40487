export { CounterRandom, type CounterRandomKey, philox4x32 } from './counter-random.ts';
export { MaskingError } from './error.ts';
export {
  type BatchPosition,
  createMasker,
  MASKING_STRATEGIES,
  type MaskedBatch,
  type Masker,
  type MaskerOptions,
  type MaskingStrategy,
  type RowPosition,
} from './masker.ts';
export { MersenneTwister } from './mersenne-twister.ts';
export {
  describeMask,
  drawCells,
  type PictureCell,
  type RenderOptions,
  renderMaskedRow,
  visibleText,
} from './picture.ts';
export { type ReferenceMaskOptions, referenceMask } from './reference-mask.ts';
