/** Package managers that set `npm_config_user_agent`. */
export type PackageManager = 'npm' | 'pnpm' | 'yarn' | 'bun' | 'deno';

const COMMANDS: Readonly<Record<PackageManager, { run: string; flags: string }>> = {
  npm: { run: 'npm run', flags: ' --' },
  pnpm: { run: 'pnpm run', flags: '' },
  yarn: { run: 'yarn run', flags: '' },
  bun: { run: 'bun run', flags: '' },
  deno: { run: 'deno task', flags: '' },
};

/** Returns the package manager of a user agent, `npm_config_user_agent`; default npm. */
export function packageManagerOf(userAgent = ''): PackageManager {
  const [name] = userAgent.split('/');
  return Object.hasOwn(COMMANDS, name) ? (name as PackageManager) : 'npm';
}

/** Returns the command that runs a script of package.json with optional flags. */
export function runScript(manager: PackageManager, script: string, flags = ''): string {
  const { run, flags: before } = COMMANDS[manager];
  return `${run} ${script}${flags && `${before} ${flags}`}`;
}
