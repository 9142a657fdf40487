import { compilesShapes } from '@meap/tensor-kernels';
import * as tf from '@tensorflow/tfjs-core';
import { ContextLengthError, GenerateOptionError } from './errors.ts';
import { KeyValueCache } from './key-value-cache.ts';
import type { Llama } from './model.ts';
import { type RandomKey, randomKey, uniform } from './random.ts';
import { contextLengthOf } from './rotary-frequencies.ts';
import {
  maskedLogits,
  penalizedLogits,
  requireSamplingOptions,
  type SamplingOptions,
  sampleToken,
} from './sampling.ts';
import { stopIdsOf } from './stop-ids.ts';

/** Options of `generate`. */
export interface GenerateOptions extends SamplingOptions {
  /** Maximum number of new tokens; by default as many as fit the context. */
  maxNewTokens?: number;
  /** Ids at which generation stops; the config's `eos_token_id` by default. */
  stopIds?: readonly number[];
  /** Seed for sampling: the same seed gives the same text, regardless of other texts in the batch. 0 by default. */
  seed?: number;
  /** Restricts the text; for one text only. It also decides where stop ids are allowed. */
  constraint?: TokenConstraint;
}

/** The tokens that a text may have, one position after the other. */
export interface TokenConstraint {
  /** Returns the tokens allowed next, at least one: bit `id & 31` of word `id >> 5`. */
  mask(): Uint32Array;
  /**
   * Adds an allowed token other than a stop id.
   *
   * @returns whether the text is complete and nothing can follow, so that it ends without a stop id
   */
  accept(id: number): boolean;
}

/** Options of `Decoder.start`. */
export interface DecodeOptions extends GenerateOptions {
  /** Called with the hidden states `[T, E]` of each piece of the prompt, freed unless kept, and its first position. */
  onPrompt?: (hidden_TE: tf.Tensor2D, start: number) => void;
}

/** A text in a {@link Decoder}. */
export interface DecodedText {
  /** Ids of the prompt. */
  readonly prompt: readonly number[];
  /** New ids so far, including the stop id. */
  readonly ids: readonly number[];
  /** Whether a stop id, or a constraint, or the number of tokens ended it; undefined before its end. */
  readonly finish: 'stop' | 'length' | undefined;
}

/** A new token of a {@link Decoder} step. */
export interface DecodedToken {
  readonly text: DecodedText;
  readonly id: number;
  /** float32 `[V]`, the logits of the token, of `vocabularySize` ids. */
  readonly logits: Float32Array;
}

/** Options of {@link Decoder}. */
export interface DecoderOptions {
  /** Largest number of prompt tokens that a step processes. 512 by default. */
  promptTokensPerStep?: number;
  /** Number of ids that may be generated: of a model with rows for other adapters, fewer than its `vocab_size`. */
  vocabularySize?: number;
}

/** New tokens that a cache allocates for at first: few texts reach their maximum. */
const EXPECTED_TOKENS = 256;

/** A text and the state of its decoding. */
interface Running {
  readonly prompt: readonly number[];
  readonly ids: number[];
  finish: DecodedText['finish'];
  readonly options: DecodeOptions;
  readonly maxNewTokens: number;
  readonly stopIds: ReadonlySet<number>;
  readonly key: RandomKey;
  /** Ids of the prompt, and how often each id has been generated. */
  readonly counts: { readonly prompt: ReadonlySet<number>; readonly generated: Map<number, number> };
  readonly cache: KeyValueCache;
}

/**
 * Generates many texts at once, one token of each in a forward pass; texts start and end at any step (continuous batching,
 * Yu et al. 2022, "Orca").
 *
 * Each text has its own cache, so that texts of different lengths share a pass without padding, and its tokens do not
 * depend on other texts beyond rounding.
 */
export class Decoder {
  readonly #model: Llama;
  readonly #promptTokensPerStep: number;
  readonly #vocabularySize: number;
  readonly #running = new Set<Running>();

