import type { AttentionContrast, AttentionShares, RunsComparison, TaskResult } from '@meap/evals';
import type { RunMetrics } from '@meap/recipe-cli';

/** A model with its results. */
export interface EvaluatedModel {
  /** Unique name in the report. */
  readonly name: string;
  readonly fingerprint: string;
  /** At most one result per task. */
  readonly results: readonly TaskResult[];
  /** Paths of `samples_TASK.jsonl` by task. */
  readonly logs?: Readonly<Record<string, string>>;
  /** Metrics of its training run, if known. */
  readonly training?: Pick<RunMetrics, 'steps' | 'validations'>;
}

/** Attention shares of a model, with the texts of the tokens if available. */
export type ShownShares = AttentionShares & {
  readonly tokenTexts?: readonly (readonly string[])[];
};

/** A comparison of evaluations in folders. */
export interface FoldersComparison extends RunsComparison {
  /** Folders without a finished evaluation of the same seed on the other side. */
  readonly leftOut?: readonly string[];
}

/** A row as a model answered it. */
export interface LoggedRow {
  /** The end of the prompt. */
  readonly question: string;
  readonly target: string;
  readonly answer: string;
}

export interface ReportInput {
  /** The others are compared with the first. */
  readonly models: readonly EvaluatedModel[];
  /** With the length of the sequences, if there are several. */
  readonly contrasts?: readonly (AttentionContrast & { readonly length?: number })[];
  readonly shares?: readonly ShownShares[];
  /** Comparisons of several runs a side. */
  readonly overRuns?: readonly FoldersComparison[];
  /** Rows in which models disagree, by model, task and id, as far as they were logged. */
  readonly logged?: readonly Readonly<Record<string, ReadonlyMap<string, LoggedRow>>>[];
}
