import { deserialize, serialize } from 'node:v8';
import { type Collectives, connect, launched, singleProcess } from '@meap/collectives';

/** Options of {@link connectRanks}. */
export interface ConnectRanksOptions {
  /** Seconds that a rank waits for the others; 600 by default. */
  timeoutSeconds?: number;
}

/**
 * Connects the processes that `mpirun` or `srun` started, for `train`. A process without a launcher is a single rank; MPI
 * is then not loaded.
 *
 * @throws CollectivesError if ranks were launched and MPI cannot be used
 */
export async function connectRanks({ timeoutSeconds = 600 }: ConnectRanksOptions = {}): Promise<RankGroup> {
  const { size, local } = launched() ?? { size: 1, local: 1 };
  if (size <= 1) return new RankGroup();
  return new RankGroup(await connect({ timeoutSeconds }), { timeoutSeconds, numLocal: local });
}

/**
 * The ranks of a run and their joint decisions; every rank makes the same calls in the same order.
 *
 * A single process is a group of one.
 */
export class RankGroup {
  readonly collectives: Collectives;
  /** Most ranks on one machine. */
  readonly numLocal: number;
  readonly #timeoutSeconds: number;
  #isClosed = false;

  constructor(
    collectives: Collectives = singleProcess(),
    { timeoutSeconds = 600, numLocal = 1 }: ConnectRanksOptions & { numLocal?: number } = {},
  ) {
    this.collectives = collectives;
    this.numLocal = numLocal;
    this.#timeoutSeconds = timeoutSeconds;
  }

  get rank(): number {
    return this.collectives.rank;
  }

  get size(): number {
    return this.collectives.size;
  }

  /** Whether this is rank 0, which writes the files. */
  get isFirst(): boolean {
    return this.rank === 0;
  }

  /** Whether the flag is true on any rank. */
  async any(flag: boolean): Promise<boolean> {
    if (this.size === 1) return flag;
    const votes = Float64Array.of(Number(flag));
    await this.collectives.allReduce(votes);
    return votes[0] > 0;
  }

  /** Returns copies of the values of all ranks, in their order. */
  async exchange<T>(value: T): Promise<T[]> {
    if (this.size === 1) return [value];
    const own = new Uint8Array(serialize(value));
    const lengths = new Float64Array(this.size);
    await this.collectives.allGather(Float64Array.of(own.length), lengths);
    const width = Math.max(...lengths);
    const padded = new Uint8Array(width);
    padded.set(own);
    const all = new Uint8Array(width * this.size);
    await this.collectives.allGather(padded, all);
    return Array.from(lengths, (length, rank) =>
      deserialize(all.subarray(rank * width, rank * width + length)),
    );
  }

  /**
   * Runs `work` on rank 0 and returns its result, or a copy, on all ranks.
   *
   * The others wait without a timeout, because rank 0 sends heartbeats. An error is thrown only on rank 0 and must end its
   * process; the launcher then ends the others, or they time out.
   *
   * `work` may call `ask` with a number from 0: every rank then calls `help` with it, and `ask` returns the result of rank 0.
   * Only one call of `ask` may be pending.
   */
  async onFirst<T, Help = void>(
    work: (ask: (index: number) => Promise<Help>) => T | Promise<T>,
    help?: (index: number) => Promise<Help>,
  ): Promise<T> {
    if (this.size === 1) return work(help!);
    return this.isFirst ? this.#send(work, help) : this.#receive(help);
  }

  /** Runs `work` on rank 0, then on all others, which find the results of rank 0 in caches. */
  async firstThenOthers<T>(work: () => T | Promise<T>): Promise<T> {
    if (this.size === 1) return work();
    if (!this.isFirst) {
      await this.#receive();
      return work();
    }
    let result: T | undefined;
    await this.#send(async () => {
      result = await work();
    });
    return result as T;
  }

  /** Whether `close` has been called. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Waits until all ranks call it and ends the connection. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.collectives.close();
  }

  async #send<T, Help>(
    work: (ask: (index: number) => Promise<Help>) => T | Promise<T>,
    help?: (index: number) => Promise<Help>,
  ): Promise<T> {
    let isSending = false;
    const ask = async (index: number) => {
      // No heartbeats during the exchange: the others do not expect them.
      isSending = true;
      try {
        await this.collectives.broadcast(Float64Array.of(ASKING - index));
        return await help!(index);
      } finally {
        isSending = false;
      }
    };
    const timer = setInterval(
      async () => {
        if (isSending) return;
        isSending = true;
        await this.collectives.broadcast(Float64Array.of(STILL_WORKING)).catch(() => {});
        isSending = false;
      },
      (this.#timeoutSeconds * 1000) / 4,
    );
    let result: T;
    try {
      result = await work(ask);
    } finally {
      clearInterval(timer);
    }
    const bytes = new Uint8Array(serialize(result));
    await this.collectives.broadcast(Float64Array.of(bytes.length));
    await this.collectives.broadcast(bytes);
    return result;
  }

  async #receive<T>(help?: (index: number) => Promise<unknown>): Promise<T> {
    const length = Float64Array.of(STILL_WORKING);
    while (length[0] < 0) {
      await this.collectives.broadcast(length);
      if (length[0] <= ASKING) await help!(ASKING - length[0]);
    }
    const bytes = new Uint8Array(length[0]);
    await this.collectives.broadcast(bytes);
    return deserialize(bytes);
  }
}

/** Messages of rank 0 before the length of a result: a heartbeat, or a request, which is ASKING minus its number. */
const STILL_WORKING = -1;
const ASKING = -2;
