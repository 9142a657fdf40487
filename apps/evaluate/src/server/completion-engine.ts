/**
 * One model, many requests: a bounded queue in front of a decoder, and a loop that works on both.
 *
 * A turn of the loop admits sequences while the batch has room, scores a piece of one prompt where that is asked for, and
 * lets the decoder step: it reads a piece of one prompt and adds a token to every text past its prompt. So a long prompt
 * delays the others by a piece at a time, and requests with many sequences take turns with those that have one.
 * TensorFlow.js computes on the main thread: before each turn the event loop gets its share, so that requests, health
 * checks and cancellations come through.
 */
import { type DecodedText, Decoder, type Llama } from '@meap/llama-model';
import { rankTokens } from './log-probabilities.ts';
import { PromptScorer } from './prompt-scorer.ts';
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

/** How much an engine takes on. */
export interface EngineLimits {
  /** Most sequences computed at once; each holds a key/value cache. */
  readonly maxBatch: number;
  /** Most sequences beyond those, waiting or not yet read by their clients. */
  readonly maxQueue: number;
}

/** More sequences are there already than the engine takes. */
export class QueueFullError extends Error {
  override readonly name = 'QueueFullError';
}

interface Sequence {
  readonly request: SequenceRequest;
  readonly stream: TokenStream;
}

/** Generates for many requests at once with one model. */
export class CompletionEngine {
  readonly #model: Llama;
  readonly #limits: EngineLimits;
  readonly #decoder: Decoder;
  /** Sequences that wait, by request: requests take turns. */
  #waiting: Sequence[][] = [];
  readonly #running = new Map<DecodedText, Sequence>();
  /** Sequences whose prompts are being scored. */
  #scoring: (Sequence & { scorer: PromptScorer })[] = [];
  /** Streams that are not read to their end. */
  readonly #open = new Set<TokenStream>();
  #loop: Promise<void> | undefined;

  constructor(model: Llama, limits: EngineLimits) {
    this.#model = model;
    this.#limits = limits;
    this.#decoder = new Decoder(model);
  }

  get numRunning(): number {
    return this.#running.size + this.#scoring.length;
  }

  get numWaiting(): number {
    return this.#waiting.reduce((sum, { length }) => sum + length, 0);
  }

  /** How many more sequences would be taken now. */
  get room(): number {
    return this.#limits.maxBatch + this.#limits.maxQueue - this.#open.size;
  }

  /**
   * Takes the sequences of one request, all or none.
   *
   * @param signal gives the sequences up; their readers get its reason
   * @returns a stream for each sequence, to be read to its end or left
   * @throws QueueFullError when there is no room
   */
  submit(requests: readonly SequenceRequest[], signal: AbortSignal): TokenStream[] {
    signal.throwIfAborted();
    if (requests.length > this.room) {
      throw new QueueFullError(`got ${requests.length} sequences, room for ${this.room}; try again later`);
    }
    const sequences = requests.map((request) => {
      const stream: TokenStream = new TokenStream(() => this.#open.delete(stream));
      this.#open.add(stream);
      return { request, stream };
    });
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
        await this.#score();
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
    for (const { scorer } of this.#scoring.filter(({ stream }) => stream.isOver)) scorer.dispose();
    this.#scoring = this.#scoring.filter(({ stream }) => !stream.isOver);
    const read = this.#waiting.map((sequences) => sequences.filter(({ stream }) => !stream.isOver));
    this.#waiting = read.filter(({ length }) => length > 0);
  }

  /** Which sequence was at fault is not known. */
  #failAll(error: unknown): void {
    for (const { stream } of [...this.#running.values(), ...this.#scoring]) stream.fail(error);
    for (const { scorer } of this.#scoring) scorer.dispose();
    this.#scoring = [];
    this.#running.clear();
    this.#decoder.dispose();
  }

  #admit(): void {
    while (this.numRunning < this.#limits.maxBatch && this.#waiting.length > 0) {
      const sequences = this.#waiting.shift()!;
      const sequence = sequences.shift()!;
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
    if (echo && numTop !== undefined) {
      this.#scoring.push({ ...sequence, scorer: new PromptScorer(this.#model, promptIds, numTop) });
      return;
    }
    if (echo) for (const id of promptIds) stream.push({ id, isPrompt: true });
    if (maxNewTokens === 0) stream.end('length');
    else this.#running.set(this.#decoder.start(promptIds, request), sequence);
  }

  /** Reads and scores a piece of the prompt whose turn it is. */
  async #score(): Promise<void> {
    const scored = this.#scoring.shift();
    if (!scored) return;
    const { request, stream, scorer } = scored;
    this.#scoring.push(scored);
    const tokens = await scorer.readPiece();
    for (const token of tokens.filter(({ isPrompt }) => isPrompt)) stream.push(token);
    if (!scorer.isDone) return;
    this.#scoring.splice(this.#scoring.indexOf(scored), 1);
    scorer.dispose();
    const next = tokens.at(-1)!;
    if (request.maxNewTokens === 0) return stream.end('length');
    // As harnesses ask for log-likelihoods: one greedy token behind the prompt, for which nothing need be read again.
    if (request.maxNewTokens === 1 && request.temperature === 0) {
      stream.push(next);
      return stream.end(request.stopIds.includes(next.id) ? 'stop' : 'length');
    }
    this.#running.set(this.#decoder.start(request.promptIds, request), scored);
  }

  async #step(): Promise<void> {
    for (const { text, id, logits } of await this.#decoder.step()) {
      const { request, stream } = this.#running.get(text)!;
      const ranked = request.numTop === undefined ? { id } : rankTokens(logits, id, request.numTop);
      stream.push({ isPrompt: false, ...ranked });
      if (!text.finish) continue;
      stream.end(text.finish);
      this.#running.delete(text);
    }
  }
}
