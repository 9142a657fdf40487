import type { AttentionContrast, AttentionShares, TaskResult } from '@meap/evals';
import type { Html, RunMetrics } from '@meap/recipe-cli';
import type { Figure } from './figure.ts';
import type { Table } from './table.ts';

/** A model with its results. */
export interface EvaluatedModel {
  /** Unique name in the report. */
  readonly name: string;
  readonly fingerprint: string;
  /** At most one result per task. */
  readonly results: readonly TaskResult[];
  /** Metrics of its training run, if known. */
  readonly training?: RunMetrics;
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
}

export interface Section {
  readonly heading: string;
  readonly blocks: readonly Block[];
}

/** A paragraph, a table, a figure or other markup. */
export type Block = string | Table | Figure | Html;
