/** What goes from the server to the page, as JSON. */
import type { Table } from './table.ts';

/** How a run is doing, as its files tell. */
export type RunState =
  /** A process holds the folder. */
  | 'running'
  /** All steps are done. */
  | 'finished'
  /** No process holds the folder, and there are steps left or nobody knows. */
  | 'stopped';

/** A run in the list, from its small files and the end of its log. */
export interface RunSummary {
  id: string;
  /** Its path below the folder that was given. */
  name: string;
  state: RunState;
  /** Seconds since its log last changed, when this was sent; null without a log. */
  silentSeconds: number | null;
  /** When its log last changed, milliseconds of Unix time by the server's file system. */
  changedAt: number;
  step: number;
  /** Steps of the whole run; null where nothing says. */
  totalSteps: number | null;
  tokens: number;
  loss: number | null;
  tokensPerSecond: number | null;
  valLoss: number | null;
  bitsPerByte: number | null;
  /** Seconds to the end at the pace of the last steps; null where that cannot be told. */
  secondsLeft: number | null;
  /** What computes, such as `native on Intel Xeon`; empty where unknown. */
  device: string;
  parameters: number | null;
  /** Change with the contents of the files: what the page has is old where they differ. */
  versions: { config: string; batch: string; samples: string };
  /** What cannot be read of it; empty as a rule. */
  problem: string;
}

/** Validations as columns; nulls where a line lacks the key. */
export interface Validations {
  step: number[];
  tokens: number[];
  seconds: number[];
  valLoss: (number | null)[];
  bitsPerByte: (number | null)[];
  /** `parts.masked`: the loss of masked tokens, where a run measures it. */
  maskedLoss: (number | null)[];
}

/** A step that the trainer's guard found anomalous, or left out. */
export interface Anomaly {
  step: number;
  what: string;
}

/** Curves of a run: all there is, or what has come since. */
export interface CurvesMessage {
  run: string;
  /** Of one history: curves of another replace what the page has. */
  generation: string;
  /** Whether this is all, coarse where it is long; otherwise it follows what was sent before. */
  isWhole: boolean;
  table: Table;
  validations: Validations;
  /** The last of them, and how many there are in all. */
  anomalies: { count: number; last: Anomaly[] };
  /** Lines of the log that are no metrics. */
  badLines: number;
}

/** Runs that are new or have changed, and ids of those that are gone. */
export interface RunsMessage {
  changed: RunSummary[];
  gone: string[];
  /** The run that this server was started for; null where there is none. */
  primary: string | null;
  /** Runs to show first where the reader has chosen none. */
  suggested: string[];
  /** Folders looked into. */
  folders: string[];
  /** Whether there are more runs than the server lists. */
  isCut: boolean;
}

/** A step's samples. */
export interface SamplesAnswer {
  steps: number[];
  step: number | null;
  rows: { prompt: string; text: string }[];
}

/** `config.yaml` as paths and values. */
export type ConfigAnswer = Record<string, string>;

/** `batch.json`: rows of a recent batch as text. */
export interface RecentBatch {
  step: number;
  rows: BatchRow[];
}

/** A row that the model read, in pieces. */
export interface BatchRow {
  /** Tokens of the whole row, and how many of them are masked; the pieces may end earlier. */
  numTokens: number;
  numMasked: number;
  pieces: BatchPiece[];
  /** Whether the row goes on behind the pieces. */
  isCut?: boolean;
}

/** Adjacent tokens of a row that are of one kind; the text is the original, also where the model read masks. */
export interface BatchPiece {
  text: string;
  kind: 'plain' | 'masked' | 'prompt';
  /** Whether a new part begins here, such as the masked copy; its name. */
  part?: string;
}

/** Runs whose curves a page can have at once: colours by eight, full and dashed. */
export const MOST_SELECTED = 16;
