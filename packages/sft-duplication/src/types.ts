/** A part of a conversation, written by one party or by the chat template. */
export interface SftSegment {
  /** Token ids in order; may be empty. */
  ids: ArrayLike<number>;
  /** Role of the turn: `system`, `user`, `assistant`, `tool`, … */
  role: string;
  /**
   * Whether these tokens are the text of an answer, including the token that ends it (EOS, end of turn).
   *
   * False for questions and for text of the template, such as headers and generation prompts. The loss covers trainable
   * segments of the chosen roles. Adjacent ones of one role are one answer.
   */
  trainable: boolean;
  /** Length of the answer's text in characters; used if the threshold is in characters. */
  numCharacters?: number;
}

/**
 * A conversation as token ids, from the first token (BOS, system prompt) to the last answer.
 *
 * The joined segments are exactly the tokens that the model reads. With separate turns, leading segments of role
 * `system` are repeated before every turn; BOS should have that role too.
 */
export interface SftSample {
  segments: readonly SftSegment[];
}

/**
 * Kind of the target at a position of a row.
 *
 * `special` is EOS or another special token of an answer, and the last target of a truncated answer: trained on in the
 * original, never masked. The kinds of a copy are those of the original plus three.
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
 * A row for training: at position i the model reads `inputs[i]` and predicts `targets[i]`, the next token.
 *
 * A sequence of L tokens takes L − 1 positions, since nothing follows its last token. All arrays have the same length.
 */
export interface SftRow {
  /** The ids the model reads, masked tokens of the copy replaced by the mask id. */
  inputs: Int32Array;
  /** The original ids that follow; never the mask id. */
  targets: Int32Array;
  /** 1 where the loss counts. The token at t, masked or not, is the target of position t − 1. */
  lossMask: Uint8Array;
  /** 0, 1, 2, … along the row: tokens see only their own segment. Padding is the last segment. */
  segmentIds: Int32Array;
  /** Position of `inputs[i]` within its segment, from 0; 0 on padding. */
  positions: Int32Array;
  /** A {@link TokenKind} for each target. */
  kinds: Uint8Array;
}
