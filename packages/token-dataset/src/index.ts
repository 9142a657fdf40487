export type { TextRange } from './answer-ranges.ts';
export { type Batch, type Batches, type BatchesState, type BatchOptions, createBatches } from './batches.ts';
export { type SplitOptions, selectBlocks, type TokenBlocks } from './blocks.ts';
export { BUILT_IN_TEMPLATES } from './built-in-templates.ts';
export { ChatEncoder, type EncodedConversation } from './chat-encoder.ts';
export {
  ChatTemplate,
  type LoadChatTemplateOptions,
  loadChatTemplate,
  type Piece,
  type RenderOptions,
  specialTokensOf,
} from './chat-template.ts';
export {
  type Conversation,
  type Message,
  type ToolCall,
  withTools,
} from './conversation.ts';
export type { DataRecord, SkippedRecords } from './data-record.ts';
export { type OpenTokenDatasetOptions, openTokenDataset, type TokenDataset } from './dataset.ts';
export {
  type DocumentOptions,
  type ReadDocumentsOptions,
  readDocuments,
  type TextDocument,
} from './documents.ts';
export type { DuplicateCount } from './duplicate-counter.ts';
export { BadRecordError, DatasetError, TemplateError, TokenizerError } from './errors.ts';
export { findFileProblems } from './file-problems.ts';
export type { RemoteFile } from './files.ts';
export { describeFiles } from './fingerprint.ts';
export { FILE_FORMATS, type FileFormat, RECORD_FORMATS, type RecordFormat } from './formats.ts';
export type { LengthHistogram, LengthUpsampling } from './length-upsampling.ts';
export { LiteralEncoder, type LocatedTokens, type SpecialToken } from './literal-encoder.ts';
export type { DocumentCounts, FileDescription, SpellingCount } from './manifest.ts';
export type { SourceStatistics } from './mix-ledger.ts';
export { type PreparedTokens, prepareTokens } from './prepare.ts';
export type { PrepareTokensOptions } from './prepare-options.ts';
export type { PrepareProgress } from './progress.ts';
export { type ReadRecordsOptions, readRecords } from './read-records.ts';
export { pythonText, RowTemplate } from './row-template.ts';
export { type DocumentSurvey, surveyDocuments } from './survey-documents.ts';
export type { TextSelection, TextSource } from './text-sources.ts';
export {
  addMaskToken,
  type DecodeOptions,
  type EncodeOptions,
  type LoadTokenizerOptions,
  loadTokenizer,
  removeMaskToken,
  type SaveTokenizerOptions,
  Tokenizer,
} from './tokenizer.ts';
export type { SideFiles, TokenizerConfig } from './tokenizer-files.ts';
export { type TrainBpeOptions, trainBpeTokenizer } from './train-bpe.ts';
export { tokenCounts, type UnigramScore, unigramBitsPerByte } from './unigram.ts';
export { vocabularyDifference } from './vocabulary.ts';
