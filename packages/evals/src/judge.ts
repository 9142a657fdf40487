/** Interface of judges of a model's texts: another model, or a rule. */
import type { Measured, Metric } from './task.ts';

/** A model's text and the texts to compare it with. */
export interface JudgeCase {
  /** The model's summary. */
  readonly output: string;
  readonly article: string;
  /** A human summary. */
  readonly reference: string;
}

/** The judgement of one case. */
export interface Judgement {
  /** Numbers by metric; metrics that do not apply are absent. */
  readonly measured: Readonly<Record<string, Measured>>;
  /** Explanation for readers. */
  readonly explanation: string;
}

/** Judges texts independently. */
export interface Judge {
  /** Name in reports. */
  readonly name: string;
  /** Settings that determine its judgements, for result files. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly metrics: readonly Metric[];
  /** Judges one case. */
  judge(judgeCase: JudgeCase): Promise<Judgement>;
}
