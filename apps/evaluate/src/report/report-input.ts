import type { AttentionContrast, AttentionShares, RunsComparison, TaskResult } from '@meap/evals';
import type { RunMetrics } from '@meap/recipe-cli';

/** A model with its results. */
export interface EvaluatedModel {
  /** Unique name in the report. */
  readonly name: string;
  readonly fingerprint: string;
  /** At most one result per task. */
  readonly results: readonly TaskResult[];
  /** Metrics of its training run, if known. */
  readonly training?: Pick<RunMetrics, 'steps' | 'validations'>;
}

/** Attention shares of a model, with the texts of the tokens if available. */
export type ShownShares = AttentionShares & {
  readonly tokenTexts?: readonly (readonly string[])[];
};

export interface ReportInput {
  /** The others are compared with the first. */
  readonly models: readonly EvaluatedModel[];
  /** With the length of the sequences, if there are several. */
  readonly contrasts?: readonly (AttentionContrast & { readonly length?: number })[];
  readonly shares?: readonly ShownShares[];
  /** Comparisons of several runs a side. */
  readonly overRuns?: readonly RunsComparison[];
}
