import { homedir } from 'node:os';
import { join } from 'node:path';

/** Returns the folder of this package in the user's cache: installed plugins and the compiled addon. */
export function cacheDirectory(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'meap', 'pjrt');
}
