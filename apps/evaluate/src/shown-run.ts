/** Runs the commands that use models: progress, signals, messages. */
import { type CommandIo, EXIT, isInteractive, showDownloads } from '@meap/recipe-cli';
import { stopOnSignals } from '@meap/trainer';
import type { Command } from 'commander';
import type { DownloadOptions } from './events.ts';
import { createProgress, type Progress } from './progress.ts';

/** The program to which a command is added; `done` receives the exit code. */
export interface CommandContext {
  readonly program: Command;
  readonly argv: readonly string[];
  readonly io: CommandIo;
  readonly done: (code: number) => void;
}

export interface ShownRun {
  readonly io: CommandIo;
  /** Whether the output is JSON, so that progress is written to stderr. */
  readonly json: boolean;
  readonly stopped: string;
  /** Receives the exit code after a signal. */
  readonly done: (code: number) => void;
}

/** Runs `work` with progress and signal handling; returns undefined after a signal. */
export async function runShown<T>(
  { io, json, stopped, done }: ShownRun,
  work: (progress: Progress & Required<DownloadOptions>, signal: AbortSignal) => Promise<T>,
): Promise<T | undefined> {
  const interactive = isInteractive(io.stderr);
  const target = interactive || json ? io.stderr : io.stdout;
  const progress = createProgress({ write: (text) => target.write(text), interactive }, io.stderr);
  const downloads = showDownloads(io);
  const stop = stopOnSignals();
  stop.signal.addEventListener('abort', () =>
    progress.note(`${stop.signal.reason}: stopping; repeat to exit immediately`),
  );
  try {
    return await work({ ...progress, onDownload: downloads.onEvent }, stop.signal);
  } catch (error) {
    if (!stop.signal.aborted || error !== stop.signal.reason) throw error;
    progress.close();
    io.stdout.write(`${stopped}\n`);
    done(EXIT[String(stop.signal.reason) as 'SIGINT'] ?? EXIT.failed);
    return undefined;
  } finally {
    downloads.close();
    progress.close();
    stop.dispose();
  }
}
