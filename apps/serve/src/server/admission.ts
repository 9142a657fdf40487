/** Limits the answers in progress, from the arrival of a request until its client has the answer. */
import { ApiError } from './api-error.ts';

/** The answers reserved by a request. */
export interface Reservation {
  /**
   * Sets the number of answers.
   *
   * @throws ApiError 429 if the capacity is exceeded
   */
  resize(numAnswers: number): void;
  /** Releases the answers; further calls have no effect. */
  release(): void;
}

/** Counts answers; a sixteenth of the capacity is reserved for requests for a single answer. */
export class Admission {
  readonly #capacity: number;
  #taken = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Maximum number of answers to one request. */
  get maxPerRequest(): number {
    return this.#capacity - Math.floor(this.#capacity / 16);
  }

  /** Returns a reservation of no answers yet. */
  reserve(): Reservation {
    let taken = 0;
    return {
      resize: (numAnswers) => {
        this.requireCapacity(numAnswers, numAnswers - taken);
        this.#taken += numAnswers - taken;
        taken = numAnswers;
      },
      release: () => {
        this.#taken -= taken;
        taken = 0;
      },
    };
  }

  /** @throws ApiError 429 if a request of `numAnswers`, of which `numMore` are not yet counted, exceeds the capacity */
  requireCapacity(numAnswers = 1, numMore = numAnswers): void {
    const room = (numAnswers > 1 ? this.maxPerRequest : this.#capacity) - this.#taken;
    if (numMore <= room) return;
    throw new ApiError(
      429,
      `queue: got ${numMore} more answers, expected at most ${Math.max(0, room)}; try again later`,
      { code: 'queue_full' },
    );
  }
}
