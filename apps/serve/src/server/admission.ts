/** How many answers the server has taken on, from the arrival of their request until its client has them. */
import { ApiError } from './api-error.ts';

/** A request that was let in. */
export interface Admitted {
  /**
   * Says how many answers it asks for.
   *
   * @throws ApiError 429 where there is no room for them
   */
  expect(numAnswers: number): void;
  /** Makes room; once is enough. */
  leave(): void;
}

/**
 * Counts answers that are prepared, wait, are computed, or are not yet with their client.
 *
 * Requests for many answers leave a sixteenth of the room to those for one.
 */
export class Admission {
  readonly #capacity: number;
  #taken = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Most answers that one request can ask for. */
  get mostAtOnce(): number {
    return this.#capacity - Math.floor(this.#capacity / 16);
  }

  /** Lets a request in; it counts once it says how much. */
  enter(): Admitted {
    let taken = 0;
    return {
      expect: (numAnswers) => {
        this.requireRoom(numAnswers, numAnswers - taken);
        this.#taken += numAnswers - taken;
        taken = numAnswers;
      },
      leave: () => {
        this.#taken -= taken;
        taken = 0;
      },
    };
  }

  /** @throws ApiError 429 when there is no room for a request of so many answers, or for those that do not yet count */
  requireRoom(numAnswers = 1, numMore = numAnswers): void {
    const room = (numAnswers > 1 ? this.mostAtOnce : this.#capacity) - this.#taken;
    if (numMore <= room) return;
    throw new ApiError(
      429,
      `queue full: got ${numMore} more answers to take on, room for ${Math.max(0, room)}; try again later`,
      { code: 'queue_full' },
    );
  }
}
