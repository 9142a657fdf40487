/** Examples in prompts, drawn as lm-evaluation-harness 0.4.13 draws them (`lm_eval/api/samplers.py`). */
import { EvalsError } from './error.ts';
import { PythonRandom } from './python-random.ts';

/** Where the examples of a task come from. */
export interface ExampleSource {
  /** Name of the split, as in the data set. */
  readonly split: string;
  /** `default`: drawn at random for each row; `first_n`: always the first rows of the split. */
  readonly sampler?: 'default' | 'first_n';
  /**
   * Whether a row equal to the evaluated one is no example of it. The harness then draws one more: for tasks that name no
   * test split.
   */
  readonly excludesRow?: boolean;
  /** Number of examples if none is given; default 0. */
  readonly numFewshot?: number;
}

/** Examples before each question. */
export interface FewShotOptions {
  /** Number of examples in each prompt; default that of the task, which is mostly 0. */
  readonly numFewshot?: number;
  /** Rows of the split that the task takes its examples from; default: the evaluated rows. */
  readonly fewshotRows?: readonly unknown[];
  /** Seed of the draws, default 1234 as in the harness. */
  readonly fewshotSeed?: number;
}

/** Seed of the harness' command line. */
export const FEWSHOT_SEED = 1234;

/**
 * Draws the examples of one row after the other, in the order of the rows.
 *
 * A generator of random numbers serves all rows of a task, so that the examples of a row depend on its position.
 */
export class ExampleSampler {
  readonly #rows: readonly unknown[];
  readonly #numFewshot: number;
  readonly #source: ExampleSource;
  readonly #random: PythonRandom;

  /** @throws EvalsError for a split with fewer rows than examples */
  constructor(
    task: string,
    source: ExampleSource,
    rows: readonly unknown[],
    numFewshot: number,
    seed: number,
  ) {
    const needed = numFewshot + (source.excludesRow ? 1 : 0);
    if (needed > rows.length) {
      throw new EvalsError(
        `${task}: num_fewshot is too large, got ${numFewshot} with ${rows.length} rows in the split ${source.split}, expected ` +
          `at most ${Math.max(0, rows.length - (source.excludesRow ? 1 : 0))}; lower --num-fewshot, or give the whole split`,
      );
    }
    this.#rows = rows;
    this.#numFewshot = numFewshot;
    this.#source = source;
    this.#random = new PythonRandom(seed);
  }

  /** Indices of the examples of the next row. */
  next(row: unknown): number[] {
    const { sampler, excludesRow = false } = this.#source;
    const count = this.#numFewshot;
    if (count === 0) return [];
    const own = excludesRow ? contents(row) : undefined;
    const isOther = (index: number) => own === undefined || contents(this.#rows[index]) !== own;
    if (sampler === 'first_n') {
      const found: number[] = [];
      for (let index = 0; index < this.#rows.length && found.length < count; index++) {
        if (isOther(index)) found.push(index);
      }
      return found;
    }
    const drawn = this.#random.sampleRange(this.#rows.length, count + (excludesRow ? 1 : 0)).filter(isOther);
    if (drawn.length >= count) return drawn.slice(0, count);
    // Several rows equal this one.
    return this.#random.sample([...this.#rows.keys()].filter(isOther), count);
  }
}

/** The contents of a row as text: equal for equal rows. */
function contents(row: unknown): string {
  return JSON.stringify(row, (_, value) => {
    if (typeof value === 'bigint') return Number(value);
    if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
