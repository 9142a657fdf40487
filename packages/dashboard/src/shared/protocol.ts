/** The JSON messages from the server to the page. */
import type { Table } from './table.ts';

/** The state of a run according to its files. */
type RunState =
  /** A process holds the lock. */
  | 'running'
  | 'finished'
  /** No process holds the lock, and steps are left or their number is unknown. */
  | 'stopped';

/** A run in the list. */
export interface RunSummary {
  id: string;
  /** The path below the folder given. */
  name: string;
  state: RunState;
  /** Seconds between the last change of the log and this message; null without a log. */
  silentSeconds: number | null;
  /** Time of the last change of the log, in milliseconds of Unix time. */
  changedAt: number;
  step: number;
  /** Steps of the whole run; null if unknown. */
  totalSteps: number | null;
  tokens: number;
  loss: number | null;
  tokensPerSecond: number | null;
  valLoss: number | null;
  bitsPerByte: number | null;
  /** Estimated from the throughput of the last steps; null if unknown. */
  secondsLeft: number | null;
  /** Backend and device; empty if unknown. */
  device: string;
  parameters: number | null;
  /** Change with the contents of the files. */
  versions: { config: string; batch: string; samples: string };
  /** An error message; usually empty. */
  problem: string;
}

/** Validations as columns; null if a line lacks the key. */
export interface Validations {
  step: number[];
  tokens: number[];
  seconds: number[];
  valLoss: (number | null)[];
  bitsPerByte: (number | null)[];
  /** `parts.masked`: the loss of masked tokens. */
  maskedLoss: (number | null)[];
}

/** Measurements of probes as columns. */
export interface Probes {
  step: number[];
  tokens: number[];
  seconds: number[];
  /** By `PROBE/NAME`, without the values of groups; null if a line lacks the value. */
  values: Record<string, (number | null)[]>;
}

/** A step that the trainer found anomalous or skipped. */
export interface Anomaly {
  step: number;
  what: string;
}

/** Curves of a run: all steps, or the new ones. */
export interface CurvesMessage {
  run: string;
  /** Changes when the log is rewritten; curves of another generation replace those of the page. */
  generation: string;
  /** Whether these are all steps (coarse for long runs), not only the new ones. */
  isWhole: boolean;
  table: Table;
  validations: Validations;
  probes: Probes;
  /** The last anomalies, and the number of all. */
  anomalies: { count: number; last: Anomaly[] };
  /** Lines of the log that are not metrics. */
  badLines: number;
}

/** A study: runs of several arms, each with several seeds. */
export interface StudySummary {
  /** The path below the folder given. */
  name: string;
  title: string;
  cells: StudyCell[];
}

/** An arm with one seed. */
export interface StudyCell {
  arm: string;
  seed: number;
  /** How it ended; null while it waits or runs, or after it was stopped. */
  end: 'done' | 'failed' | null;
  /** Ids of its runs, a run a step; none before it starts and after they are deleted. */
  runs: string[];
}

/** Runs that are new or changed, and ids of removed runs. */
export interface RunsMessage {
  changed: RunSummary[];
  gone: string[];
  /** All studies. */
  studies: StudySummary[];
  /** The run that this server was started for, if any. */
  primary: string | null;
  /** Runs to show if the user has selected none. */
  suggested: string[];
  /** The folders searched. */
  folders: string[];
  /** Whether the list is incomplete because there are too many runs. */
  isCut: boolean;
}

export interface SamplesAnswer {
  steps: number[];
  step: number | null;
  /** With `reference`, what follows the prompt in the validation text. */
  rows: { prompt: string; text: string; reference?: string }[];
}

/** `config.yaml` as a map from key path to value. */
export type ConfigAnswer = Record<string, string>;

/** `batch.json`: rows of a recent batch as text. */
export interface RecentBatch {
  step: number;
  rows: BatchRow[];
}

/** A row of model input, in pieces. */
export interface BatchRow {
  /** Tokens and masked tokens of the whole row; the pieces may cover fewer. */
  numTokens: number;
  numMasked: number;
  pieces: BatchPiece[];
  /** Whether the row is longer than its pieces. */
  isCut?: boolean;
}

/** Adjacent tokens of one kind; the text is the original one, also for masked tokens. */
export interface BatchPiece {
  text: string;
  kind: 'plain' | 'masked' | 'prompt';
  /** The name of the part that begins here, such as the masked copy. */
  part?: string;
}

/** Runs displayed at the same time: eight colours, solid and dashed. */
export const MAX_SELECTED = 16;
