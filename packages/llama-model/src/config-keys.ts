import { ConfigError } from './errors.ts';

/** The largest index of a tensor. */
const MAX_COUNT = 2 ** 31 - 1;

/**
 * The keys of a JSON object, read one by one, so that unread keys can be refused by name. A key whose value is null counts
 * as absent, as in Hugging Face's files. `Key` names the keys that the reader knows, so that `tsc` finds a misspelled one.
 */
export class ConfigKeys<Key extends string> {
  readonly path: string;
  readonly #values: Map<string, unknown>;

  constructor(source: unknown, path: string, expected: string) {
    if (typeof source !== 'object' || source === null || Array.isArray(source)) {
      throw new ConfigError(path, source, expected);
    }
    this.path = path;
    this.#values = new Map(
      Object.entries(source).filter(([, value]) => value !== null && value !== undefined),
    );
  }

  has(key: Key): boolean {
    return this.#values.has(key);
  }

  /** Returns the value of a key, undefined if absent, and marks the key as read. */
  take(key: Key): unknown {
    const value = this.#values.get(key);
    this.#values.delete(key);
    return value;
  }

  number(key: Key, allowed: string, accepts: (value: number) => boolean, preset?: number): number {
    const value = this.take(key) ?? preset;
    if (typeof value !== 'number' || !Number.isFinite(value) || !accepts(value)) {
      throw this.refusal(key, value, allowed);
    }
    return value;
  }

  count(key: Key, preset?: number, max = MAX_COUNT): number {
    const accepts = (value: number) => Number.isInteger(value) && value > 0 && value <= max;
    const given = this.#values.get(key);
    const isLarge = typeof given === 'number' && given > max;
    return this.number(
      key,
      isLarge ? `a positive integer of at most ${max}` : 'a positive integer',
      accepts,
      preset,
    );
  }

  positive(key: Key, preset?: number): number {
    return this.number(key, 'a positive number', (value) => value > 0, preset);
  }

  boolean(key: Key, preset: boolean): boolean {
    const value = this.take(key) ?? preset;
    if (typeof value !== 'boolean') throw this.refusal(key, value, 'true or false');
    return value;
  }

  /** Reads keys that are supported only at the value that has no effect. */
  takeNeutral(neutralValues: Readonly<Partial<Record<Key, unknown>>>): void {
    for (const [key, neutral] of Object.entries(neutralValues) as [Key, unknown][]) {
      const value = this.take(key);
      if (value === undefined || value === neutral) continue;
      throw this.refusal(key, value, JSON.stringify(neutral), 'nothing else is implemented');
    }
  }

  /** Refuses the first unread key that is not among the inert ones. */
  requireNoMore(inert: ReadonlySet<string>, allowed: string, fix?: string): void {
    for (const [key, value] of this.#values) {
      if (!inert.has(key)) throw this.refusal(key, value, allowed, fix);
    }
  }

  refusal(key: string, value: unknown, allowed: string, fix?: string): ConfigError {
    return new ConfigError(`${this.path}.${key}`, value, allowed, fix);
  }
}
