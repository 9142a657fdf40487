/**
 * Continuous batching: a queue of sequences, a decoder for each model, and a loop over them.
 *
 * Each iteration admits sequences while the batch has room, then runs a step of each decoder: it reads a piece of one prompt and
 * adds a token to every sequence past its prompt. Long prompts therefore delay answers by only a piece at a time. The
 * loop yields to the event loop before each step, since TensorFlow.js computes on the main thread.
 *
 * Suffixes: T tokens, E hidden size, N positions, V vocabulary.
 */
import {
  type DecodedText,
  type DecodedToken,
  type DecodeOptions,
  Decoder,
  type Llama,
  type SamplingOptions,
} from '@meap/llama-model';
import * as tf from '@tensorflow/tfjs-core';
import { rankTokens } from './log-probabilities.ts';
import { TokenStream } from './token-stream.ts';

export interface SequenceRequest extends Readonly<SamplingOptions> {
  /** At least one id; fits the context together with `maxNewTokens`. */
  readonly promptIds: readonly number[];
  readonly maxNewTokens: number;
  /** The same seed samples the same tokens as `generate`. */
  readonly seed: number;
  /** Ids that end the answer, which includes them. */
  readonly stopIds: readonly number[];
  /** Requests log-probabilities and this many of the most likely tokens at each position. */
  readonly numTop?: number;
  /** Whether the prompt's tokens are streamed before the new ones. */
  readonly echo: boolean;
}

/** A model to generate with. */
export interface DecodedModel {
  readonly model: Llama;
  /** Number of its ids; its tables may have rows for other models. */
  readonly vocabularySize: number;
}

interface Sequence {
  readonly request: SequenceRequest;
  readonly decoded: DecodedModel;
  /** Identifies the client's request, which may have many sequences. */
  readonly signal: AbortSignal;
  readonly stream: TokenStream;
}

/** Hidden states of a piece of a prompt, to be scored after the decoder's step. */
interface ReadPiece {
  readonly sequence: Sequence;
  readonly hidden_TE: tf.Tensor2D;
  /** Position of the first hidden state. */
  readonly start: number;
}

// Positions of a prompt whose logits are computed together: 32 MB for a vocabulary of 128,000.
const SCORED_POSITIONS = 64;
// Logits ranked before yielding to the event loop, about 5 ms.
const RANKED_LOGITS = 2 ** 19;

/** Generates text for many requests with one model, or several that share their weights. */
export class CompletionEngine {
  readonly #maxBatch: number;
  readonly #decoders = new Map<DecodedModel, Decoder>();
  /** Waiting sequences by request; requests are served round-robin. */
  #waiting: Sequence[][] = [];
  readonly #running = new Map<DecodedText, Sequence>();
  /** Pieces of prompts read by the last step that must be scored. */
  readonly #read: ReadPiece[] = [];
  #loop: Promise<void> | undefined;

  /** @param limits `maxBatch`: maximum number of sequences in the batch; each holds a key/value cache */
  constructor({ maxBatch }: { maxBatch: number }) {
    this.#maxBatch = maxBatch;
  }

  get numRunning(): number {
    return this.#running.size;
  }

  get numWaiting(): number {
    return this.#waiting.reduce((sum, { length }) => sum + length, 0);
  }

  /**
   * Queues the sequences of a request.
   *
   * @param signal cancels the sequences; their readers get its reason
   * @returns a stream for each sequence, to be read to its end or returned early
   */
  submit(decoded: DecodedModel, requests: readonly SequenceRequest[], signal: AbortSignal): TokenStream[] {
    signal.throwIfAborted();
    const sequences = requests.map((request) => ({ request, decoded, signal, stream: new TokenStream() }));
    const cancel = () => {
      for (const { stream } of sequences) stream.fail(signal.reason);
    };
    signal.addEventListener('abort', cancel, { once: true });
    this.#waiting.push(sequences);
    this.#loop ??= this.#run();
    return sequences.map(({ stream }) => stream);
  }

  /** Resolves when no sequences are left. */
  async idle(): Promise<void> {
    await this.#loop;
  }

  /** Runs until no sequences are left. */
  async #run(): Promise<void> {
    do {
      // A macrotask, so that sockets and timers are handled.
      await new Promise(setImmediate);
      this.#removeAbandoned();
      this.#admit();
      try {
        await this.#step();
      } catch (error) {
        this.#failAll(error);
      }
    } while (this.numRunning > 0 || this.#waiting.length > 0);
    this.#loop = undefined;
  }

