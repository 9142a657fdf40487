import { DatasetError } from './errors.ts';
import type { FileDescription, FingerprintSettings } from './fingerprint.ts';
import type { FileFormat } from './formats.ts';
import type { LengthUpsampling } from './length-upsampling.ts';
import type { PrepareProgress } from './progress.ts';
import type { TextSource } from './text-sources.ts';
import type { Tokenizer } from './tokenizer.ts';

/** Options of {@link prepareTokens}. */
export interface PrepareTokensOptions {
  /** Paths and globs; see `readDocuments`. In place of `sources`. */
  files?: string | readonly string[];
  /** Several sources, mixed in proportion to their shares until `tokenBudget` is spent. In place of `files`. */
  sources?: readonly TextSource[];
  /**
   * Tokens of the mix. A source stops when its share of them is spent, which cuts its last document, and starts over
   * where it has fewer. Only with `sources`.
   */
  tokenBudget?: number;
  /** Keeps long documents and few short ones; by default all are kept. */
  lengthUpsampling?: LengthUpsampling;
  /** Key of which short documents are kept. Default 0. */
  seed?: number;
  tokenizer: Tokenizer;
  /** Folder for the result; it holds one dataset, and another one there is replaced once this one is complete. */
  outputDirectory: string;
  /** What the files hold, where content and name do not tell. Default `auto`. */
  format?: FileFormat | 'auto';
  /** Field of a record. Default `text`. */
  textField?: string;
  /** String between the documents of a text file; without it a file is one document. */
  separator?: string;
  /** BOS in front of every document. Default true. */
  addBos?: boolean;
  /** EOS after every document. Default true. */
  addEos?: boolean;
  /**
   * Tokenising processes; 0 tokenises in this one, on the threads of the library.
   * The result is the same. Default: 0 below 64 MiB of files or 4 cores, else one per core, 16 at most.
   */
  workers?: number;
  /** Hears of other names of a file that is read already: links, overlapping patterns. */
  onRepeatedFile?: (path: string) => void;
  /** Whether text that spells a special token, such as `</s>`, becomes it. Default false: it stays text. */
  parseSpecialTokens?: boolean;
  /** What to do with a record that cannot be read. Default `error`. */
  onBadRecord?: 'error' | 'skip';
  /** A shard is closed by the document that reaches this count. Default 2^29. */
  maxTokensPerShard?: number;
  /** Called as work goes on, some times a second. */
  onProgress?: (progress: PrepareProgress) => void;
  /**
   * Hears what the dataset will be, by its fingerprint and files, before anything is tokenised; what it throws ends the
   * preparation.
   */
  onFound?: (dataset: { fingerprint: string; sources: readonly FileDescription[] }) => void;
  /** Hears, in words, whether an interrupted preparation is continued, from where, or why not. */
  onNotice?: (message: string) => void;
  /** Stops the preparation, which rejects with the signal's reason; the next one goes on from there. */
  signal?: AbortSignal;
}

/** Of the manifest and of the shards. */
export const FORMAT_VERSION = 1;

/**
 * The options with their defaults, as far as the token stream depends on them.
 *
 * @throws DatasetError for an impossible option
 */
export function resolveSettings(options: PrepareTokensOptions): FingerprintSettings {
  const { tokenizer, addBos = true, addEos = true, maxTokensPerShard = 2 ** 29, workers } = options;
  for (const [wanted, role] of [
    [addBos, 'bos'],
    [addEos, 'eos'],
  ] as const) {
    if (wanted && tokenizer[`${role}TokenId`] === undefined) {
      const [name, option] = [role.toUpperCase(), role === 'bos' ? 'addBos' : 'addEos'];
      throw new DatasetError(
        `prepareTokens: the tokenizer names no ${name} token; give loadTokenizer ${role}Token, or set ${option}: false`,
      );
    }
  }
  if (!Number.isInteger(maxTokensPerShard) || maxTokensPerShard < 1 || maxTokensPerShard > 2 ** 31) {
    throw new DatasetError(`maxTokensPerShard: got ${maxTokensPerShard}, expected an integer from 1 to 2^31`);
  }
  if (workers !== undefined && (!Number.isInteger(workers) || workers < 0)) {
    throw new DatasetError(`workers: got ${workers}, expected 0 or a number of processes`);
  }
  return {
    formatVersion: FORMAT_VERSION,
    tokenizerSha256: tokenizer.sha256,
    bosTokenId: addBos ? tokenizer.bosTokenId! : null,
    eosTokenId: addEos ? tokenizer.eosTokenId! : null,
    format: options.format ?? 'auto',
    textField: options.textField ?? 'text',
    separator: options.separator ?? null,
    onBadRecord: options.onBadRecord ?? 'error',
    parseSpecialTokens: options.parseSpecialTokens ?? false,
    maxTokensPerShard,
  };
}
