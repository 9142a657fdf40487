import type { SourceFile } from './files.ts';

/** Progress of a preparation. */
export interface PrepareProgress {
  /** Every file is read first for its checksum, then for its text. */
  readonly phase: 'hash' | 'tokenize';
  /** Bytes of the files on disk, processed in this phase and in total. */
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly documents: number;
  readonly tokens: number;
  readonly skipped: number;
}

/** Reports the progress made in a phase. */
export type Report = (
  phase: PrepareProgress['phase'],
  added: { bytes?: number; documents?: number; tokens?: number; skipped?: number },
) => void;

/** Sums up reports for a listener. */
export function progressReporter(
  files: readonly SourceFile[],
  onProgress?: (progress: PrepareProgress) => void,
): Report {
  const bytesTotal = files.reduce((sum, file) => sum + file.size, 0);
  const start = { bytesDone: 0, bytesTotal, documents: 0, tokens: 0, skipped: 0 };
  let progress: PrepareProgress = { phase: 'hash', ...start };
  return (phase, { bytes = 0, documents = 0, tokens = 0, skipped = 0 }) => {
    const bytesBefore = phase === progress.phase ? progress.bytesDone : 0;
    progress = {
      phase,
      bytesDone: Math.min(bytesTotal, bytesBefore + bytes),
      bytesTotal,
      documents: progress.documents + documents,
      tokens: progress.tokens + tokens,
      skipped: progress.skipped + skipped,
    };
    onProgress?.(progress);
  };
}
