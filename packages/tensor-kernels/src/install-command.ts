const COMMANDS = {
  npm: 'npm install ',
  pnpm: 'pnpm add ',
  yarn: 'yarn add ',
  bun: 'bun add ',
  deno: 'deno add npm:',
};

/** Name of the package manager that runs this program, npm where none does: a key of `COMMANDS`. */
function packageManager(
  env: Readonly<Record<string, string | undefined>> = globalThis.process?.env ?? {},
): keyof typeof COMMANDS {
  const name = env.npm_config_user_agent?.split('/')[0] ?? '';
  return Object.hasOwn(COMMANDS, name) ? (name as keyof typeof COMMANDS) : 'npm';
}

/** The command that adds packages to a project, of the package manager that runs this program; npm's where none does. */
export function installCommand(
  packages: readonly string[],
  env?: Readonly<Record<string, string | undefined>>,
): string {
  const manager = packageManager(env);
  return `${COMMANDS[manager]}${packages.join(manager === 'deno' ? ' npm:' : ' ')}`;
}