  constructor(model: Llama, { promptTokensPerStep = 512, vocabularySize }: DecoderOptions = {}) {
    if (!(Number.isInteger(promptTokensPerStep) && promptTokensPerStep > 0)) {
      throw new GenerateOptionError(
        `promptTokensPerStep: got ${promptTokensPerStep}, expected a positive integer`,
      );
    }
    this.#model = model;
    this.#promptTokensPerStep = promptTokensPerStep;
    this.#vocabularySize = vocabularySize ?? model.config.vocab_size;
  }

  /** Number of unfinished texts. */
  get size(): number {
    return this.#running.size;
  }

  /**
   * Adds a text; the next steps process its prompt and generate.
   *
   * @param promptIds at least one token id
   * @throws ContextLengthError if prompt and new tokens exceed `contextLengthOf`
   * @throws GenerateOptionError for impossible options
   */
  start(promptIds: ArrayLike<number>, options: DecodeOptions = {}): DecodedText {
    const maxNewTokens = requireRoom(this.#model, promptIds.length, options.maxNewTokens);
    requireSamplingOptions(options);
    requireIds(this.#vocabularySize, options.logitBias);
    const text: Running = {
      prompt: Array.from(promptIds),
      ids: [],
      finish: maxNewTokens === 0 ? 'length' : undefined,
      options,
      maxNewTokens,
      stopIds: new Set(options.stopIds ?? stopIdsOf(this.#model.config)),
      key: randomKey(options.seed ?? 0, 'generate'),
      counts: { prompt: new Set(Array.from(promptIds)), generated: new Map() },
      cache: new KeyValueCache({
        capacity: promptIds.length + Math.min(maxNewTokens, EXPECTED_TOKENS),
        textLength: promptIds.length,
      }),
    };
    if (maxNewTokens > 0) this.#running.add(text);
    return text;
  }

  /** Stops a text early and frees its cache; has no effect on a finished text. */
  stop(text: DecodedText): void {
    const running = text as Running;
    if (this.#running.delete(running)) running.cache.dispose();
  }

  /**
   * Processes a piece of the oldest unread prompt, if there is one, and adds a token to every text whose prompt is read.
   *
   * @returns the new tokens in the order in which their texts started; finished texts leave the decoder.
   * @throws TokenInputError for an id outside the vocabulary, after stopping its text. Errors of the backend, such as
   *   exhausted memory, after stopping the texts that would have received a token; others can continue.
   */
  async step(): Promise<DecodedToken[]> {
    const waiting = [...this.#running].find(isReading);
    const ready = [...this.#running].filter((text) => !isReading(text));
    /** Texts whose caches are ahead of their tokens until the step ends. */
    const texts: Running[] = [];
    let logits_BV: tf.Tensor | undefined;
    let values: Float32Array;
    try {
      logits_BV = tf.tidy(() => {
        const last_1E = waiting && this.#readPiece(waiting);
        texts.push(...ready, ...(last_1E ? [waiting] : []));
        const parts = [ready.length > 0 ? this.#readOne(ready) : undefined, last_1E].filter(
          (x) => x !== undefined,
        );
        if (parts.length === 0) return undefined;
        return this.#model.unembed(parts.length === 1 ? parts[0] : tf.concat(parts));
      });
      if (!logits_BV) return [];
      values = (await logits_BV.data()) as Float32Array;
    } catch (error) {
      for (const text of texts) this.stop(text);
      throw error;
    } finally {
      logits_BV?.dispose();
    }
    const numRows = values.length / texts.length;
    const logitsOf = (b: number) => values.subarray(b * numRows, b * numRows + this.#vocabularySize);
    // Texts that were stopped in the meantime get no token.
    const order = [...this.#running];
    return texts
      .map((text, b) => ({ text, logits: logitsOf(b) }))
      .filter(({ text }) => this.#running.has(text))
      .sort((a, b) => order.indexOf(a.text) - order.indexOf(b.text))
      .map(({ text, logits }) => ({ text, id: this.#add(text, logits), logits }));
  }

  /** Stops all texts. */
  dispose(): void {
    for (const text of this.#running) this.stop(text);
  }

  /** Samples the next token of a text. */
  #add(text: Running, logits: Float32Array): number {
    const { options, counts } = text;
    const { constraint } = options;
    const penalized = penalizedLogits(logits, options, counts);
    const allowed = constraint ? maskedLogits(penalized, constraint.mask()) : penalized;
    const id = sampleToken(allowed, options, uniform(text.key, text.ids.length));
    counts.generated.set(id, (counts.generated.get(id) ?? 0) + 1);
    text.ids.push(id);
    if (text.stopIds.has(id) || constraint?.accept(id)) text.finish = 'stop';
    else if (text.ids.length === text.maxNewTokens) text.finish = 'length';
    if (text.finish) this.stop(text);
    return id;
  }

  /** Processes the next piece of a prompt; returns `[1, E]` of its last position once it is complete. */
  #readPiece(text: Running): tf.Tensor2D | undefined {
    const start = text.cache.length;
    const length = Math.min(text.prompt.length - start, this.#promptTokensPerStep);
    // In powers of two, a few programs serve prompts of all lengths.
    const piece = text.prompt.slice(
      start,
      start + (compilesShapes() ? 2 ** Math.floor(Math.log2(length)) : length),
    );
    try {
      return tf.tidy(() => {
        const input = tf.tensor2d(piece, [1, piece.length], 'int32');
        const x_1TE = this.#model.hidden(input, { cache: text.cache });
        text.options.onPrompt?.(x_1TE.squeeze([0]), start);
        if (isReading(text)) return undefined;
        return x_1TE.slice([0, piece.length - 1], [1, 1]).squeeze<tf.Tensor2D>([1]);
      }) as tf.Tensor2D | undefined;
    } catch (error) {
      this.stop(text);
      throw error;
    }
  }

  /** Processes the last token of each text: `[B, E]`. */
  #readOne(texts: readonly Running[]): tf.Tensor2D {
    const ids_B1 = tf.tensor2d(
      texts.map(({ ids }) => ids[ids.length - 1]),
      [texts.length, 1],
      'int32',
    );
    const caches = texts.map(({ cache }) => cache);
    return this.#model.hidden(ids_B1, { cache: caches }).squeeze<tf.Tensor2D>([1]);
  }
}

/** Whether the prompt is not read completely. */
function isReading({ prompt, cache }: Running): boolean {
  return cache.length < prompt.length;
}

/** @throws GenerateOptionError for an id without a logit */
function requireIds(size: number, logitBias: SamplingOptions['logitBias'] = {}): void {
  const wrong = Object.keys(logitBias).find((id) => !(/^\d+$/.test(id) && Number(id) < size));
  if (wrong === undefined) return;
  throw new GenerateOptionError(`logitBias: got token id ${wrong}, expected ids from 0 to ${size - 1}`);
}

/** The maximum number of new tokens. */
function requireRoom({ config }: Llama, promptLength: number, wanted: number | undefined): number {
  const limit = contextLengthOf(config);
  if (promptLength === 0) {
    throw new GenerateOptionError('prompt: got no ids, expected at least one; begin with the BOS id');
  }
  if (wanted !== undefined && !(Number.isInteger(wanted) && wanted >= 0)) {
    throw new GenerateOptionError(`maxNewTokens: got ${wanted}, expected a non-negative integer`);
  }
  const maxNewTokens = wanted ?? limit - promptLength;
  if (maxNewTokens < 0 || promptLength + maxNewTokens > limit) {
    throw new ContextLengthError(
      `the prompt's ${promptLength} tokens and ${Math.max(0, maxNewTokens)} new ones exceed the context of ` +
        `${limit}; shorten the prompt or lower maxNewTokens`,
    );
  }
  return maxNewTokens;
}
