export {
  createDuplicator,
  type DuplicateAllPosition,
  type DuplicatedRows,
  type DuplicationStatistics,
  type Duplicator,
} from './duplicate.ts';
export { SftError } from './error.ts';
export { epochOrder, type SamplePosition } from './masks.ts';
export { type SftLayout, type SftLoss, type SftOptions, type SftRules, sftPresets } from './options.ts';
export { planPacking } from './packing.ts';
export { inputKind, type RenderRowOptions, renderRow } from './picture.ts';
export {
  joinRows,
  type PackingOptions,
  type PackingStatistics,
  type PaddingOptions,
  packRows,
  type SftBatch,
  stackRows,
} from './rows.ts';
export { type SftRow, type SftSample, type SftSegment, TokenKind } from './types.ts';
