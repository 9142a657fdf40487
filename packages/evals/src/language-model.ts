/** The interface of models: a tokenizer, and any of `score`, `generate` and `attention`. */

/** Encodes and decodes texts. */
export interface TextTokenizer {
  /** Encodes a text, without BOS or EOS; special tokens spelled in the text are not parsed. */
  encode(text: string): readonly number[];
  /** Decodes ids; special tokens are omitted. */
  decode(ids: readonly number[]): string;
  /** Id that starts a text, if the tokenizer has one. */
  readonly bosId?: number;
  /** Id that ends a text, if the tokenizer has one. */
  readonly eosId?: number;
}

/** A message of a conversation. */
export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/** The chat template of a model. */
export interface ChatFormat {
  /** Renders messages and the header of the next answer; without the system message if the template refuses it. */
  render(messages: readonly ChatMessage[]): string;
  /** Encodes a rendered text, with the special tokens that it spells. */
  encode(text: string): readonly number[];
}

/** Requests log P(continuation | context). */
export interface ScoreRequest {
  /** At least one id. An engine may compute a context that requests share only once. */
  readonly context: readonly number[];
  /** At least one id. */
  readonly continuation: readonly number[];
}

/** Answer to a {@link ScoreRequest}. */
export interface Score {
  /** Sum of the log-probabilities of the continuation's tokens, in nats. */
  readonly logLikelihood: number;
  /** Whether every token of the continuation is the most probable one at its position. */
  readonly isGreedy: boolean;
}

/** Requests new text. */
export interface GenerateRequest {
  /** At least one id. */
  readonly prompt: readonly number[];
  /** Maximum number of new tokens. */
  readonly maxNewTokens: number;
  /** Texts that end the answer and are removed from it; the model's end-of-text token always ends it. */
  readonly stop?: readonly string[];
  /** Default 0: greedy. */
  readonly temperature?: number;
  /** With a temperature, the same seed gives the same text. */
  readonly seed?: number;
}

/** Answer to a {@link GenerateRequest}. */
export interface Generation {
  /** The new text, without the stop text. */
  readonly text: string;
  /** The new ids, including those of a stop text. */
  readonly ids: readonly number[];
  /** `stop` for a stop text or the end of text, `length` for the limit of tokens. */
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
  /** float32 `[numQueries, numKeys]`, rows sum to one, zero after the query; valid only during the visit. */
  readonly probabilities: Float32Array;
}

/** Options of a call. */
export interface CallOptions {
  /** Aborts the call with the signal's reason. */
  readonly signal?: AbortSignal;
}

/**
 * A language model for evaluation.
 *
 * A call has many requests, so that the engine can sort, pack and share contexts; answers are in the order of the
 * requests. Apart from rounding, an answer does not depend on the other requests of a call.
 */
export interface LanguageModel {
  /** Name in reports. */
  readonly name: string;
  /** Identifies weights, tokenizer and precision: changes whenever an answer could. Part of cache keys. */
  readonly fingerprint: string;
  /** Maximum tokens of a sequence, including the answer. */
  readonly contextLength: number;
  readonly tokenizer: TextTokenizer;
  /** The chat template, if prompts are to be conversations. */
  readonly chat?: ChatFormat;
  /**
   * Log-likelihoods, for tasks that compare continuations. Context and continuation have at most `contextLength` + 1
   * tokens, since the last one is not read.
   */
  score?(requests: readonly ScoreRequest[], options?: CallOptions): Promise<Score[]>;
  /** New text. Prompt and `maxNewTokens` together have at most `contextLength` tokens. */
  generate?(requests: readonly GenerateRequest[], options?: CallOptions): Promise<Generation[]>;
  /** Visits every head's attention over one sequence in blocks of queries, so that no whole map is in memory. */
  attention?(
    ids: readonly number[],
    visit: (block: AttentionBlock) => void,
    options?: CallOptions,
  ): Promise<void>;
}
