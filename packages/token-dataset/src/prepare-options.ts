import type { DocumentOptions } from './documents.ts';
import { DatasetError } from './errors.ts';
import type { FingerprintSettings } from './fingerprint.ts';
import type { FileDescription } from './manifest.ts';
import type { PrepareProgress } from './progress.ts';
import type { TextSelection } from './text-sources.ts';
import type { Tokenizer } from './tokenizer.ts';

/** Options of {@link prepareTokens}. */
export interface PrepareTokensOptions extends TextSelection, DocumentOptions {
  tokenizer: Tokenizer;
  /** Folder for the result. It holds one dataset; an existing one is replaced once this one is complete. */
  outputDirectory: string;
  /** Whether BOS precedes every document. Default true. */
  addBos?: boolean;
  /** Whether EOS follows every document. Default true. */
  addEos?: boolean;
  /**
   * Number of tokenizing processes; 0 tokenizes in this process, on the threads of the library. The result is the same.
   * Default: 0 below 64 MiB of files or 4 cores, else one per core, at most 16.
   */
  workers?: number;
  /** Whether text that spells a special token, such as `</s>`, becomes that token. Default false: it stays text. */
  parseSpecialTokens?: boolean;
  /** Whether a bad record is an error or is skipped. Default `error`. */
  onBadRecord?: 'error' | 'skip';
  /** A shard ends with the document that reaches this count. Default 2^29. */
  maxTokensPerShard?: number;
  /** Called several times a second. */
  onProgress?: (progress: PrepareProgress) => void;
  /** Called with the identity of the dataset before any text is tokenized; an error it throws stops the preparation. */
  onFound?: (dataset: { fingerprint: string; sources: readonly FileDescription[] }) => void;
  /** Called with a sentence that says whether an interrupted preparation is continued, from where, or why not. */
  onNotice?: (message: string) => void;
  /** Aborts the preparation, which rejects with the signal's reason; the next one continues from there. */
  signal?: AbortSignal;
}

/** Version of the manifest and the shards. */
export const FORMAT_VERSION = 1;

/**
 * The options that determine the token stream, with their defaults.
 *
 * @throws DatasetError for an invalid option
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
        `prepareTokens: the tokenizer has no ${name} token; pass ${role}Token to loadTokenizer, or set ${option}: false`,
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
