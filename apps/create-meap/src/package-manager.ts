/** The package manager in use, which is the one that the next commands are written for. */

/** Package managers that say who they are. */
export type PackageManager = 'npm' | 'pnpm' | 'yarn' | 'bun' | 'deno';

const COMMANDS: Readonly<Record<PackageManager, { run: string; flags: string }>> = {
  npm: { run: 'npm run', flags: ' --' },
  pnpm: { run: 'pnpm run', flags: '' },
  yarn: { run: 'yarn run', flags: '' },
  bun: { run: 'bun run', flags: '' },
  deno: { run: 'deno task', flags: '' },
};

/** Tells the package manager by its user agent, `npm_config_user_agent`; npm where it does not say. */
export function packageManagerOf(userAgent = ''): PackageManager {
  const [name] = userAgent.split('/');
  return Object.hasOwn(COMMANDS, name) ? (name as PackageManager) : 'npm';
}

/** How a package manager runs a script of package.json, with flags for it or without. */
export function runScript(manager: PackageManager, script: string, flags = ''): string {
  const { run, flags: before } = COMMANDS[manager];
  return `${run} ${script}${flags && `${before} ${flags}`}`;
}
