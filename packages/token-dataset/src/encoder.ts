import { findWorker } from '@meap/files';
import { Tinypool } from 'tinypool';
import { DocumentEncoder, type EncodedBatch, type EncodeSettings } from './encode.ts';
import type { EncodeTask } from './encode-worker.ts';
import { DatasetError, reasonOf } from './errors.ts';

/** Encodes batches of texts, several at a time. */
export interface Encoder {
  /** How many batches to have under way so that it never waits. */
  readonly depth: number;
  encode(texts: string[]): Promise<EncodedBatch>;
  close(): Promise<void>;
}

/** Encodes in this process, on the threads of the tokenizers library. */
export function inProcessEncoder(json: string, settings: EncodeSettings): Encoder {
  const encoder = new DocumentEncoder(json, 'tokenizer', settings);
  return {
    // Each batch takes a thread of the pool that libuv has four of; long documents are one task each.
    depth: 4,
    encode: (texts) => encoder.encode(texts),
    close: async () => {},
  };
}

/**
 * Encodes in worker processes, each single-threaded: they share no lock, no cache and no allocator.
 *
 * @param tokenizerPath a `tokenizer.json` that stays in place until `close`.
 */
export function multiProcessEncoder(
  tokenizerPath: string,
  settings: EncodeSettings,
  workers: number,
): Encoder {
  const pool = new Tinypool({
    filename: workerFile(),
    runtime: 'child_process',
    // The default, JSON, turns typed arrays into objects and is a third slower.
    serialization: 'advanced',
    minThreads: workers,
    maxThreads: workers,
    env: { ...(process.env as Record<string, string>), TOKENIZERS_PARALLELISM: 'false' },
  });
  // The task of a worker that dies is rejected; only one that dies idle is told here, and is replaced.
  pool.on('error', () => {});
  return {
    depth: workers * 2,
    encode: async (texts) => {
      const task: EncodeTask = { texts, settings, tokenizerPath };
      try {
        return await pool.run(task);
      } catch (error) {
        throw new DatasetError(
          `a tokenising process failed: ${reasonOf(error)}; with workers: 0 there are none`,
        );
      }
    },
    close: () => pool.destroy(),
  };
}

function workerFile(): string {
  const found = findWorker('./encode-worker.js', import.meta.url);
  if (!found) throw new DatasetError('encode-worker.js is missing (bundled away?); set workers: 0');
  return found;
}
