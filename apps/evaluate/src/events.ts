import type { JudgeEvent } from '@meap/eval-recipes';
import type { EvaluateProgress, TaskResult } from '@meap/evals';
import type { HubEvent } from '@meap/hub';
import type { BackendDescription } from '@meap/tensor-kernels';

/** Options of what may fetch data sets. */
export interface DownloadOptions {
  /** Called with the progress of downloads. */
  readonly onDownload?: (event: HubEvent) => void;
}

/** Progress of a stage with units of equal size. */
export interface StageEvent {
  readonly type: 'stage';
  readonly stage: string;
  readonly unit: 'rows' | 'sequences' | 'prompts';
  readonly done: number;
  /** Undefined if unknown. */
  readonly total?: number;
}

/** An event of `runEvaluation`. */
export type EvaluateEvent =
  | ({ type: 'backend' } & BackendDescription)
  | { type: 'model'; name: string; contextLength: number; fingerprint: string }
  | { type: 'task'; task: string }
  | ({ type: 'progress'; task: string } & EvaluateProgress)
  | JudgeEvent
  | { type: 'result'; result: TaskResult }
  | { type: 'warning'; message: string };

/** An event of `runAttention`; `stage` after each sequence and each prompt. */
export type AttentionEvent = Extract<EvaluateEvent, { type: 'backend' | 'model' | 'warning' }> | StageEvent;
