import { statSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { builtFolder } from './assets.ts';
import { DashboardError } from './errors.ts';
import { RunStore } from './run-store.ts';
import { type Dashboard, DEFAULT_PORT, serve } from './server.ts';

/** Options of a dashboard. */
export interface DashboardOptions {
  /** Run directories or folders of them; new runs are found while the dashboard is open. */
  runs: readonly string[];
  /** The run to show first; it need not exist yet. */
  primary?: string;
  /** Levels of subfolders that are searched. Default 3. */
  depth?: number;
  /** Port on 127.0.0.1; 0 chooses a free port. Default 6017, or a free port if that is in use. */
  port?: number;
}

/**
 * Starts a dashboard in this process. It only reads, so it can show runs of other processes, running or ended.
 *
 * @throws DashboardError if a folder is missing or the port is in use
 */
export async function startDashboard(options: DashboardOptions): Promise<Dashboard> {
  const { runs, primary, depth = 3, port } = options;
  if (runs.length === 0)
    throw new DashboardError('dashboard: no folder given, expected run directories or folders of them');
  for (const path of runs) {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found?.isDirectory()) continue;
    const what = found ? 'is not a folder' : 'does not exist';
    throw new DashboardError(`dashboard: ${path} ${what}, expected a run directory or a folder of them`);
  }
  if (port !== undefined) parsePort(String(port));
  const roots = runs.map((path) => ({ path, depth }));
  return serve(new RunStore(roots, primary), port);
}

/**
 * Starts a dashboard in a worker thread: it responds while this thread computes, and a failure ends only the dashboard.
 *
 * @param onFailure called once if the dashboard fails after it has started
 * @throws DashboardError like {@link startDashboard}, or if the thread does not start
 */
export async function startDashboardThread(
  options: DashboardOptions,
  onFailure: (message: string) => void = () => {},
): Promise<Dashboard> {
  if (options.port !== undefined) parsePort(String(options.port));
  const worker = new Worker(join(builtFolder, 'dashboard-worker.js'), {
    workerData: options,
    // Training needs the rest of the memory.
    resourceLimits: { maxOldGenerationSizeMb: 512 },
  });
  const started = await new Promise<WorkerMessage>((resolve) => {
    worker.once('message', resolve);
    worker.once('error', (error) => resolve({ error: `dashboard: ${(error as Error).message}` }));
    worker.once('exit', () => resolve({ error: 'dashboard: the thread exited during start' }));
  });
  if ('error' in started) {
    await worker.terminate();
    throw new DashboardError(started.error);
  }
  // The thread does not keep the process alive.
  worker.unref();
  worker.removeAllListeners('exit');
  let isClosed = false;
  worker.on('error', (error) => {
    if (!isClosed) onFailure(`dashboard: stopped after an error: ${(error as Error).message}`);
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
      // A thread that hangs is terminated.
      const timeout = setTimeout(() => void worker.terminate(), 2000);
      await ended;
      clearTimeout(timeout);
    },
  };
}

/** The thread's message after its start. */
export type WorkerMessage = { url: string } | { error: string };

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
