/** A file's metadata: typed values for writing, checked values for reading. */
import type { GGUFTypedMetadata, GGUFValueType } from '@huggingface/gguf';
import { ModelError } from '../errors.ts';

// The library's enum, which would load it at the start of every program.
const TYPE = { uint32: 4, int32: 5, float32: 6, bool: 7, string: 8, array: 9, uint64: 10 } as const;

/** Metadata under construction. */
export class MetadataBuilder {
  readonly #entries: Record<string, { value: unknown; type: number; subType?: number }> = {};

  count(key: string, value: number): void {
    this.#entries[key] = { value, type: TYPE.uint32 };
  }

  number(key: string, value: number): void {
    this.#entries[key] = { value, type: TYPE.float32 };
  }

  flag(key: string, value: boolean): void {
    this.#entries[key] = { value, type: TYPE.bool };
  }

  text(key: string, value: string): void {
    this.#entries[key] = { value, type: TYPE.string };
  }

  list(key: string, value: readonly (string | number)[], of: 'string' | 'int32' | 'float32'): void {
    this.#entries[key] = { value, type: TYPE.array, subType: TYPE[of] };
  }

  /** The library's form of the metadata of a file of version 3. */
  build(numTensors: number): GGUFTypedMetadata {
    return {
      version: { value: 3, type: TYPE.uint32 as GGUFValueType },
      tensor_count: { value: BigInt(numTensors), type: TYPE.uint64 as GGUFValueType },
      kv_count: { value: BigInt(Object.keys(this.#entries).length), type: TYPE.uint64 as GGUFValueType },
      ...this.#entries,
    } as unknown as GGUFTypedMetadata;
  }
}

/** Metadata of a file, whose values may have any type. */
export class Metadata {
  readonly #path: string;
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(path: string, values: Readonly<Record<string, unknown>>) {
    this.#path = path;
    this.#values = values;
  }

  has(key: string): boolean {
    return this.#values[key] !== undefined;
  }

  number(key: string): number {
    const value = this.#values[key];
    if (typeof value === 'number') return value;
    if (typeof value === 'bigint') return Number(value);
    throw this.refusal(key, value, 'a number');
  }

  optionalNumber(key: string): number | undefined {
    return this.has(key) ? this.number(key) : undefined;
  }

  text(key: string): string {
    const value = this.#values[key];
    if (typeof value === 'string') return value;
    throw this.refusal(key, value, 'a text');
  }

  flag(key: string, absent: boolean): boolean {
    const value = this.#values[key] ?? absent;
    if (typeof value === 'boolean') return value;
    throw this.refusal(key, value, 'true or false');
  }

  texts(key: string): string[] {
    const value = this.#values[key];
    if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
    throw this.refusal(key, value, 'a list of texts');
  }

  numbers(key: string, length: number): number[] {
    const value = this.#values[key];
    const fits = Array.isArray(value) && value.length === length;
    if (fits && value.every((item) => typeof item === 'number')) return value;
    throw this.refusal(key, value, `a list of ${length} numbers`);
  }

  refusal(key: string, value: unknown, expected: string): ModelError {
    const shown = Array.isArray(value) ? `a list of ${value.length}` : String(value).slice(0, 100);
    return new ModelError(`${this.#path}: ${key} is not supported, got ${shown}, expected ${expected}`);
  }
}
