/** What an engine offers to be evaluated: a tokenizer, and those of `score`, `generate` and `attention` it can do. */

/** Texts to token ids and back. */
export interface TextTokenizer {
  /** Ids of a text, without special tokens around it; special tokens spelled in the text are not parsed. */
  encode(text: string): readonly number[];
  /** The text of ids; special tokens are left out. */
  decode(ids: readonly number[]): string;
  /** Id that begins a text, where the tokenizer has one. */
  readonly bosId?: number;
  /** Id that ends a text, where the tokenizer has one. */
  readonly eosId?: number;
}

/** Asks for log P(continuation | context). */
export interface ScoreRequest {
  /** At least one id: what comes before. Requests that share it are computed from it once where the engine can. */
  readonly context: readonly number[];
  /** At least one id: what is scored. */
  readonly continuation: readonly number[];
}

/** Answer to a {@link ScoreRequest}. */
export interface Score {
  /** Sum of the log-probabilities of the continuation's tokens, in nats. */
  readonly logLikelihood: number;
  /** Whether every token of the continuation is the most probable one at its place. */
  readonly isGreedy: boolean;
}

/** Asks for new text. */
export interface GenerateRequest {
  /** At least one id. */
  readonly prompt: readonly number[];
  /** Most tokens to add. */
  readonly maxNewTokens: number;
  /** Texts that end the answer and are cut off; the model's end-of-text token always does. */
  readonly stop?: readonly string[];
  /** 0 (the default) takes the most probable token each time. */
  readonly temperature?: number;
  /** With a temperature: the same seed draws the same text. */
  readonly seed?: number;
}

/** Answer to a {@link GenerateRequest}. */
export interface Generation {
  /** The new text, without the stop text. */
  readonly text: string;
  /** The new ids, with those of a stop text. */
  readonly ids: readonly number[];
  /** Whether a stop text or the end of text ended it, or the number of tokens. */
  readonly finish: 'stop' | 'length';
}

/** Attention probabilities of some queries of one head. */
export interface AttentionBlock {
  readonly layer: number;
  /** Query head. */
  readonly head: number;
  /** Position of the first query. */
  readonly queryStart: number;
  readonly numQueries: number;
  /** Number of keys: the length of the sequence. */
  readonly numKeys: number;
  /** float32 `[numQueries, numKeys]`, rows sum to one, zero after the query; valid during the visit only. */
  readonly probabilities: Float32Array;
}

/** How a call reports and is stopped. */
export interface CallOptions {
  /** Ends the call with the signal's reason. */
  readonly signal?: AbortSignal;
}

/**
 * A language model as evaluations see it.
 *
 * Batches are the caller's choice: a call with many requests lets the engine sort, pack and share, and its answers come
 * in the order of the requests. An answer never depends on the other requests of a call beyond rounding.
 */
export interface LanguageModel {
  /** For people: what reports call it. */
  readonly name: string;
  /** Changes whenever an answer could: weights, tokenizer, precision. Keys of caches hold it. */
  readonly fingerprint: string;
  /** Most tokens of a sequence, prompt and answer together. */
  readonly contextLength: number;
  readonly tokenizer: TextTokenizer;
  /** Log-likelihoods, for tasks that compare continuations; context and continuation together fit `contextLength` + 1, the last token is never read. */
  score?(requests: readonly ScoreRequest[], options?: CallOptions): Promise<Score[]>;
  /** New text, for tasks that read an answer; prompt and `maxNewTokens` together fit `contextLength`. */
  generate?(requests: readonly GenerateRequest[], options?: CallOptions): Promise<Generation[]>;
  /**
   * Shows every head's attention over one sequence, block by block of queries, so that no map of a whole layer is
   * ever held.
   */
  attention?(
    ids: readonly number[],
    visit: (block: AttentionBlock) => void,
    options?: CallOptions,
  ): Promise<void>;
}
