export type { MemoryPlan, RunEnd, RunOptions } from '@meap/recipe-cli';
export { configJsonSchema, type FinetuneConfigInput } from './config.ts';
export { ConversationEncoder } from './conversation-encoder.ts';
export { type DryRunOptions, type DryRunPlan, dryRun, renderDryRun } from './dry-run.ts';
export { ChatDataError, isUserError } from './errors.ts';
export {
  type Conversation,
  type DataFormat,
  type DataRecord,
  type Message,
  recogniseFormat,
  toConversation,
} from './formats.ts';
export type { DataFacts } from './prepare-data.ts';
export type { FieldNames } from './record-fields.ts';
export { type FinetuneConfig, loadConfig, resolveConfig } from './resolve-config.ts';
export { type FinetuneEvent, finetune } from './run.ts';
export type { RunFacts } from './run-facts.ts';
