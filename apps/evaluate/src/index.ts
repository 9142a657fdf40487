export type { JudgeEvent } from '@meap/eval-recipes';
export {
  type AttentionResults,
  type AttentionSharesOfTexts,
  type RunAttentionOptions,
  runAttention,
} from './attention-run.ts';
export { evaluateCommand } from './command.ts';
export {
  type CommandConfig,
  configJsonSchema,
  type EvaluateConfig,
  loadConfig,
  type ModelChoice,
  readConfig,
} from './config.ts';
export { isUserError } from './errors.ts';
export type { AttentionEvent, EvaluateEvent, StageEvent } from './events.ts';
export type { EvaluationResults } from './result-files.ts';
export { type RunEvaluationOptions, runEvaluation } from './run.ts';
export { type AnswerStoreOptions, openAnswerStore } from './sqlite-answer-store.ts';
