import { ConfigError } from './errors.ts';

/** Beyond it no tensor has an index. */
const MAX_COUNT = 2 ** 31 - 1;

/**
 * The keys of a JSON object, taken one by one, so that what nobody took can be refused by name.
 *
 * A key whose value is null counts as absent, as in Hugging Face's files.
 */
export class ConfigKeys {
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

  has(key: string): boolean {
    return this.#values.has(key);
  }

  /** A key's value, undefined where it is absent; the key then counts as understood. */
  take(key: string): unknown {
    const value = this.#values.get(key);
    this.#values.delete(key);
    return value;
  }

  number(key: string, allowed: string, accepts: (value: number) => boolean, preset?: number): number {
    const value = this.take(key) ?? preset;
    if (typeof value !== 'number' || !Number.isFinite(value) || !accepts(value)) {
      throw this.refusal(key, value, allowed);
    }
    return value;
  }

  count(key: string, preset?: number, most = MAX_COUNT): number {
    const accepts = (value: number) => Number.isInteger(value) && value > 0 && value <= most;
    const given = this.#values.get(key);
    const isLarge = typeof given === 'number' && given > most;
    return this.number(
      key,
      isLarge ? `a positive integer of at most ${most}` : 'a positive integer',
      accepts,
      preset,
    );
  }

  positive(key: string, preset?: number): number {
    return this.number(key, 'a positive number', (value) => value > 0, preset);
  }

  boolean(key: string, preset: boolean): boolean {
    const value = this.take(key) ?? preset;
    if (typeof value !== 'boolean') throw this.refusal(key, value, 'true or false');
    return value;
  }

  /** Takes keys that are understood only at the one value where they change nothing. */
  takeNeutral(neutralValues: Readonly<Record<string, unknown>>): void {
    for (const [key, neutral] of Object.entries(neutralValues)) {
      const value = this.take(key);
      if (value === undefined || value === neutral) continue;
      throw this.refusal(key, value, JSON.stringify(neutral), 'nothing else is implemented');
    }
  }

  /** Refuses the first key that nobody took and that is not among the inert ones. */
  requireNoMore(inert: ReadonlySet<string>, allowed: string, fix?: string): void {
    for (const [key, value] of this.#values) {
      if (!inert.has(key)) throw this.refusal(key, value, allowed, fix);
    }
  }

  refusal(key: string, value: unknown, allowed: string, fix?: string): ConfigError {
    return new ConfigError(`${this.path}.${key}`, value, allowed, fix);
  }
}
