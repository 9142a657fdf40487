/** The dashboard of a run that trains: in a thread of its own, and never a reason for the run to end. */
import { dirname, resolve } from 'node:path';
import { type Dashboard, startDashboardThread } from '@meap/dashboard';
import { makeDirectory } from '@meap/safetensors';
import { ConfigurationError, reasonOf } from './errors.ts';

/**
 * The port that `--dashboard [port]` asks for; undefined where it names none.
 *
 * @throws ConfigurationError where it is no port
 */
export function dashboardPort(flag: string | true): number | undefined {
  if (flag === true) return undefined;
  if (/^\d{1,5}$/.test(flag) && Number(flag) <= 65_535) return Number(flag);
  throw new ConfigurationError([
    `--dashboard: got ${flag}, expected a port from 0 to 65535, or nothing for 6017 or any that is free`,
  ]);
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
