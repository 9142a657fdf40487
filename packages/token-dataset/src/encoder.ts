import { findWorker } from '@meap/files';
import { Tinypool } from 'tinypool';
import { DocumentEncoder, type EncodedBatch, type EncodeSettings } from './encode.ts';
import type { EncodeTask } from './encode-worker.ts';
import { DatasetError, reasonOf } from './errors.ts';

/** Encodes several batches of texts concurrently. */
export interface Encoder {
  /** Number of concurrent batches that keeps it busy. */
  readonly depth: number;
  encode(texts: string[]): Promise<EncodedBatch>;
  close(): Promise<void>;
}

/** Encodes in this process, on the threads of the tokenizers library. */
export function inProcessEncoder(json: string, settings: EncodeSettings): Encoder {
  const encoder = new DocumentEncoder(json, 'tokenizer', settings);
  return {
    // Each batch occupies one of the four threads of libuv's pool.
    depth: 4,
    encode: (texts) => encoder.encode(texts),
    close: async () => {},
  };
}

/**
 * Encodes in single-threaded worker processes, which share no lock, cache or allocator.
 *
 * @param tokenizerPath a `tokenizer.json` that exists until `close`.
 */
export function multiProcessEncoder(
  tokenizerPath: string,
  settings: EncodeSettings,
  workers: number,
): Encoder {
  const pool = new Tinypool({
    filename: workerFile(),
    runtime: 'child_process',
    // The default, JSON, turns typed arrays into objects and is slower by a third.
    serialization: 'advanced',
    minThreads: workers,
    maxThreads: workers,
    env: { ...(process.env as Record<string, string>), TOKENIZERS_PARALLELISM: 'false' },
  });
  // When a worker dies, its task is rejected; the event only reports idle workers, which are replaced.
  pool.on('error', () => {});
  return {
    depth: workers * 2,
    encode: async (texts) => {
      const task: EncodeTask = { texts, settings, tokenizerPath };
      try {
        return await pool.run(task);
      } catch (error) {
        throw new DatasetError(
          `a tokenizing process failed: ${reasonOf(error)}; set workers: 0 to tokenize in this process`,
        );
      }
    },
    close: () => pool.destroy(),
  };
}

function workerFile(): string {
  const found = findWorker('encode-worker.js', import.meta.url);
  if (!found) throw new DatasetError('encode-worker.js is missing (bundled away?); set workers: 0');
  return found;
}
