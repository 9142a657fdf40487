/**
 * One model, many requests: a queue in front of a decoder, and a loop that works on both.
 *
 * A turn of the loop admits sequences while the batch has room and lets the decoder step: it reads a piece of one prompt
 * and adds a token to every text past its prompt. So a long prompt delays answers by a piece at a time, and requests
 * with many sequences take turns with those that have one. TensorFlow.js computes on the main thread: before each
 * turn the event loop gets its share, so that requests, health checks and cancellations come through.
 *
 * Suffixes: T tokens, E hidden size, N places, V vocabulary.
 */
import { type DecodedText, type DecodeOptions, Decoder, type Llama } from '@meap/llama-model';
import * as tf from '@tensorflow/tfjs-core';
import { rankTokens } from './log-probabilities.ts';
import { TokenStream } from './token-stream.ts';

/** What is asked for one sequence. */
export interface SequenceRequest {
  /** At least one id; with `maxNewTokens` it fits the context. */
  readonly promptIds: readonly number[];
  readonly maxNewTokens: number;
  /** 0 takes the most likely token each time. */
  readonly temperature: number;
  /** Only the most likely tokens that together reach this probability, above 0. */
  readonly topP: number;
  /** With a temperature: the same seed draws the same tokens, as `generate` does. */
  readonly seed: number;
  /** Ids that end the answer; they are still part of it. */
  readonly stopIds: readonly number[];
  /** Log-probabilities are wanted, and so many of the most likely tokens at each place. */
  readonly numTop?: number;
  /** Whether the prompt's tokens are streamed too, before the new ones. */
  readonly echo: boolean;
}

interface Sequence {
  readonly request: SequenceRequest;
  /** Of the client's request, which may have many sequences. */
  readonly signal: AbortSignal;
  readonly stream: TokenStream;
}

/** Hidden states of a piece of a prompt, to be scored when the decoder's step is done. */
interface ReadPiece {
  readonly sequence: Sequence;
  readonly hidden_TE: tf.Tensor2D;
  /** Position of the first. */
  readonly start: number;
}

// Places whose logits are held at once where a prompt is scored: 32 MB for a vocabulary of 128,000.
const SCORED_PLACES = 64;
// Logits that are ranked before others get their share of the event loop: some 5 ms.
const RANKED_LOGITS = 2 ** 19;

/** Generates for many requests at once with one model. */
export class CompletionEngine {
  readonly #model: Llama;
  readonly #maxBatch: number;
  readonly #decoder: Decoder;
  /** Sequences that wait, by request: requests take turns. */
  #waiting: Sequence[][] = [];
  readonly #running = new Map<DecodedText, Sequence>();
  /** What the last step read of prompts that are scored. */
  readonly #read: ReadPiece[] = [];
  #loop: Promise<void> | undefined;

  /** @param limits `maxBatch`: most sequences computed at once; each holds a key/value cache */
  constructor(model: Llama, { maxBatch }: { maxBatch: number }) {
    this.#model = model;
    this.#maxBatch = maxBatch;
    this.#decoder = new Decoder(model);
  }

  get numRunning(): number {
    return this.#running.size;
  }

  get numWaiting(): number {
    return this.#waiting.reduce((sum, { length }) => sum + length, 0);
  }

  /**
   * Takes the sequences of one request; how many there may be is up to the caller.
   *
   * @param signal gives the sequences up; their readers get its reason
   * @returns a stream for each sequence, to be read to its end or left
   */
  submit(requests: readonly SequenceRequest[], signal: AbortSignal): TokenStream[] {
    signal.throwIfAborted();
    const sequences = requests.map((request) => ({ request, signal, stream: new TokenStream() }));
    const giveUp = () => {
      for (const { stream } of sequences) stream.fail(signal.reason);
    };
    signal.addEventListener('abort', giveUp, { once: true });
    this.#waiting.push(sequences);
    this.#loop ??= this.#work();
    return sequences.map(({ stream }) => stream);
  }

