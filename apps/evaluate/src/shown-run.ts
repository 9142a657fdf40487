/** The frame of every command that asks models: progress, signals, what is said when it was stopped. */
import { type CommandIo, EXIT } from '@meap/recipe-cli';
import { stopOnSignals } from '@meap/trainer';
import { createProgress, type Progress } from './progress.ts';

/** What {@link runShown} is told. */
export interface ShownRun {
  readonly io: CommandIo;
  /** Whether the output is one JSON object, so that progress goes where errors go. */
  readonly json: boolean;
  /** What is said when a signal stopped the work. */
  readonly stopped: string;
  /** Hears the exit code when a signal stopped the work. */
  readonly done: (code: number) => void;
}

/** Works with progress and signals; undefined where a signal stopped it. */
export async function runShown<T>(
  { io, json, stopped, done }: ShownRun,
  work: (progress: Progress, signal: AbortSignal) => Promise<T>,
): Promise<T | undefined> {
  const interactive = io.stderr.isTTY === true && !process.env.CI;
  const target = interactive || json ? io.stderr : io.stdout;
  const progress = createProgress({ write: (text) => target.write(text), interactive }, io.stderr);
  const stop = stopOnSignals();
  stop.signal.addEventListener('abort', () =>
    progress.note(`${stop.signal.reason}: stopping; again to end at once`),
  );
  try {
    return await work(progress, stop.signal);
  } catch (error) {
    if (!stop.signal.aborted || error !== stop.signal.reason) throw error;
    progress.close();
    io.stdout.write(`${stopped}\n`);
    done(EXIT[String(stop.signal.reason) as 'SIGINT'] ?? EXIT.failed);
    return undefined;
  } finally {
    progress.close();
    stop.dispose();
  }
}
