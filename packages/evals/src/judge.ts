/** What judges a model's texts: another model, or a rule. */
import type { Measured, Metric } from './task.ts';

/** A judge that cannot be reached, refuses, or is told something impossible. One line, never with a key. */
export class JudgeError extends Error {
  override readonly name = 'JudgeError';
}

/** A model's text and what it is held against. */
export interface JudgeCase {
  /** What the model wrote. */
  readonly output: string;
  /** What it was to write about. */
  readonly article: string;
  /** What a person wrote about it. */
  readonly reference: string;
}

/** What a judge found. */
export interface Judgement {
  /** By metric; one that does not apply is absent. */
  readonly measured: Readonly<Record<string, Measured>>;
  /** For people. */
  readonly explanation: string;
}

/** Judges texts, each alone. */
export interface Judge {
  /** For people: what reports call it. */
  readonly name: string;
  /** What of the judge decides its judgements, for result files. */
  readonly config: Readonly<Record<string, unknown>>;
  /** What it measures. */
  readonly metrics: readonly Metric[];
  /** Judges one case. */
  judge(judgeCase: JudgeCase): Promise<Judgement>;
}
