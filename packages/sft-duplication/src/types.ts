/** A piece of a conversation that one party wrote, or that the chat template put there. */
export interface SftSegment {
  /** Token ids in order; may be empty. */
  ids: ArrayLike<number>;
  /** Whose turn it belongs to: `system`, `user`, `assistant`, `tool`, … */
  role: string;
  /**
   * Whether these tokens are the text of an answer, with what ends it (EOS, end of turn).
   *
   * False for questions and for what the template adds, such as headers and generation prompts.
   * Loss falls on trainable segments of the chosen roles. Adjacent ones of
   * one role are one answer.
   */
  trainable: boolean;
  /** Length of the answer's text in characters; only read where the threshold is in characters. */
  numCharacters?: number;
}

/**
 * A conversation as token ids, from the first token (BOS, system prompt) to the last answer.
 *
 * The segments joined are the tokens the model reads, nothing is added. Leading segments of role `system` are
 * what every turn repeats where turns are samples of their own; give BOS that role, too.
 */
export interface SftSample {
  segments: readonly SftSegment[];
}

/**
 * What the token to be predicted at a place of a row is.
 *
 * `special` is EOS or another special token of an answer, and the last target of an answer that was cut: learned
 * in the original, never masked. The kinds of a copy are those of the original plus three.
 */
export const TokenKind = {
  padding: 0,
  prompt: 1,
  answer: 2,
  special: 3,
  copyPrompt: 4,
  copyAnswer: 5,
  copySpecial: 6,
  masked: 7,
} as const;

/**
 * A row for training: at place i the model reads `inputs[i]` and predicts `targets[i]`, the token after it.
 *
 * A sequence of L tokens takes L − 1 places, since nothing follows its last token. All arrays have one length.
 */
export interface SftRow {
  /** The ids the model reads, masked tokens of the copy replaced by the mask id. */
  inputs: Int32Array;
  /** The original ids that follow; never the mask id. */
  targets: Int32Array;
  /** 1 where the loss counts. The token at t, masked or not, is learned at place t − 1. */
  lossMask: Uint8Array;
  /** 0, 1, 2, … along the row: tokens see only their own segment. Padding is the last segment. */
  segmentIds: Int32Array;
  /** Position of `inputs[i]` within its segment, from 0; 0 on padding. */
  positions: Int32Array;
  /** A {@link TokenKind} for each target. */
  kinds: Uint8Array;
}