  /** Removes sequences whose stream is closed. */
  #removeAbandoned(): void {
    for (const [text, { stream, decoded }] of this.#running) {
      if (!stream.isClosed) continue;
      this.#decoderOf(decoded).stop(text);
      this.#running.delete(text);
    }
    const open = this.#waiting.map((sequences) => sequences.filter(({ stream }) => !stream.isClosed));
    this.#waiting = open.filter(({ length }) => length > 0);
  }

  /** Fails all running sequences, since the one that caused the error is unknown. */
  #failAll(error: unknown): void {
    for (const { stream } of this.#running.values()) stream.fail(error);
    this.#running.clear();
    for (const decoder of this.#decoders.values()) decoder.dispose();
  }

  /** Admits sequences round-robin; an eighth of the batch is reserved for requests without running sequences. */
  #admit(): void {
    const running = new Set(Array.from(this.#running.values(), ({ signal }) => signal));
    const numReserved = this.#maxBatch > 1 ? Math.max(1, Math.floor(this.#maxBatch / 8)) : 0;
    while (this.numRunning < this.#maxBatch) {
      const isFull = this.numRunning >= this.#maxBatch - numReserved;
      const next = this.#waiting.findIndex(([{ signal }]) => !(isFull && running.has(signal)));
      if (next < 0) return;
      const [sequences] = this.#waiting.splice(next, 1);
      const sequence = sequences.shift()!;
      running.add(sequence.signal);
      try {
        this.#start(sequence);
      } catch (error) {
        sequence.stream.fail(error);
      }
      if (sequences.length > 0) this.#waiting.push(sequences);
    }
  }

  #decoderOf(decoded: DecodedModel): Decoder {
    const { model, vocabularySize } = decoded;
    const decoder = this.#decoders.get(decoded) ?? new Decoder(model, { vocabularySize });
    this.#decoders.set(decoded, decoder);
    return decoder;
  }

  #start(sequence: Sequence): void {
    const { request, stream } = sequence;
    const decoder = this.#decoderOf(sequence.decoded);
    const { promptIds, echo, numTop, maxNewTokens } = request;
    const isScored = echo && numTop !== undefined;
    if (isScored) stream.push({ id: promptIds[0], isPrompt: true });
    else if (echo) for (const id of promptIds) stream.push({ id, isPrompt: true });
    const onPrompt: DecodeOptions['onPrompt'] = isScored
      ? (hidden_TE, start) => this.#read.push({ sequence, hidden_TE: tf.keep(hidden_TE), start })
      : undefined;
    if (maxNewTokens > 0) {
      this.#running.set(decoder.start(promptIds, { ...request, onPrompt }), sequence);
    } else if (isScored && promptIds.length > 1) {
      // The decoder always generates a token; here it takes the position of the prompt's last token and is dropped.
      const text = decoder.start(promptIds.slice(0, -1), { maxNewTokens: 1, onPrompt });
      this.#running.set(text, sequence);
    } else stream.end('length');
  }

  async #step(): Promise<void> {
    try {
      const tokens: DecodedToken[] = [];
      for (const decoder of this.#decoders.values()) {
        if (decoder.size === 0) continue;
        if (tokens.length > 0) await new Promise(setImmediate);
        tokens.push(...(await decoder.step()));
      }
      for (const piece of this.#read) await this.#scorePiece(piece);
      for (const { text, id, logits } of tokens) {
        const { request, stream } = this.#running.get(text)!;
        if (request.maxNewTokens > 0) {
          const ranked = request.numTop === undefined ? { id } : rankTokens(logits, id, request.numTop);
          stream.push({ isPrompt: false, ...ranked });
        }
        if (!text.finish) continue;
        stream.end(request.maxNewTokens > 0 ? text.finish : 'length');
        this.#running.delete(text);
      }
    } finally {
      for (const { hidden_TE } of this.#read.splice(0)) hidden_TE.dispose();
    }
  }

  /** Streams the log-probabilities of the prompt's tokens that follow a piece's positions. */
  async #scorePiece({ sequence, hidden_TE, start }: ReadPiece): Promise<void> {
    const { request, stream, decoded } = sequence;
    const { promptIds, numTop = 0 } = request;
    const numPositions = Math.min(hidden_TE.shape[0], promptIds.length - 1 - start);
    for (let from = 0; from < numPositions && !stream.isClosed; from += SCORED_POSITIONS) {
      const count = Math.min(SCORED_POSITIONS, numPositions - from);
      const logits_NV = tf.tidy(() => decoded.model.unembed(hidden_TE.slice([from, 0], [count, -1])));
      const logits = (await logits_NV.data()) as Float32Array;
      logits_NV.dispose();
      const V = logits.length / count;
      for (let i = 0; i < count; i++) {
        const id = promptIds[start + from + i + 1];
        const own = logits.subarray(i * V, i * V + decoded.vocabularySize);
        stream.push({ isPrompt: true, ...rankTokens(own, id, numTop) });
        // Ranking all positions of a large vocabulary takes 0.1 s.
        if ((i + 1) % Math.ceil(RANKED_LOGITS / V) === 0) await new Promise(setImmediate);
      }
    }
  }
}
