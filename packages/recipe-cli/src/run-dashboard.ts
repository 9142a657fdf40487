/** The dashboard of a training run, in its own thread; its errors never end the run. */
import { dirname, resolve } from 'node:path';
import { type Dashboard, parsePort, startDashboardThread } from '@meap/dashboard';
import { makeDirectory } from '@meap/files';
import { ConfigurationError, reasonOf } from './errors.ts';

/**
 * Returns the port of `--dashboard [port]`; undefined for the default.
 *
 * @throws ConfigurationError if it is not a port
 */
export function dashboardPort(flag: string | true): number | undefined {
  try {
    return flag === true ? undefined : parsePort(flag);
  } catch (error) {
    throw new ConfigurationError([`--${reasonOf(error)}`]);
  }
}

/** Shows the run in `out` beside the others of its folder; what goes wrong is a warning, and there is no dashboard. */
export async function openRunDashboard(
  out: string,
  port: number | undefined,
  warn: (message: string) => void,
): Promise<Dashboard | undefined> {
  const folder = dirname(resolve(out));
  try {
    makeDirectory(folder);
    return await startDashboardThread({ runs: [folder], primary: out, depth: 1, port }, warn);
  } catch (error) {
    warn(`${reasonOf(error)}; the run goes on without`);
    return undefined;
  }
}
