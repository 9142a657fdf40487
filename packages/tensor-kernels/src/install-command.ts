const COMMANDS = {
  npm: 'npm install ',
  pnpm: 'pnpm add ',
  yarn: 'yarn add ',
  bun: 'bun add ',
  deno: 'deno add npm:',
};

/** Returns the package manager that runs this program, a key of `COMMANDS`; npm if there is none. */
function packageManager(
  env: Readonly<Record<string, string | undefined>> = globalThis.process?.env ?? {},
): keyof typeof COMMANDS {
  const name = env.npm_config_user_agent?.split('/')[0] ?? '';
  return Object.hasOwn(COMMANDS, name) ? (name as keyof typeof COMMANDS) : 'npm';
}

/** Returns the command with which the package manager that runs this program, or npm, adds packages. */
export function installCommand(
  packages: readonly string[],
  env?: Readonly<Record<string, string | undefined>>,
): string {
  const manager = packageManager(env);
  return `${COMMANDS[manager]}${packages.join(manager === 'deno' ? ' npm:' : ' ')}`;
}
