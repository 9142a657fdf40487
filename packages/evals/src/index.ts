export type {
  AttentionBlock,
  CallOptions,
  GenerateRequest,
  Generation,
  LanguageModel,
  Score,
  ScoreRequest,
  TextTokenizer,
} from './language-model.ts';
export type { Aggregation, ItemAnswers, ItemRequests, Measured, Metric, Task, TaskItem } from './task.ts';
