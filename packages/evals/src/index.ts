export { bitsPerByte, mean, perplexity, weightedPerplexity } from './aggregation.ts';
export type { AnswerFilter, ExactMatchOptions, FilterStep } from './answer-filters.ts';
export { answerF1, bestSubspanMatch, normalizeAnswer } from './answer-match.ts';
export type { Answer, AnswerStore } from './answers.ts';
export { associationNeedles, associationTask } from './association.ts';
export {
  type AttentionContrast,
  type AttentionDifference,
  type AttentionStatistic,
  type ContrastOptions,
  contrastAttention,
  type LayerValues,
  type MaskedSequence,
  type SequenceAttention,
} from './attention-contrast.ts';
export {
  type AttentionShares,
  attentionShares,
  type PromptPart,
  type PromptShares,
  type Segment,
  type SegmentedPrompt,
  type SegmentShare,
  type SharesOptions,
  segmentPrompt,
} from './attention-shares.ts';
export {
  type ChatJudge,
  type ChatJudgeOptions,
  chatJudge,
  type JudgePlan,
  type JudgeUsage,
  type TokenPrices,
} from './chat-judge.ts';
export { choiceTasks, musrParts } from './choice-tasks.ts';
export {
  compareResults,
  correctPValues,
  type Disagreement,
  type MetricComparison,
  type MetricComparisonByGroup,
  type ResultComparison,
} from './compare-results.ts';
export {
  compareRuns,
  type MetricOverRuns,
  type RunResults,
  type RunSpread,
  type RunsComparison,
} from './compare-runs.ts';
export {
  type ConfiguredTaskOptions,
  configuredTask,
  type Row,
  type RowText,
  type TaskConfiguration,
} from './configured-task.ts';
export {
  type ContextualHallucinationOptions,
  contextualHallucination,
} from './contextual-hallucination.ts';
export { type EncodingOptions, encodePair, scorePairs } from './encode-pair.ts';
export {
  type ChatReply,
  Endpoint,
  EndpointError,
  type EndpointOptions,
  type EndpointRequest,
  readChatReply,
} from './endpoint.ts';
export { EvalsError } from './error.ts';
export { type EvaluateOptions, type EvaluateProgress, evaluate } from './evaluate.ts';
export type { ExampleSource, FewShotOptions } from './few-shot.ts';
export { toHarnessJson } from './harness-json.ts';
export { type InductionOptions, inductionTask, type PrefixMatching, prefixMatching } from './induction.ts';
export type { Judge, JudgeCase, Judgement } from './judge.ts';
export { type KeyValueRecallOptions, keyValueRecallTask } from './key-value-recall.ts';
export { type KeyValueOptions, keyValueTask } from './key-value-retrieval.ts';
export { type LambadaName, type LambadaOptions, lambadaNames, lambadaTask } from './lambada.ts';
export type {
  AttentionBlock,
  CallOptions,
  ChatFormat,
  ChatMessage,
  GenerateRequest,
  Generation,
  LanguageModel,
  Score,
  ScoreRequest,
  TextTokenizer,
} from './language-model.ts';
export { type LateMinusEarlyOptions, lateMinusEarlyTask } from './late-minus-early.ts';
export { type LongBenchName, longBench, longBenchNames } from './longbench.ts';
export { type MmluProSubject, mmluPro, mmluProSubjects } from './mmlu-pro.ts';
export { type MultiDocumentQaOptions, multiDocumentQaTask } from './multi-document-qa.ts';
export { type MultiNeedleOptions, multiNeedleTask } from './multi-needle.ts';
export {
  type ChoiceMetric,
  type HarnessOptions,
  type MultipleChoice,
  multipleChoiceTask,
  type Question,
} from './multiple-choice.ts';
export { type Needle, type NeedleOptions, needleTask, sanFrancisco } from './needle.ts';
export {
  type AnswerScore,
  type GenerationSettings,
  type OpenAnswer,
  type OpenAnswerOptions,
  openAnswerTask,
} from './open-answer.ts';
export { chainOfThoughtExamples, openAnswers } from './open-answers.ts';
export { overlapJudge } from './overlap-judge.ts';
export { type PerplexityOptions, perplexityTask } from './perplexity.ts';
export { type PerplexityByPositionOptions, perplexityByPositionTask } from './perplexity-by-position.ts';
export type { PromptEncoding } from './prompt.ts';
export type { PromptLayout, PromptOptions } from './prompt-turns.ts';
export { pythonRegExp } from './python-regex.ts';
export {
  type GroupResult,
  type MetricResult,
  type Sample,
  type SkippedRow,
  summarize,
  type TaskResult,
} from './result.ts';
export { type Rouge, rouge1, unigramOverlap } from './rouge.ts';
export { type RowReader, readRow } from './row-reader.ts';
export {
  effectiveLength,
  type LengthScore,
  type RulerOptions,
  type RulerTaskName,
  rulerTask,
  rulerTaskNames,
} from './ruler.ts';
export { bootstrapInterval } from './run-statistics/bootstrap.ts';
export { standardizedDifference } from './run-statistics/effect-size.ts';
export { adjustHolm } from './run-statistics/multiple-comparisons.ts';
export { type SignFlipTest, signFlipTest } from './run-statistics/sign-flip-test.ts';
export {
  type EventTime,
  kaplanMeier,
  type LogRankTest,
  logRankTest,
  medianTime,
  pairedLogRankTest,
  type SurvivalPoint,
} from './run-statistics/survival.ts';
export { type RowSelection, selectRows } from './select-rows.ts';
export {
  blimp,
  blimpParadigms,
  type MmluSubject,
  mmlu,
  mmluCategories,
  mmluSubjects,
} from './subject-tasks.ts';
export { type McNemarTest, mcNemarTest, pairedTTest, type TTest, welchTTest } from './t-test.ts';
export type {
  Aggregation,
  ItemAnswers,
  ItemRequests,
  Measured,
  Metric,
  SampleLog,
  Task,
  TaskGroup,
  TaskItem,
  TaskModel,
} from './task.ts';
export { summarizeTaskGroups, type TaskGroupResult } from './task-group.ts';
export { wikitextTask } from './wikitext.ts';
export { renderedMultipleChoice, zeroShot } from './zero-shot.ts';
