import { deserialize, serialize } from 'node:v8';
import { type Collectives, connect, launched, singleProcess } from '@meap/collectives';

/** Options of {@link connectRanks}. */
export interface ConnectRanksOptions {
  /** Seconds that a rank waits for the others before it gives up; 600 unless given. */
  timeoutSeconds?: number;
}

/**
 * The processes that `mpirun` or `srun` started together, to be given to `train`; this process alone where it
 * started no others, and then MPI is not loaded.
 *
 * @throws CollectivesError where ranks were launched but MPI cannot be used
 */
export async function connectRanks({ timeoutSeconds = 600 }: ConnectRanksOptions = {}): Promise<RankGroup> {
  const { size, local } = launched() ?? { size: 1, local: 1 };
  if (size <= 1) return new RankGroup();
  return new RankGroup(await connect({ timeoutSeconds }), { timeoutSeconds, numLocal: local });
}

/**
 * What ranks decide and do together beside their arithmetic; every rank makes the same calls in the same order.
 *
 * A process alone is a group of one, which waits for nobody.
 */
export class RankGroup {
  readonly collectives: Collectives;
  /** How many of the ranks share this machine, at most. */
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

  /** Whether this is rank 0, the one that writes. */
  get isFirst(): boolean {
    return this.rank === 0;
  }

  /** Whether any rank says so. */
  async any(flag: boolean): Promise<boolean> {
    if (this.size === 1) return flag;
    const votes = Float64Array.of(Number(flag));
    await this.collectives.allReduce(votes);
    return votes[0] > 0;
  }

  /** The values of all ranks, in their order; copies, as `structuredClone` makes them. */
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
   * What `work` returns on rank 0, for all; the others get a copy, as `structuredClone` makes it.
   *
   * The others wait however long it takes, since rank 0 lets them know that it is alive. An error stays with rank 0,
   * whose process it must end; the launcher then ends the others, or they give up after their timeout.
   *
   * Where `work` needs the others for something, it calls `ask` with a number from 0: every rank then calls `help` with
   * it, and `ask` returns what it gave here. One at a time.
   */
  async onFirst<T, Help = void>(
    work: (ask: (index: number) => Promise<Help>) => T | Promise<T>,
    help?: (index: number) => Promise<Help>,
  ): Promise<T> {
    if (this.size === 1) return work(help!);
    return this.isFirst ? this.#tell(work, help) : this.#hear(help);
  }

  /** Runs `work` on rank 0, then on all others: what rank 0 leaves in a cache, the others find there. */
  async firstThenOthers<T>(work: () => T | Promise<T>): Promise<T> {
    if (this.size === 1) return work();
    if (!this.isFirst) {
      await this.#hear();
      return work();
    }
    let result: T | undefined;
    await this.#tell(async () => {
      result = await work();
    });
    return result as T;
  }

  /** Whether `close` has been called. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Ends the connection; waits until all ranks do. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.collectives.close();
  }

  async #tell<T, Help>(
    work: (ask: (index: number) => Promise<Help>) => T | Promise<T>,
    help?: (index: number) => Promise<Help>,
  ): Promise<T> {
    let telling = false;
    const ask = async (index: number) => {
      // No sign of life in between, where the others would not expect it.
      telling = true;
      try {
        await this.collectives.broadcast(Float64Array.of(ASKING - index));
        return await help!(index);
      } finally {
        telling = false;
      }
    };
    const timer = setInterval(
      async () => {
        if (telling) return;
        telling = true;
        await this.collectives.broadcast(Float64Array.of(STILL_WORKING)).catch(() => {});
        telling = false;
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

  async #hear<T>(help?: (index: number) => Promise<unknown>): Promise<T> {
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

/** What rank 0 says before the length of a result: that it is alive, or, this less a number, what it asks for. */
const STILL_WORKING = -1;
const ASKING = -2;