  /** Waits until nothing is left to compute. */
  async idle(): Promise<void> {
    await this.#loop;
  }

  /** Ends when there is nothing to do; the next request starts it again. */
  async #work(): Promise<void> {
    do {
      // A macrotask: only then do sockets and timers get their share.
      await new Promise(setImmediate);
      this.#forgetLeft();
      this.#admit();
      try {
        await this.#step();
      } catch (error) {
        this.#failAll(error);
      }
    } while (this.numRunning > 0 || this.#waiting.length > 0);
    this.#loop = undefined;
  }

  /** Frees what nobody reads any more. */
  #forgetLeft(): void {
    for (const [text, { stream }] of this.#running) {
      if (!stream.isOver) continue;
      this.#decoder.stop(text);
      this.#running.delete(text);
    }
    const read = this.#waiting.map((sequences) => sequences.filter(({ stream }) => !stream.isOver));
    this.#waiting = read.filter(({ length }) => length > 0);
  }

  /** Which sequence was at fault is not known. */
  #failAll(error: unknown): void {
    for (const { stream } of this.#running.values()) stream.fail(error);
    this.#running.clear();
    this.#decoder.dispose();
  }

  /** Requests take turns; an eighth of the places is left to those that have none yet. */
  #admit(): void {
    const running = new Set(Array.from(this.#running.values(), ({ signal }) => signal));
    const numKept = this.#maxBatch > 1 ? Math.max(1, Math.floor(this.#maxBatch / 8)) : 0;
    while (this.numRunning < this.#maxBatch) {
      const isFull = this.numRunning >= this.#maxBatch - numKept;
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

  #start(sequence: Sequence): void {
    const { request, stream } = sequence;
    const { promptIds, echo, numTop, maxNewTokens } = request;
    const isScored = echo && numTop !== undefined;
    if (isScored) stream.push({ id: promptIds[0], isPrompt: true });
    else if (echo) for (const id of promptIds) stream.push({ id, isPrompt: true });
    const onPrompt: DecodeOptions['onPrompt'] = isScored
      ? (hidden_TE, start) => this.#read.push({ sequence, hidden_TE: tf.keep(hidden_TE), start })
      : undefined;
    if (maxNewTokens > 0) {
      this.#running.set(this.#decoder.start(promptIds, { ...request, onPrompt }), sequence);
    } else if (isScored && promptIds.length > 1) {
      // A token is drawn because a decoder always draws one; it stands for the last of the prompt, which nobody reads.
      const text = this.#decoder.start(promptIds.slice(0, -1), { maxNewTokens: 1, onPrompt });
      this.#running.set(text, sequence);
    } else stream.end('length');
  }

  async #step(): Promise<void> {
    try {
      const tokens = await this.#decoder.step();
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

  /** Streams what a piece of a prompt foretells: the token behind each place. */
  async #scorePiece({ sequence: { request, stream }, hidden_TE, start }: ReadPiece): Promise<void> {
    const { promptIds, numTop = 0 } = request;
    const numPlaces = Math.min(hidden_TE.shape[0], promptIds.length - 1 - start);
    for (let place = 0; place < numPlaces && !stream.isOver; place += SCORED_PLACES) {
      const count = Math.min(SCORED_PLACES, numPlaces - place);
      const logits_NV = tf.tidy(() => this.#model.unembed(hidden_TE.slice([place, 0], [count, -1])));
      const logits = (await logits_NV.data()) as Float32Array;
      logits_NV.dispose();
      const V = logits.length / count;
      for (let i = 0; i < count; i++) {
        const id = promptIds[start + place + i + 1];
        stream.push({ isPrompt: true, ...rankTokens(logits.subarray(i * V, (i + 1) * V), id, numTop) });
        // With large vocabularies all places take a tenth of a second.
        if ((i + 1) % Math.ceil(RANKED_LOGITS / V) === 0) await new Promise(setImmediate);
      }
    }
  }
}
