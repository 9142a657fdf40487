import { statSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { builtFolder } from './assets.ts';
import { DashboardError } from './errors.ts';
import { RunStore } from './run-store.ts';
import { type Dashboard, DEFAULT_PORT, serve } from './server.ts';

/** What a dashboard shows, and where. */
export interface DashboardOptions {
  /** Runs, or folders of runs; new ones in them appear by themselves. */
  runs: readonly string[];
  /** The run that this is about, which may not exist yet; it is shown first. */
  primary?: string;
  /** Levels of folders in `runs` that are looked into; 3 unless given. */
  depth?: number;
  /** Port on 127.0.0.1; 0 takes any that is free. Unless given 6017, or where that is in use any. */
  port?: number;
}

/**
 * Starts a dashboard in this process.
 *
 * It reads run directories and writes nothing, so it shows runs of other processes, live, and those of last week.
 *
 * @throws DashboardError where a folder is missing or the port is in use
 */
export async function startDashboard(options: DashboardOptions): Promise<Dashboard> {
  const { runs, primary, depth = 3, port } = options;
  if (runs.length === 0)
    throw new DashboardError('dashboard: no folder given, expected runs or folders of runs');
  for (const path of runs) {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found?.isDirectory()) continue;
    const what = found ? 'is no folder' : 'does not exist';
    throw new DashboardError(`dashboard: ${path} ${what}, expected a run or a folder of runs`);
  }
  if (port !== undefined) parsePort(String(port));
  return serve(
    new RunStore(
      runs.map((path) => ({ path, depth })),
      primary,
    ),
    port,
  );
}

/**
 * Starts a dashboard in a thread of its own: pages are answered while this thread computes, and whatever happens there
 * ends no more than the dashboard.
 *
 * @param onFailure told once if the dashboard ends by itself later
 * @throws DashboardError as {@link startDashboard} does, or where the thread does not start
 */
export async function startDashboardThread(
  options: DashboardOptions,
  onFailure: (message: string) => void = () => {},
): Promise<Dashboard> {
  if (options.port !== undefined) parsePort(String(options.port));
  // Bounded: a fault here must not take the memory that training needs.
  const resourceLimits = { maxOldGenerationSizeMb: 512 };
  const worker = new Worker(join(builtFolder, 'dashboard-worker.js'), {
    workerData: options,
    resourceLimits,
  });
  const started = await new Promise<WorkerAnswer>((resolve) => {
    worker.once('message', resolve);
    worker.once('error', (error) => resolve({ error: `dashboard: ${(error as Error).message}` }));
    worker.once('exit', () => resolve({ error: 'dashboard: its thread ended while it started' }));
  });
  if ('error' in started) {
    await worker.terminate();
    throw new DashboardError(started.error);
  }
  // From here on it keeps no process alive.
  worker.unref();
  worker.removeAllListeners('exit');
  let isClosed = false;
  worker.on('error', (error) => {
    if (!isClosed) onFailure(`dashboard: it ended: ${(error as Error).message}`);
    isClosed = true;
  });
  return {
    url: started.url,
    async close(reason) {
      if (isClosed) return;
      isClosed = true;
      const ended = new Promise((resolve) => worker.once('exit', resolve));
      worker.ref();
      worker.postMessage({ reason });
      // What hangs there must not hang here.
      const impatience = setTimeout(() => void worker.terminate(), 2000);
      await ended;
      clearTimeout(impatience);
    },
  };
}

/** What the thread says of its start. */
export type WorkerAnswer = { url: string } | { error: string };

/**
 * Parses a port.
 *
 * @throws DashboardError unless it is an integer from 0 to 65535
 */
export function parsePort(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new DashboardError(
    `dashboard: invalid port, got ${text || 'nothing'}, expected an integer from 0 to 65535; omit it for ${DEFAULT_PORT}, or any free port if ${DEFAULT_PORT} is in use`,
  );
}
