import type { AttentionContrast, AttentionShares, TaskResult } from '@meap/evals';
import type { Html, RunMetrics } from '@meap/recipe-cli';
import type { Figure } from './figure.ts';
import type { Table } from './table.ts';

/** A model and what was found of it. */
export interface EvaluatedModel {
  /** What the report calls it; different from all others'. */
  readonly name: string;
  readonly fingerprint: string;
  /** At most one of a task. */
  readonly results: readonly TaskResult[];
  /** Losses of the run that trained it, where they are known. */
  readonly training?: RunMetrics;
}

/** Attention of a model, and the tokens that it looked at, where they are to be seen. */
export type ShownShares = AttentionShares & {
  /** The text of each token, for each prompt. */
  readonly tokenTexts?: readonly (readonly string[])[];
};

/** What a report is about. */
export interface ReportInput {
  /** The first is what the others are held against. */
  readonly models: readonly EvaluatedModel[];
  /** With the length of their sequences, where there are several. */
  readonly contrasts?: readonly (AttentionContrast & { readonly length?: number })[];
  readonly shares?: readonly ShownShares[];
}

/** A part of a report: what its heading says, and what stands below it. */
export interface Section {
  readonly heading: string;
  readonly blocks: readonly Block[];
}

/** A paragraph, a table or a figure. */
export type Block = string | Table | Figure | Html;
